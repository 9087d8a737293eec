"""Every code of the protocol with its meaning."""

from enum import IntEnum


class CloseCode(IntEnum):
    """How a connection ends: WebSocket close codes (RFC 6455 section 7.4), those of refusals from 4000 up."""

    NORMAL = 1000
    GOING_AWAY = 1001
    NO_STATUS = 1005
    ABNORMAL = 1006
    TOO_LARGE = 1009
    PROTOCOL_VIOLATION = 4000
    BAD_PROOF = 4001
    BAD_TICKET = 4002
    REPLACED = 4003
    OLDER = 4004
    RELAY_FULL = 4005
    JOIN_TIMEOUT = 4006
    HEARTBEAT_TIMEOUT = 4007
    STALLED = 4008
    SHUTTING_DOWN = 4009
    INTERNAL = 4010

    @property
    def meaning(self) -> str:
        """The code in words."""
        return _MEANINGS[self]

    @property
    def needs_ticket(self) -> bool:
        """Whether it is useless to come back with the same ticket."""
        return self in (CloseCode.BAD_PROOF, CloseCode.BAD_TICKET, CloseCode.REPLACED)

    @classmethod
    def find(cls, code: int) -> "CloseCode | None":
        """Return the member of a code that came from somewhere."""
        try:
            return cls(code)
        except ValueError:
            return None


_MEANINGS = {
    CloseCode.NORMAL: "closed on purpose",
    CloseCode.GOING_AWAY: "the other side went away",
    CloseCode.NO_STATUS: "closed without a code",
    CloseCode.ABNORMAL: "the connection broke",
    CloseCode.TOO_LARGE: "a frame exceeded the limit of the socket",
    CloseCode.PROTOCOL_VIOLATION: "a frame that the protocol does not allow here",
    CloseCode.BAD_PROOF: "the proof does not belong to the peer of the ticket",
    CloseCode.BAD_TICKET: "the ticket is not valid, or not any more",
    CloseCode.REPLACED: "the same peer connected again",
    CloseCode.OLDER: "the same peer is connected with a newer connection",
    CloseCode.RELAY_FULL: "the relay has no place left",
    CloseCode.JOIN_TIMEOUT: "no join arrived in time",
    CloseCode.HEARTBEAT_TIMEOUT: "nothing was heard for two heartbeats",
    CloseCode.STALLED: "frames were not read",
    CloseCode.SHUTTING_DOWN: "the relay is stopping",
    CloseCode.INTERNAL: "the relay failed",
}


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
