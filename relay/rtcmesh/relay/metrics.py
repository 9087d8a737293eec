"""The relay's numbers in the Prometheus text format. No label ever names a room or a peer."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rtcmesh.signaling.errors import MissingExtra

from .frames import Urgency
from .service import RelayService

try:
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
    from prometheus_client.registry import Collector
except ImportError as error:
    raise MissingExtra("server") from error

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

CONTENT_TYPE = CONTENT_TYPE_LATEST

_PREFIX = "rtcmesh_relay"


class Metrics(Collector):
    """Reads the counters when it is asked."""

    def __init__(self, service: RelayService) -> None:
        self._service = service

    def render(self) -> bytes:
        """Return all metrics as text, from a Prometheus registry of their own."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterable["Metric"]:
        """Yield the metric families; called by a Prometheus registry."""
        service, stats, frames = self._service, self._service.stats, self._service.frames
        gauges = (
            ("connections", "Open connections.", stats.connections),
            ("rooms", "Rooms that have somebody connected.", service.rooms),
            ("peers", "Peers that have joined.", service.peers),
            ("queue_bytes", "What waits for all receivers, with overhead.", service.queued_bytes),
        )
        for name, text, value in gauges:
            yield GaugeMetricFamily(f"{_PREFIX}_{name}", text, value=value)
        counters = (
            ("connections_accepted", "Connections since the start.", stats.connections_total),
            ("joins", "Joins that were accepted.", stats.joins),
            ("pauses", "Connections that had sent too much and were limited.", stats.pauses),
            ("datagrams_dropped", "Datagrams that were not forwarded.", frames.datagrams_dropped),
        )
        for name, text, value in counters:
            yield CounterMetricFamily(f"{_PREFIX}_{name}", text, value=value)
        by_urgency = (
            ("frames_received", "Frames from senders.", frames.frames_in),
            ("bytes_received", "Payload bytes from senders.", frames.bytes_in),
            ("frames_sent", "Frames to receivers.", frames.frames_out),
            ("bytes_sent", "Payload bytes to receivers.", frames.bytes_out),
        )
        for name, text, values in by_urgency:
            yield _labelled(name, text, "class", {u.name.lower(): values[u] for u in Urgency})
        by_reason = (
            ("nacks", "Reliable frames that were refused.", frames.nacks),
            ("peer_gone", "Reliable frames whose receiver was gone.", frames.gone),
            ("connections_ended", "Connections that have ended.", stats.endings),
            ("handshakes_rejected", "Requests that were no connection.", stats.rejections),
        )
        for name, text, values_by_reason in by_reason:
            yield _labelled(name, text, "reason", values_by_reason)


def _labelled(name: str, text: str, label: str, values: dict[str, int]) -> "Metric":
    family = CounterMetricFamily(f"{_PREFIX}_{name}", text, labels=[label])
    for value, count in values.items():
        family.add_metric([value], count)
    return family
