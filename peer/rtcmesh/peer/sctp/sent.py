"""A packet of user data, from its first transmission until everything before it is acknowledged."""

from __future__ import annotations

from enum import IntEnum
from math import inf

import msgspec

from .chunks import CHUNK_HEADER, Skip


class Fate(IntEnum):
    """What has become of a packet."""

    IN_FLIGHT = 0
    ACKNOWLEDGED = 1
    """It has arrived, but something before it has not."""
    LOST = 2
    """It waits to be sent again."""
    ABANDONED = 3
    """It is not sent again; FORWARD TSN passes over it."""


class Limit:
    """How long one message is worth sending (RFC 3758, RFC 7496). Messages without a limit are reliable."""

    __slots__ = ("abandoned", "expires_at", "max_retransmits")

    def __init__(self, max_retransmits: float, expires_at: float) -> None:
        self.max_retransmits = max_retransmits
        self.expires_at = expires_at
        self.abandoned = False

    @classmethod
    def of(cls, max_retransmits: int | None, max_lifetime: float | None, now: float | None) -> Limit:
        """Return the limit of a message that is sent now. Raises ValueError for a lifetime without a beginning."""
        if max_lifetime is None:
            return cls(inf if max_retransmits is None else max_retransmits, inf)
        if now is None:
            raise ValueError("messages with a lifetime need the time at which they are sent")
        return cls(inf if max_retransmits is None else max_retransmits, now + max_lifetime)

    def equals(self, other: Limit) -> bool:
        """Return whether two messages are abandoned under the same conditions."""
        return self.max_retransmits == other.max_retransmits and self.expires_at == other.expires_at


class Sent(msgspec.Struct, gc=False, eq=False):
    """DATA chunks that are sent, lost and sent again together: what arrives or not is a packet, not a chunk.

    All of them are reliable, or all have the same limit: what must arrive never shares the fate of what may not. There
    is one for every packet on its way, so the garbage collector is spared them: none refers to itself.
    """

    first: int
    """Its first TSN."""
    following: int
    """The TSN that follows its last one."""
    body: bytes
    """The chunks."""
    size: int
    """The bytes of the chunks."""
    limit: Limit | None = None
    skips: list[Skip] | None = None
    """The messages in it; None for reliable ones."""
    retransmits: int = 0
    # Set by every transmission:
    fate: Fate = Fate.IN_FLIGHT
    number: int = 0
    """The how-manyth transmission it was."""
    sent_at: float = 0.0

    def divided(self, room: int) -> list[Sent]:
        """Return the same chunks in packets of at most `room` bytes. A chunk that is larger cannot be divided."""
        parts: list[Sent] = []
        tsn, begin, offset = self.first, 0, 0
        while offset < self.size:
            _, _, length = CHUNK_HEADER.unpack_from(self.body, offset)
            following = offset + ((length + 3) & ~3)
            if following - begin > room and offset > begin:
                parts.append(self._part(parts, tsn, begin, offset))
                begin = offset
            tsn += 1
            offset = following
        return [*parts, self._part(parts, tsn, begin, self.size)]

    def _part(self, before: list[Sent], following: int, begin: int, end: int) -> Sent:
        first = before[-1].following if before else self.first
        skips = None if self.skips is None else self.skips[first - self.first : following - self.first]
        return Sent(
            first,
            following,
            self.body[begin:end],
            end - begin,
            self.limit,
            skips,
            self.retransmits,
            self.fate,
            self.number,
            self.sent_at,
        )
