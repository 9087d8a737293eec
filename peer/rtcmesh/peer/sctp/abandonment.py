"""Partial reliability: passing over what is not sent again (RFC 3758 section 3.5, RFC 8260 section 2.3).

    TSN       10        11          12        13         14          15
              acked     abandoned   acked*    abandoned  abandoned   in flight
              ^ cumulative TSN of the last SACK          ^ advanced point; FORWARD TSN says 14

Packets marked * that have arrived are passed over as well, when they are of limited reliability themselves: waiting for
each SACK in between would cost a round trip per gap.
"""

from __future__ import annotations

from .chunks import ForwardTsn, Skip
from .recovery import Recovery
from .sent import Fate

MAX_SKIPS = 128
"""How many streams one FORWARD TSN names; the next one goes on from there."""


class Abandonment:
    """Knows how far the remote end may be told to go on, and whether it was."""

    def __init__(self, recovery: Recovery) -> None:
        self._recovery = recovery
        self._advanced = recovery.cumulative
        self._told = recovery.cumulative
        self._told_at = 0.0

    def advance(self, now: float) -> None:
        """Look what was abandoned since. What the last SACK did not know is told again, once in a round trip."""
        recovery = self._recovery
        point = max(self._advanced, recovery.cumulative)
        outstanding = recovery.outstanding
        while (packet := outstanding.get(point + 1)) is not None and packet.limit is not None:
            if packet.limit.abandoned:
                self._advanced = packet.following - 1
            elif packet.fate is not Fate.ACKNOWLEDGED:
                break
            point = packet.following - 1
        if now - self._told_at > (recovery.round_trip.smoothed or 0.0):
            self.repeat()

    def repeat(self) -> None:
        """Tell it again: the last FORWARD TSN may be lost."""
        self._told = self._recovery.cumulative

    @property
    def pending(self) -> bool:
        """Whether the remote end is to be told of something."""
        return self._advanced > self._told and self._advanced > self._recovery.cumulative

    def forward_tsn(self, now: float) -> ForwardTsn:
        """Return what to tell it."""
        recovery = self._recovery
        latest: dict[tuple[int, bool], int] = {}
        point = recovery.cumulative
        packet = next(iter(recovery.outstanding.values()), None)
        while packet is not None and packet.first <= self._advanced and len(latest) < MAX_SKIPS:
            if packet.limit is not None and packet.limit.abandoned and packet.skips:
                # A packet of limited reliability is of one stream, and its last message stands for all of them.
                skip = packet.skips[-1]
                latest[skip.stream_id, skip.unordered] = skip.number
            point = packet.following - 1
            packet = recovery.outstanding.get(packet.following)
        self._told, self._told_at = self._advanced, now
        return ForwardTsn(
            point, [Skip(stream, mid, unordered) for (stream, unordered), mid in latest.items()]
        )
