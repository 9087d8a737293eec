"""What measurements of a path should show, and how far chance alone may take them from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from rtcmesh.netem.link import LinkConfig
from rtcmesh.netem.models.jitter import TIME_CONSTANT, NetemJitter, WanderingJitter
from rtcmesh.netem.models.loss import LossPattern
from rtcmesh.netem.models.rate_trace import capacity_of

_NORMAL = NormalDist()
_PHASES = 2000


@dataclass(frozen=True, slots=True)
class Service:
    """How long a small packet takes to leave an empty bottleneck."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, config: LinkConfig, size: int) -> Service:
        """Return it for a packet of this size."""
        if config.rate_bytes_per_second is not None:
            return cls(size / config.rate_bytes_per_second, 0.0)
        if config.rate_trace is None:
            return cls(0.0, 0.0)
        trace, capacity = config.rate_trace, capacity_of(config.rate_trace)
        phases = [trace.seconds * (number + 0.5) / _PHASES for number in range(_PHASES)]
        times = [capacity.reached(capacity.before(phase) + size) - phase for phase in phases]
        mean = sum(times) / _PHASES
        return cls(mean, math.sqrt(sum((time - mean) ** 2 for time in times) / _PHASES))


class DelayExpectation:
    """The one-way delay of packets that do not wait for each other: its mean, its distribution, its memory.

    A wandering delay and one that steps add up; both are independent of each other and of the time of day.
    """

    def __init__(self, config: LinkConfig, size: int, seconds: float, probes: int) -> None:
        if isinstance(config.jitter, NetemJitter):
            raise TypeError("only wandering delays are verified: profiles have no others")
        wander = config.jitter if isinstance(config.jitter, WanderingJitter) else None
        self.deviation = wander.deviation if wander else float(config.jitter)  # type: ignore[arg-type]
        self.time_constant = wander.time_constant if wander else TIME_CONSTANT
        self.spread = config.reconfiguration.spread if config.reconfiguration else 0.0
        self.period = config.reconfiguration.period if config.reconfiguration else math.inf
        self.service = Service.of(config, size)
        self._config = config
        self._probes = probes
        self._forgotten = max(1.0, seconds / self.time_constant)
        self._periods = max(1.0, seconds / self.period)

    @property
    def mean(self) -> float:
        """Of all packets. A delay is cut off at 0, which raises it where jitter is large."""
        delay, deviation = self._config.delay, self.deviation
        if deviation and not self.spread:
            low = delay / deviation
            delay = delay * _NORMAL.cdf(low) + deviation * _NORMAL.pdf(low)
        return delay + self.service.mean

    @property
    def mean_sigma(self) -> float:
        """The standard error of a measured mean, with the memory of the process taken into account."""
        wander = 2 * self.deviation**2 / self._forgotten
        steps = self.spread**2 / 3 / self._periods
        return math.sqrt(wander + steps + self.service.deviation**2 / self._probes)

    @property
    def total_deviation(self) -> float:
        """Of the delays of all packets."""
        return math.sqrt(self.deviation**2 + self.spread**2 / 3 + self.service.deviation**2)

    @property
    def deviation_sigma(self) -> float:
        """The standard error of a measured deviation."""
        of_variance = 2 * self.deviation**4 / self._forgotten + 4 * self.spread**4 / 45 / self._periods
        return math.sqrt(of_variance) / (2 * self.total_deviation) if self.total_deviation else 0.0

    @property
    def independent_after(self) -> float:
        """Seconds after which one delay says nothing of another."""
        return max(6 * self.time_constant if self.deviation else 0.0, self.period if self.spread else 0.0)

    def cdf(self, delay: float) -> float:
        """Return the share of packets that take at most so long."""
        off, deviation, spread = delay - self._config.delay - self.service.mean, self.deviation, self.spread
        if not spread:
            return _NORMAL.cdf(off / deviation)
        if not deviation:
            return min(1.0, max(0.0, (off + spread) / (2 * spread)))
        return (
            deviation / (2 * spread) * (_ramp((off + spread) / deviation) - _ramp((off - spread) / deviation))
        )

    def correlation(self, gaps: Sequence[float]) -> float:
        """Return the mean correlation of delays that are so many seconds apart."""
        total = 0.0
        for gap in gaps:
            total += self.deviation**2 * math.exp(-gap / self.time_constant)
            total += self.spread**2 / 3 * max(0.0, 1 - gap / self.period)
        return total / len(gaps) / self.total_deviation**2

    @property
    def correlation_sigma(self) -> float:
        """The standard error of a measured correlation, at most (Bartlett)."""
        share = self.spread**2 / 3 / self.total_deviation**2
        return math.sqrt(1 / self._forgotten + share / self._periods)


class LossExpectation:
    """The loss of packets that find no queue."""

    def __init__(self, config: LinkConfig) -> None:
        reconfiguration = config.reconfiguration
        outage = (
            reconfiguration.outage * reconfiguration.outage_loss / reconfiguration.period
            if reconfiguration
            else 0.0
        )
        if isinstance(config.loss, float | int):
            mean, variance = config.loss, config.loss * (1 - config.loss)
        elif isinstance(config.loss, LossPattern):
            mean, variance = config.loss.pattern.count("x") / len(config.loss.pattern), 0.0
        else:
            chain = config.loss.chain()
            mean, variance = chain.mean(), chain.variance()
        self.mean = outage + (1 - outage) * mean
        self._variance = outage * (1 - outage) + (1 - outage) * variance

    def sigma(self, probes: int) -> float:
        """Return the standard error of a measured loss; bursts make it larger."""
        return math.sqrt(self._variance / probes)


def _ramp(value: float) -> float:
    """Return the integral of the normal distribution function up to here."""
    return value * _NORMAL.cdf(value) + _NORMAL.pdf(value)
