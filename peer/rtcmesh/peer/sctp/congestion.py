"""The seam of congestion control: how much may be on its way, and how fast it may be sent."""

from __future__ import annotations

from typing import Protocol

from .round_trip import RoundTrip

INITIAL_WINDOW_PACKETS = 10
"""RFC 6928."""


class Congestion(Protocol):
    """What decides it. Numbers are those of transmissions, counted from 1; sizes are bytes of packets."""

    window: int
    """How many bytes may be on their way."""
    pacing_rate: float | None
    """In bytes per second; None: as fast as the window allows."""

    def acknowledged(self, progress: Progress, now: float) -> None:
        """Take what one SACK has shown to have arrived, before `lost` is told what it has shown to be lost."""
        ...

    def lost(self, size: int, newest: int, now: float) -> None:
        """Take the size of packets that are lost and the number of the newest of them."""
        ...

    def collapsed(self, now: float) -> None:
        """Note that nothing was acknowledged for three timeouts: everything on its way counts as lost."""
        ...

    def packet_size_changed(self, packet_bytes: int) -> None:
        """Note that packets are larger or smaller from now on."""
        ...


class Progress:
    """What one SACK has shown, and the state around it. One object, filled again for every SACK."""

    __slots__ = ("acknowledged", "in_flight", "limited", "newest", "next_number", "round_trip", "sample")

    def __init__(self, round_trip: RoundTrip) -> None:
        self.round_trip = round_trip
        self.acknowledged = 0
        """Bytes that arrived."""
        self.in_flight = 0
        """Bytes that were on their way before."""
        self.newest = 0
        """The number of the newest transmission that arrived."""
        self.next_number = 0
        """The number of the next transmission."""
        self.sample: float | None = None
        """A new round-trip time, if there is one."""
        self.limited = False
        """Whether more would have been sent, had the window allowed it."""
