"""How exactly a link process did what it was told: a machine without I/O."""

from __future__ import annotations

from typing import NamedTuple

BUCKET_SECONDS = 0.00005
"""The resolution of `Lateness`: packets are counted in buckets of so many seconds."""

BUCKETS = 400
"""The last bucket holds everything later than the ones before."""

MAX_LATENESS = 0.001
"""By how much the 99th percentile may be late on a link with little delay, in seconds."""

MAX_LATENESS_OF_DELAY = 0.05
"""By which share of the delay it may be on one with more."""


class Audit(NamedTuple):
    """What a link process saw of itself since it started, or since the last audit."""

    packets: int
    """How many packets it put out."""
    late_p50: float
    """How late half of them were at least, in seconds: what the machine adds to the delay that was asked for."""
    late_p99: float
    late_max: float

    def is_valid(self, delay: float) -> bool:
        """Whether a run over a link with this delay tells of the link, rather than of an overloaded machine."""
        return self.late_p99 <= max(MAX_LATENESS, MAX_LATENESS_OF_DELAY * delay)


class Lateness:
    """Counts by how much packets were late, in constant memory."""

    def __init__(self) -> None:
        self._counts = [0] * (BUCKETS + 1)
        self._packets = 0
        self._latest = 0.0

    def note(self, late: float) -> None:
        """Count one packet."""
        self._counts[min(BUCKETS, int(late / BUCKET_SECONDS)) if late > 0 else 0] += 1
        self._packets += 1
        self._latest = max(self._latest, late)

    def audit(self) -> Audit:
        """Return what was counted, and begin anew."""
        audit = Audit(self._packets, self._percentile(0.5), self._percentile(0.99), self._latest)
        self._counts = [0] * (BUCKETS + 1)
        self._packets, self._latest = 0, 0.0
        return audit

    def _percentile(self, share: float) -> float:
        """Return the upper edge of the bucket in which the percentile lies; in the last one, the latest packet."""
        left = share * self._packets
        for index, count in enumerate(self._counts):
            left -= count
            if left <= 0:
                return min((index + 1) * BUCKET_SECONDS, self._latest) if index < BUCKETS else self._latest
        return self._latest
