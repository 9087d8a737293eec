"""What to send over a link so that its numbers show."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from rtcmesh.netem.link import LinkConfig
from rtcmesh.netem.models.rate_trace import OPPORTUNITY_BYTES, DeliveryOpportunities, RateSteps, RateTrace
from rtcmesh.netem.profiles import Profile

PROBE_BYTES = 100
FLOOD_BYTES = 1200
"""In IP bytes."""

MIN_FLOOD_SECONDS = 0.5
MIN_FLOOD_PACKETS = 200
OVERLOAD = 1.5
"""How many times what a bottleneck carries a flood offers it."""

_MAX_LOAD = 0.05
_PEAK_MILLISECONDS = 100
_GOLDEN = (math.sqrt(5) - 1) / 2


class Probe(NamedTuple):
    """A packet that was sent to measure."""

    sent_at: float
    received_at: float | None
    """None for one that did not arrive. By the clock of `sent_at`."""
    size: int
    """In IP bytes."""


class Aspect(enum.Enum):
    """What a measurement shows."""

    PATH = "path"
    """Delay, jitter, loss: by few packets, which never wait for each other."""
    BOTTLENECK = "bottleneck"
    """Rate and queue: by more packets than it carries, without what comes before and after it."""


Direction = Literal["up", "down"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """Send `count` packets of `size` at `moments` over a link with this configuration."""

    direction: Direction
    aspect: Aspect
    config: LinkConfig
    count: int
    interval: float
    """Seconds from one packet to the next, on average."""
    size: int

    def moments(self) -> Iterator[float]:
        """When to send each packet, in seconds after the first.

        Probes of a path are spread a little, and evenly so: nothing periodic hides between them, or counts twice.
        """
        for number in range(self.count):
            spread = number * _GOLDEN % 1 if self.aspect is Aspect.PATH else 0.0
            yield (number + spread) * self.interval


def measurements(profile: Profile, *, packets: int, interval: float = 0.25) -> list[Measurement]:
    """Return what to measure of a profile: `packets` probes of the path each way, and a flood where there is a rate."""
    wanted: list[Measurement] = []
    ways: tuple[tuple[Direction, LinkConfig], ...] = (("down", profile.down), ("up", profile.up))
    for direction, config in ways:
        apart = max(interval, PROBE_BYTES / _slowest(config) / _MAX_LOAD)
        path = Measurement(
            direction=direction,
            aspect=Aspect.PATH,
            config=config,
            count=packets,
            interval=apart,
            size=PROBE_BYTES,
        )
        wanted.append(path)
        if config.rate_bytes_per_second is not None or config.rate_trace is not None:
            wanted.append(_flood(direction, config))
    return wanted


def trace_seconds(trace: RateTrace) -> float:
    """Return for how long a trace is measured: whole rounds of it."""
    return trace.seconds * math.ceil(MIN_FLOOD_SECONDS / trace.seconds)


def _flood(direction: Direction, config: LinkConfig) -> Measurement:
    bare = LinkConfig(
        delay=config.delay,
        rate_bytes_per_second=config.rate_bytes_per_second,
        rate_trace=config.rate_trace,
        max_queue_bytes=config.max_queue_bytes,
        max_queue_delay=config.max_queue_delay,
        queue=config.queue,
    )
    interval = FLOOD_BYTES / _fastest(config) / OVERLOAD
    if config.rate_trace is not None:
        seconds = trace_seconds(config.rate_trace)
    else:
        rate = config.rate_bytes_per_second or math.inf
        queue = config.max_queue_bytes / rate if config.max_queue_delay is None else config.max_queue_delay
        filled = queue / (OVERLOAD - 1)
        seconds = max(MIN_FLOOD_SECONDS, MIN_FLOOD_PACKETS * FLOOD_BYTES / rate, 2 * filled)
    return Measurement(
        direction=direction,
        aspect=Aspect.BOTTLENECK,
        config=bare,
        count=math.ceil(seconds / interval),
        interval=interval,
        size=FLOOD_BYTES,
    )


def _slowest(config: LinkConfig) -> float:
    if isinstance(config.rate_trace, RateSteps):
        return min(step.bytes_per_second for step in config.rate_trace.steps if step.bytes_per_second)
    return _mean_rate(config)


def _fastest(config: LinkConfig) -> float:
    if isinstance(config.rate_trace, RateSteps):
        return max(step.bytes_per_second for step in config.rate_trace.steps)
    if isinstance(config.rate_trace, DeliveryOpportunities):
        return _peak(config.rate_trace)
    return _mean_rate(config)


def _peak(trace: DeliveryOpportunities) -> float:
    """Return the rate of the busiest time of a trace, which a flood must exceed for its queue never to be empty."""
    moments, first, most = trace.milliseconds, 0, 0
    for last, moment in enumerate(moments):
        while moment - moments[first] >= _PEAK_MILLISECONDS:
            first += 1
        most = max(most, last + 1 - first)
    return most * OPPORTUNITY_BYTES / (min(_PEAK_MILLISECONDS, moments[-1]) / 1000)


def _mean_rate(config: LinkConfig) -> float:
    if config.rate_trace is not None:
        return config.rate_trace.carried_bytes / config.rate_trace.seconds
    return config.rate_bytes_per_second or math.inf
