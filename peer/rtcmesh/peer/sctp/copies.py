"""Second copies of small packets that nothing follows, where packets are lost: nothing would show their loss soon.

    sent ──nothing follows for a quarter of a round trip──▶ copied ──▶ acknowledged, the copy reported as a duplicate

A path is doubted from its beginning, and again after every sign of loss, until so many of them in a row have arrived
together with their copies. So a clean path soon carries none, and one that loses packets at most one small packet in a
quarter of a round trip.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import inf

from .round_trip import RoundTrip
from .sent import Fate, Sent

MAX_COPIED_BYTES = 512
"""No copy is larger: what is larger is no message that somebody waits for, and would cost too much."""

MIN_ROUND_TRIP = 0.01
"""Below this a probe timeout is soon enough."""

DOUBTED_PACKETS = 64
"""After so many copies without a sign of loss a path is trusted."""

_REMEMBERED = 8


class Copies:
    """Which packet is sent twice, and when. Copies are not in flight, and no sign of reordering when they arrive."""

    __slots__ = ("_awaited", "_copied", "_last", "_lost", "_sent", "_trust", "at")

    def __init__(self) -> None:
        self.at = inf
        """When `due` has one; infinite for never."""
        self._last: Sent | None = None
        self._sent: deque[range] = deque(maxlen=_REMEMBERED)
        """The TSNs of the last packets that were sent twice."""
        self._awaited: set[int] = set()
        """The first TSNs of packets whose copies were not reported as duplicates yet."""
        self._copied = 0
        """The first TSN of the last one: the report may still be on its way."""
        self._trust = 0
        self._lost = 0

    def watch(self, packet: Sent, round_trip: RoundTrip, lost: int, now: float) -> None:
        """Take the packet that was sent last, for the first time, and how many packets were lost until now."""
        if packet.limit is not None or packet.size > MAX_COPIED_BYTES or round_trip.minimum < MIN_ROUND_TRIP:
            return
        if lost != self._lost or not self._awaited <= {self._copied}:
            self._lost, self._trust = lost, 0
            self._awaited &= {self._copied}
        if self._trust < DOUBTED_PACKETS and round_trip.smoothed is not None:
            self._trust += 1
            self._last, self.at = packet, now + round_trip.smoothed / 4

    def due(self, now: float) -> Sent | None:
        """Return the packet of which a copy is to be sent now, if nothing has followed and nothing is known of it."""
        packet = self._last
        if packet is None or now < self.at:
            return None
        self._last, self.at = None, inf
        if packet.fate is not Fate.IN_FLIGHT or packet.retransmits:
            return None
        self._copied = packet.first
        self._awaited.add(packet.first)
        self._sent.append(range(packet.first, packet.following))
        return packet

    def followed(self) -> None:
        """Note that the packet that is watched is not the last one any more."""
        self._last, self.at = None, inf

    def probed(self, packet: Sent) -> None:
        """Note that a probe was sent twice at once."""
        self._sent.append(range(packet.first, packet.following))

    def explain(self, duplicates: Sequence[int]) -> bool:
        """Take the TSNs that have arrived more than once. Returns whether all of them were sent so."""
        explained = 0
        for copied in self._sent:
            explained += sum(tsn in copied for tsn in duplicates)
            if copied.start in duplicates:
                self._awaited.discard(copied.start)
        return explained >= len(duplicates)
