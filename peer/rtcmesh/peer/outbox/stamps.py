"""How a message of an outbox is known again, and how its receiver says that the application has it.

The payload of every message on a stored channel begins with its stamp:

 0                   1                   2                   3
 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
+---------------------------------------------------------------+
|                      outbox (64)                         ...  |
+---------------------------------------------------------------+
|                      number (64)                         ...  |
+---------------------------------------------------------------+
|                      payload, as in codec                ...  |

The outbox is a number drawn when its file was made. Numbers ascend for each receiver and channel, with gaps.

Receipts travel the other way, as the value of a LATEST channel that no application can open: all of them for one
sender, in msgpack, an array of arrays of label, outbox, and the number through which the application has everything.
A newer value contains the older ones, so that only the last must arrive.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from rtcmesh.peer.errors import NotDecodable

RECEIPTS_LABEL = "\0receipts"
"""The channel of receipts. Labels of applications do not begin with NUL."""

MAX_RECEIPTS = 128
"""How many receipts one sender can have here: what fits into a LATEST value in any case."""

_STAMP = struct.Struct("!QQ")
STAMP_BYTES = _STAMP.size

_LIMIT = 2**63
"""What a file can hold."""


class Stamp(NamedTuple):
    """Which message this is."""

    outbox: int
    number: int


class Receipt(NamedTuple):
    """The application has all messages of this channel and outbox up to this number."""

    label: str
    outbox: int
    through: int


_decoder = msgspec.msgpack.Decoder(list[Receipt])


def stamped(stamp: Stamp, payload: bytes) -> bytes:
    """Return the payload with its stamp."""
    return _STAMP.pack(*stamp) + payload


def split(payload: bytes) -> tuple[Stamp, bytes]:
    """Return the stamp, and the payload without it. Raises `NotDecodable` and nothing else, whatever the bytes."""
    if len(payload) < STAMP_BYTES:
        raise NotDecodable("a stored message without a stamp")
    stamp = Stamp(*_STAMP.unpack_from(payload))
    if stamp.outbox >= _LIMIT or stamp.number >= _LIMIT:
        raise NotDecodable("a stamp beyond its range")
    return stamp, payload[STAMP_BYTES:]


def encode_receipts(receipts: Iterable[Receipt]) -> bytes:
    """Return the value of the receipts' channel."""
    return msgspec.msgpack.encode(list(receipts))


def decode_receipts(payload: bytes) -> list[Receipt]:
    """Return the receipts. Raises `NotDecodable` and nothing else, whatever the bytes."""
    try:
        return _decoder.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise NotDecodable(f"{type(error).__name__}: {error}") from error
