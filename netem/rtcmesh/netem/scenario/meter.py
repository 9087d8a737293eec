"""What hosts sent and received over time: a machine that is told of packets and keeps sums."""

from __future__ import annotations

import msgspec

MOST_SAMPLES = 1000
"""How many stretches of time a run is divided into at most."""

LEAST_INTERVAL = 0.1

ROUNDING = 1e-9
"""What a time may lack of the beginning of a stretch to be in it."""


class Sample(msgspec.Struct, kw_only=True):
    """What one host sent and received in one stretch of time."""

    at: float
    """When it began."""
    host: str
    sent_packets: int = 0
    sent_bytes: int = 0
    received_packets: int = 0
    received_bytes: int = 0
    lost_packets: int = 0
    """Of those it sent then, how many did not arrive."""
    delay_sum: float = 0.0
    """Over the packets it received, in seconds from host to host."""
    delay_max: float = 0.0


class Meter:
    """Adds up packets by host and stretch of time, in memory that the length of the run does not change."""

    def __init__(self, duration: float) -> None:
        self.interval = max(LEAST_INTERVAL, duration / MOST_SAMPLES)
        """How long a stretch is, in seconds."""
        self._samples: dict[tuple[int, str], Sample] = {}

    def sent(self, host: str, size: int, at: float) -> None:
        """A host sent a packet."""
        sample = self._sample(host, at)
        sample.sent_packets += 1
        sample.sent_bytes += size

    def lost(self, host: str, sent_at: float) -> None:
        """A packet of this host will not arrive."""
        self._sample(host, sent_at).lost_packets += 1

    def received(self, host: str, size: int, at: float, delay: float) -> None:
        """A packet arrived at a host."""
        sample = self._sample(host, at)
        sample.received_packets += 1
        sample.received_bytes += size
        sample.delay_sum += delay
        sample.delay_max = max(sample.delay_max, delay)

    def counted(self, host: str, since: float, until: float, *, sent: int, lost: int, received: int) -> None:
        """So many packets were seen at a host between two times, whatever their sizes and delays."""
        first, last = self._stretch(since), self._stretch(until)
        parts = last - first + 1
        for part in range(parts):
            sample = self._sample(host, (first + part) * self.interval)
            sample.sent_packets += _share(sent, part, parts)
            sample.lost_packets += _share(lost, part, parts)
            sample.received_packets += _share(received, part, parts)

    def seen(self, host: str, size: int, at: float, *, is_outgoing: bool) -> None:
        """A packet of this size was seen at a host; it is counted elsewhere."""
        sample = self._sample(host, at)
        if is_outgoing:
            sample.sent_bytes += size
        else:
            sample.received_bytes += size

    def samples(self) -> list[Sample]:
        """Return what was added up, in order of time."""
        return [self._samples[key] for key in sorted(self._samples)]

    def _stretch(self, at: float) -> int:
        return int(max(0.0, at) / self.interval + ROUNDING)

    def _sample(self, host: str, at: float) -> Sample:
        stretch = self._stretch(at)
        key = (stretch, host)
        if key not in self._samples:
            self._samples[key] = Sample(at=stretch * self.interval, host=host)
        return self._samples[key]


def _share(count: int, part: int, parts: int) -> int:
    """Return what falls to one of some equal parts."""
    return count * (part + 1) // parts - count * part // parts
