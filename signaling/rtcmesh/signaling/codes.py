"""Every code of the protocol with its meaning: why something is refused, and what a client does about it."""

from enum import IntEnum, StrEnum
from typing import Self


class CloseCode(IntEnum):
    """WebSocket close codes (RFC 6455 section 7.4) that are not the end of a refusal."""

    NORMAL = 1000
    """The peer left, or the link was closed on purpose."""
    GOING_AWAY = 1001
    """This end stops without having anything to complain about."""
    PROTOCOL_ERROR = 1002
    """What came is no WebSocket (RFC 6455)."""
    NO_STATUS = 1005
    """The other side closed without a code; never sent on the wire."""
    ABNORMAL = 1006
    """The connection broke; never sent on the wire."""
    TOO_LARGE = 1009
    """A frame exceeded the limit of the WebSocket implementation itself."""


class RefusalCode(StrEnum):
    """Why a connection is ended: the `code` of `refused`, its close code, whether a client tries again."""

    close_code: int
    final: bool
    meaning: str

    def __new__(cls, value: str, close_code: int, final: bool, meaning: str) -> Self:  # noqa: FBT001
        """Make a member that carries its close code, its finality and its meaning."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.close_code = close_code
        member.final = final
        member.meaning = meaning
        return member

    PROTOCOL_VIOLATION = "protocol_violation", 4000, False, "a message that the protocol does not allow here"
    BAD_PROOF = "bad_proof", 4001, True, "the proof or the prekey does not belong to this peer id"
    BAD_ROOM = "bad_room", 4002, True, "not a valid room name"
    ROOM_FULL = "room_full", 4003, True, "the room has no place left"
    SERVER_FULL = "server_full", 4004, False, "the server has no place left"
    MESSAGE_TOO_LARGE = "message_too_large", 4005, True, "a message is larger than the limit"
    JOIN_TIMEOUT = "join_timeout", 4006, False, "no join arrived in time"
    HEARTBEAT_TIMEOUT = "heartbeat_timeout", 4007, False, "nothing was heard for two heartbeats"
    SLOW_CONSUMER = "slow_consumer", 4008, False, "messages were not read as fast as they arrived"
    REPLACED = "replaced", 4009, True, "the same identity joined the room again"
    SHUTTING_DOWN = "shutting_down", 4010, False, "the server is stopping"
    INTERNAL = "internal", 4011, False, "the server failed"
    UNAVAILABLE = "unavailable", 4012, False, "the rooms cannot be reached at the moment"
    EPOCH_CHANGED = "epoch_changed", 4013, False, "the room's stream began anew: join again for a snapshot"
    RATE_LIMITED = "rate_limited", 4014, False, "too many want in at once, here or from this address"
    UNKNOWN = "unknown", 4099, False, "a refusal that this version does not know"

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        return cls.__members__["UNKNOWN"] if isinstance(value, str) else None

    @classmethod
    def from_close_code(cls, close_code: int) -> "RefusalCode | None":
        """Return the refusal that ends with this close code, or None when the code is not one of ours."""
        return next((code for code in cls if code.close_code == close_code), None)


class NackCode(StrEnum):
    """Why a signal is not delivered."""

    meaning: str

    def __new__(cls, value: str, meaning: str) -> Self:
        """Make a member that carries its meaning."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    UNKNOWN_PEER = "unknown_peer", "the receiver is not in the room"
    TOO_LARGE = "too_large", "the sealed bytes are larger than the limit"
    SERVER_FULL = "server_full", "the server has no place left"
    UNAVAILABLE = "unavailable", "the room could not be reached in time; nobody knows whether it is delivered"
    EPOCH_CHANGED = "epoch_changed", "the membership began anew before an answer came; never on the wire"


class LeaveReason(StrEnum):
    """Why a peer is no longer a member."""

    LEFT = "left"
    """It said so."""
    EXPIRED = "expired"
    """It was suspended for the whole resume window."""
    REPLACED = "replaced"
    """The same identity joined again with another prekey."""
