"""Every code of the protocol with its meaning."""

from enum import IntEnum
from typing import Self


class CloseCode(IntEnum):
    """How a connection ends: WebSocket close codes (RFC 6455 section 7.4), those of refusals from 4000 up."""

    meaning: str
    needs_ticket: bool

    def __new__(cls, value: int, meaning: str, needs_ticket: bool = False) -> Self:  # noqa: FBT001, FBT002
        """Make a member with its meaning, and whether coming back makes sense with a newer ticket only."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        member.needs_ticket = needs_ticket
        return member

    NORMAL = 1000, "closed on purpose"
    GOING_AWAY = 1001, "the other side went away"
    NO_STATUS = 1005, "closed without a code"
    ABNORMAL = 1006, "the connection broke"
    TOO_LARGE = 1009, "a frame exceeded the limit of the socket"
    PROTOCOL_VIOLATION = 4000, "a frame that the protocol does not allow here"
    BAD_PROOF = 4001, "the proof does not belong to the peer of the ticket", True
    BAD_TICKET = 4002, "the ticket is not valid, or not any more", True
    REPLACED = 4003, "the same peer connected again", True
    OLDER = 4004, "the same peer is connected with a newer connection"
    RELAY_FULL = 4005, "the relay has no place left"
    JOIN_TIMEOUT = 4006, "no join arrived in time"
    HEARTBEAT_TIMEOUT = 4007, "nothing was heard for two heartbeats"
    STALLED = 4008, "frames were not read"
    SHUTTING_DOWN = 4009, "the relay is stopping"
    INTERNAL = 4010, "the relay failed"

    @classmethod
    def name_of(cls, code: int) -> str:
        """Return the name for a log or a counter: `other` for a code that is none of ours."""
        return next((member.name.lower() for member in cls if member == code), "other")

    @classmethod
    def meaning_of(cls, code: int) -> str:
        """Return what a code means, for people."""
        return next((member.meaning for member in cls if member == code), f"closed with code {code}")

    @classmethod
    def needs_ticket_after(cls, code: int) -> bool:
        """Whether it is useless to come back with the same ticket after this code."""
        return any(member.needs_ticket for member in cls if member == code)


class NackReason(IntEnum):
    """Why reliable frames were not forwarded."""

    QUEUE_FULL = 1
    """As much as one sender may have waiting for one receiver is waiting."""
    RECEIVER_FULL = 2
    """As much as may wait for one receiver is waiting."""
    RELAY_FULL = 3
    """As much as may wait in one room, or in the whole relay, is waiting."""
    TOO_LARGE = 4
    """The payload is larger than the limit."""
    RECEIVER_AWAY = 5
    """The receiver is connected again, but was not when they were due, or they waited for an earlier connection."""


class GoneReason(IntEnum):
    """Why nothing that is sent to a peer arrives, until it is back."""

    NOT_CONNECTED = 1
    """It has no connection to this relay."""
    LEFT = 2
    """It closed its connection in an orderly way."""
    LOST = 3
    """Its connection broke, or was cut off."""
