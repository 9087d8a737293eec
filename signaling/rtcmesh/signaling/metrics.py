"""The service's numbers in the Prometheus text format. No label ever names a room or a peer."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .errors import MissingExtra
from .registry import Registry
from .stats import ServiceStats, Trouble

try:
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
    from prometheus_client.registry import Collector
except ImportError as error:
    raise MissingExtra("server") from error

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics(Collector):
    """Reads the counters when it is asked, in a Prometheus registry of its own that it shares with `others`."""

    def __init__(self, stats: ServiceStats, rooms: Registry, *others: Collector) -> None:
        self._stats = stats
        self._rooms = rooms
        self._registry = CollectorRegistry(auto_describe=False)
        for collector in (self, *others):
            self._registry.register(collector)

    def render(self) -> bytes:
        """Return all metrics as text."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable["Metric"]:
        """Yield the metric families; called by the Prometheus registry."""
        stats, rooms = self._stats, self._rooms.stats
        prefix = "rtcmesh_signaling"
        yield GaugeMetricFamily(f"{prefix}_connections", "Open connections.", value=stats.connections)
        yield GaugeMetricFamily(f"{prefix}_servers", "Servers that share the rooms.", value=rooms.servers)
        yield GaugeMetricFamily(f"{prefix}_rooms", "Rooms that have members.", value=rooms.rooms)
        yield GaugeMetricFamily(f"{prefix}_members", "Members of all rooms.", value=rooms.members)
        yield CounterMetricFamily(
            f"{prefix}_connections_accepted",
            "Connections that were let in.",
            value=stats.connections_accepted,
        )
        troubles = GaugeMetricFamily(
            f"{prefix}_store_trouble", "What is wrong with the shared store.", labels=["kind"]
        )
        for trouble in Trouble:
            troubles.add_metric([trouble.value], float(trouble in rooms.troubles))
        yield troubles
        families = (
            ("joins", "Successful joins.", "welcome", stats.joins),
            ("signals", "Signals by what became of them.", "result", stats.signals),
            ("limited", "Connections refused or slowed down for their rate.", "limit", stats.limits),
            ("connections_ended", "Connections that have ended.", "reason", stats.endings),
            ("handshakes_rejected", "Requests that were no connection.", "reason", stats.rejections),
            ("store_commands", "Commands to the shared store.", "result", rooms.commands),
            ("store_resyncs", "Reads of all rooms, as nudges may be missing.", "reason", rooms.resyncs),
            ("store_evictions", "Members given up by this server.", "reason", rooms.evictions),
        )
        for name, text, label, counter in families:
            family = CounterMetricFamily(f"{prefix}_{name}", text, labels=[label])
            for value, count in counter.items():
                family.add_metric([value], count)
            yield family
