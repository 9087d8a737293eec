"""The data channel establishment protocol (RFC 8832 section 5).

DATA_CHANNEL_OPEN                                               DATA_CHANNEL_ACK

     0                   1                   2                   3
    +---------------+---------------+-------------------------------+      +---------------+
    |       3       |  channel type |           priority            |      |       2       |
    |                     reliability parameter                     |      +---------------+
    |         label length          |        protocol length        |
    |                      label, then protocol                     |
    +---------------------------------------------------------------+
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import NamedTuple

from .errors import ProtocolError
from .parameters import Cause

_OPEN = Struct("!BBHLHH")
_ACK, _OPEN_TYPE = 2, 3
_UNORDERED = 0x80
_RELIABLE, _BY_COUNT, _BY_TIME = 0, 1, 2

MAX_NAME_BYTES = 65_535


class PayloadProtocol(IntEnum):
    """What a message is (RFC 8831 section 8)."""

    DCEP = 50
    STRING = 51
    BINARY = 53
    STRING_EMPTY = 56
    BINARY_EMPTY = 57


class Open(NamedTuple):
    """What an end says of a channel that it opens."""

    label: str
    protocol: str
    ordered: bool
    max_retransmits: int | None
    max_lifetime: float | None
    """In seconds."""
    priority: int


ACK = bytes([_ACK])


def encode_open(opening: Open) -> bytes:
    """Return a DATA_CHANNEL_OPEN message."""
    label, protocol = opening.label.encode(), opening.protocol.encode()
    kind, parameter = _RELIABLE, 0
    if opening.max_retransmits is not None:
        kind, parameter = _BY_COUNT, opening.max_retransmits
    elif opening.max_lifetime is not None:
        kind, parameter = _BY_TIME, round(opening.max_lifetime * 1000)
    if not opening.ordered:
        kind |= _UNORDERED
    return (
        _OPEN.pack(_OPEN_TYPE, kind, opening.priority, parameter, len(label), len(protocol))
        + label
        + protocol
    )


def decode(message: bytes) -> Open | None:
    """Return a DATA_CHANNEL_OPEN message, or None for a DATA_CHANNEL_ACK. Raises `ProtocolError`."""
    if message[:1] == ACK:
        return None
    if len(message) < _OPEN.size or message[0] != _OPEN_TYPE:
        raise ProtocolError(Cause.PROTOCOL_VIOLATION, "a message that is neither OPEN nor ACK")
    _, kind, priority, parameter, label_length, protocol_length = _OPEN.unpack_from(message)
    names = message[_OPEN.size :]
    if len(names) != label_length + protocol_length:
        raise ProtocolError(Cause.PROTOCOL_VIOLATION, "a DATA_CHANNEL_OPEN whose names have another length")
    if kind & ~_UNORDERED > _BY_TIME:
        raise ProtocolError(Cause.PROTOCOL_VIOLATION, f"a data channel of type {kind}")
    return Open(
        names[:label_length].decode("utf-8", "replace"),
        names[label_length:].decode("utf-8", "replace"),
        not kind & _UNORDERED,
        parameter if kind & ~_UNORDERED == _BY_COUNT else None,
        parameter / 1000 if kind & ~_UNORDERED == _BY_TIME else None,
        priority,
    )
