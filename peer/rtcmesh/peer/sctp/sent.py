"""A packet of user data, from its first transmission until everything before it is acknowledged."""

from __future__ import annotations

from enum import IntEnum
from math import inf

from .chunks import Skip


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
    def of(cls, max_retransmits: int | None, max_lifetime: float | None, now: float) -> Limit:
        """Return the limit of a message that is sent now."""
        return cls(
            inf if max_retransmits is None else max_retransmits,
            inf if max_lifetime is None else now + max_lifetime,
        )

    def equals(self, other: Limit) -> bool:
        """Return whether two messages are abandoned under the same conditions."""
        return self.max_retransmits == other.max_retransmits and self.expires_at == other.expires_at


class Sent:
    """DATA chunks that are sent, lost and sent again together: what arrives or not is a packet, not a chunk.

    All of them are reliable, or all have the same limit: what must arrive never shares the fate of what may not.
    """

    __slots__ = (
        "body",
        "fate",
        "first",
        "following",
        "limit",
        "number",
        "retransmits",
        "sent_at",
        "size",
        "skips",
    )

    def __init__(
        self, first: int, following: int, body: bytes, limit: Limit | None, skips: list[Skip] | None
    ) -> None:
        self.first = first
        """Its first TSN."""
        self.following = following
        """The TSN that follows its last one."""
        self.body = body
        """The chunks."""
        self.size = len(body)
        self.limit = limit
        self.skips = skips
        """The messages in it; None for reliable ones."""
        self.fate = Fate.IN_FLIGHT
        self.number = 0
        """The how-manyth transmission its last one was."""
        self.sent_at = 0.0
        self.retransmits = 0
