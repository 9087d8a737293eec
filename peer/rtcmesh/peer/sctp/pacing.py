"""Spreads packets over the round trip: a window should not reach the bottleneck in one burst (RFC 9002 section 7.7).

Packets leave in bursts of 2 ms, which segmentation offload turns into one or a few system calls. A path whose round
trip is shorter than that is not paced at all (`RoundTrip.is_local`): the timers would cost more than the packets.
"""

from __future__ import annotations

from math import inf

BURST_SECONDS = 0.002
"""Timers are late by a millisecond or so: what was missed meanwhile may be sent at once."""

PAUSE_SECONDS = 0.001
"""How long to wait at least: a timer for every packet would cost more than the packet."""

MIN_BURST_PACKETS = 2


class Pacer:
    """A bucket of bytes that fills at the pacing rate, and may be overdrawn by one packet."""

    __slots__ = ("_filled_at", "_level", "rate")

    def __init__(self) -> None:
        self.rate: float | None = None
        """In bytes per second; None: unpaced."""
        self._level = inf
        self._filled_at = 0.0

    def allowance(self, packet_bytes: int, now: float) -> float:
        """Return how many bytes may be sent now: as long as it is positive, another packet."""
        rate = self.rate
        if rate is None:
            return inf
        burst = max(MIN_BURST_PACKETS * packet_bytes, rate * BURST_SECONDS)
        self._level = min(burst, self._level + (now - self._filled_at) * rate)
        self._filled_at = now
        return self._level

    def spent(self, size: int) -> None:
        """Note how many bytes were sent."""
        self._level -= size

    def deadline(self) -> float:
        """When the next packets may be sent."""
        if self.rate is None or self._level > 0:
            return self._filled_at
        return self._filled_at + PAUSE_SECONDS - self._level / self.rate
