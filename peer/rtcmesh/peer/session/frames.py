"""What two sessions say to each other: packets of frames.

 0                   1                   2                   3
 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
+---------------+-----------------------------------------------+
|   type (16)   |             source session (64)          ...   |
+---------------+-----------------------------------------------+
|             destination session (64), 0: not known       ...  |
+---------------------------------------------------------------+
|                           frames ...                          |
+---------------------------------------------------------------+

Every frame begins with its type (8). What follows:

    HELLO         -                                             who I am is in the header; say who you are
    OPEN          channel (16), delivery (8), length (8), label in UTF-8
    DATA          channel (16), flags (8), number (64), length (16), payload
                  with FIRST in the flags, the message's whole length (32) precedes the payload
    MESSAGES      channel (16), number (64), count (16), that many lengths (16), as many payloads
    ACK           channel (16), received through (64), limit (64), delay (16) in tenths of a millisecond, count (8),
                  that many ranges of first (64), last (64)
    BLOCKED       channel (16)                                  I have more to send than your credit allows
    DATAGRAM      channel (16), number (64), length (16), payload
    END, END_ACK  -                                             nothing more is sent; that was heard

Numbers count fragments: those of one channel from 1 on without a gap. The fragments of one message follow one another,
FIRST to LAST, and all but the LAST are `FRAGMENT_BYTES` long. Small messages of one channel that leave together are one
fragment, MESSAGES: what is numbered, acknowledged and sent again is then the lot of them, at the price of one.

A *limit* is an absolute credit: the sum of the costs of all that may ever be sent on the channel (the idea of RFC 9000
section 4.1). A message costs its length and `FRAGMENT_OVERHEAD` more for each fragment that it alone would be, in
whatever company it travels: empty ones are bounded too.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import accumulate, pairwise
from typing import NamedTuple

from rtcmesh.peer.delivery import Delivery
from rtcmesh.peer.errors import ProtocolViolation
from rtcmesh.relay.frames import Urgency

PACKET_BYTES = 16 * 1024
"""No packet is longer."""

FRAGMENT_OVERHEAD = 64
"""What a fragment costs beyond its length when credit is counted."""

MAX_LABEL_BYTES = 255

MAX_CHANNELS = 64
"""How many channels one session may open: a constant, since both ends must agree on it."""

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""The longest message that a session takes from its remote session."""

MIN_CHANNEL_WINDOW_BYTES = 128 * 1024
"""No session has a smaller window, so that as much may be said before anything is heard."""

MAX_TOGETHER = 512
"""How many messages are one fragment at most: they are credited when the last of them is taken."""

MAX_FRAMES = 1536
"""No packet has more frames: more than as many of the smallest useful ones as fit."""

MAX_RANGES = 32
"""How many ranges one ACK reports at most: the lowest ones."""

_HEADER = struct.Struct("!BQQ")
_OPEN = struct.Struct("!BHBB")
_DATA = struct.Struct("!BHBQH")
_TOTAL = struct.Struct("!I")
_MESSAGES = struct.Struct("!BHQH")
_ACK = struct.Struct("!BHQQHB")
_RANGE = struct.Struct("!QQ")
_BLOCKED = struct.Struct("!BH")
_DATAGRAM = struct.Struct("!BHQH")

HEADER_BYTES = _HEADER.size
ACK_BYTES = _ACK.size + MAX_RANGES * _RANGE.size
FRAGMENT_BYTES = PACKET_BYTES - HEADER_BYTES - _OPEN.size - MAX_LABEL_BYTES - _DATA.size - _TOTAL.size
"""The longest fragment: it shares a packet with the OPEN of its channel."""

LENGTH_BYTES = 2
"""What a message in MESSAGES takes beyond its payload."""

TOGETHER_BYTES = 14_900
"""The longest rest of MESSAGES that is sent if there are more than one: they are one packet of a transport that carries
packets of 15,000 bytes, and not one and a bit. Receivers hold against it that it is no longer than a fragment."""

MAX_DATAGRAM_BYTES = PACKET_BYTES - HEADER_BYTES - _OPEN.size - MAX_LABEL_BYTES - _DATAGRAM.size
"""The longest message of a BEST_EFFORT channel: it is one frame."""

MAX_LATEST_BYTES = 64 * 1024
"""The longest message of a LATEST channel: what a receiver keeps of one that is not complete."""

FIRST = 1
"""The flag of a message's first fragment."""

LAST = 2
"""The flag of a message's last fragment."""

_DELAY_UNITS_PER_SECOND = 10_000
_STORED = 0x80
_DELIVERIES = (Delivery.RELIABLE, Delivery.UNORDERED, Delivery.LATEST, Delivery.BEST_EFFORT)


class PacketType(IntEnum):
    """The first byte of a packet."""

    PING = 1
    PONG = 2
    FRAMES = 16


class FrameType(IntEnum):
    """The first byte of a frame."""

    HELLO = 1
    OPEN = 2
    DATA = 3
    MESSAGES = 9
    ACK = 4
    BLOCKED = 5
    DATAGRAM = 6
    END = 7
    END_ACK = 8


@dataclass(frozen=True, slots=True)
class Packet:
    """What is handed to a path."""

    data: bytes
    urgency: Urgency
    datagram: bool = False
    """Whether nothing in it must arrive: it may go where packets are not sent again."""


class Header(NamedTuple):
    """Which session speaks, and to which."""

    source: int
    destination: int
    """0 while the source does not know its remote session."""


class Hello(NamedTuple):
    """Asks for any packet in return."""


class Open(NamedTuple):
    """Binds a channel number to a label."""

    channel: int
    delivery: Delivery
    stored: bool
    """Whether an outbox numbers the messages."""
    label: str


class Data(NamedTuple):
    """One fragment of a message."""

    channel: int
    flags: int
    number: int
    total: int
    """The length of the whole message; 0 without FIRST."""
    payload: bytes


class Messages(NamedTuple):
    """A fragment that is one or more whole messages."""

    channel: int
    number: int
    payloads: tuple[bytes, ...]
    cost: int
    """What they take of their channel's credit."""
    size: int
    """What it takes of its path's window."""


class Ack(NamedTuple):
    """What has come of one channel."""

    channel: int
    received: int
    """All fragments up to this number."""
    limit: int
    """The sum of costs that may be sent."""
    ranges: tuple[tuple[int, int], ...]
    """What has come beyond, ascending: first and last number of each range."""
    delay: float = 0.0
    """For how many seconds the newest of it has waited for this frame; as much is no fault of the path."""


class Blocked(NamedTuple):
    """The sender stands still for want of credit."""

    channel: int


class Datagram(NamedTuple):
    """One message that is not sent again."""

    channel: int
    number: int
    payload: bytes


class End(NamedTuple):
    """The orderly end of a session."""


class EndAck(NamedTuple):
    """The END was heard."""


Frame = Hello | Open | Data | Messages | Ack | Blocked | Datagram | End | EndAck

HELLO = bytes([FrameType.HELLO])
END = bytes([FrameType.END])
END_ACK = bytes([FrameType.END_ACK])


def cost(payload: bytes | memoryview) -> int:
    """Return what a message of one fragment takes of its channel's credit, and a fragment of its path's window."""
    return len(payload) + FRAGMENT_OVERHEAD


def window_size(length: int, count: int) -> int:
    """Return what so many messages of this length together take of their path's window in one MESSAGES."""
    return length + LENGTH_BYTES * count + FRAGMENT_OVERHEAD


def message_cost(size: int) -> int:
    """Return what a message of this length takes of its channel's credit."""
    if size <= FRAGMENT_BYTES:
        return size + FRAGMENT_OVERHEAD
    return size + FRAGMENT_OVERHEAD * fragment_count(size)


def fragment_count(size: int) -> int:
    """Return of how many fragments a message of this length consists."""
    return max(1, -(-size // FRAGMENT_BYTES))


def encode_header(header: Header) -> bytes:
    """Return a packet's first bytes."""
    return _HEADER.pack(PacketType.FRAMES, *header)


def encode_open(frame: Open) -> bytes:
    """Return the frame's bytes."""
    label = frame.label.encode()
    delivery = _DELIVERIES.index(frame.delivery) | (_STORED if frame.stored else 0)
    return _OPEN.pack(FrameType.OPEN, frame.channel, delivery, len(label)) + label


def encode_data(channel: int, flags: int, number: int, total: int, payload: bytes | memoryview) -> bytes:
    """Return the frame's bytes."""
    head = _DATA.pack(FrameType.DATA, channel, flags, number, len(payload))
    if flags & FIRST:
        return b"".join((head, _TOTAL.pack(total), payload))
    return b"".join((head, payload))


def encode_messages(
    channel: int, number: int, payloads: Sequence[bytes], sizes: Sequence[int] | None = None
) -> bytes:
    """Return the frame's bytes; `sizes` are the lengths of the payloads, if they are known."""
    count = len(payloads)
    head = _MESSAGES.pack(FrameType.MESSAGES, channel, number, count)
    return b"".join((head, struct.pack(f"!{count}H", *(sizes or map(len, payloads))), *payloads))


def encode_ack(ack: Ack) -> bytes:
    """Return the frame's bytes."""
    delay = min(round(ack.delay * _DELAY_UNITS_PER_SECOND), 0xFFFF)
    head = _ACK.pack(FrameType.ACK, ack.channel, ack.received, ack.limit, delay, len(ack.ranges))
    return head + b"".join(_RANGE.pack(*span) for span in ack.ranges) if ack.ranges else head


def encode_blocked(channel: int) -> bytes:
    """Return the frame's bytes."""
    return _BLOCKED.pack(FrameType.BLOCKED, channel)


def encode_datagram(channel: int, number: int, payload: bytes) -> bytes:
    """Return the frame's bytes."""
    return _DATAGRAM.pack(FrameType.DATAGRAM, channel, number, len(payload)) + payload


def decode_header(packet: bytes) -> Header:
    """Return which session speaks to which. Raises `ProtocolViolation` and nothing else, whatever the bytes."""
    if len(packet) < HEADER_BYTES or packet[0] != PacketType.FRAMES:
        raise ProtocolViolation("bad_packet", "it has no header")
    if len(packet) > PACKET_BYTES:
        raise ProtocolViolation("bad_packet", f"it has {len(packet)} bytes")
    _, source, destination = _HEADER.unpack_from(packet)
    if source == 0:
        raise ProtocolViolation("bad_packet", "its session has no number")
    return Header(source, destination)


def decode_frames(packet: bytes) -> list[Frame]:
    """Return the frames of a packet, all of them. Raises `ProtocolViolation` and nothing else, whatever the bytes."""
    frames: list[Frame] = []
    offset, end = HEADER_BYTES, len(packet)
    try:
        while offset < end and len(frames) <= MAX_FRAMES:
            frame, offset = _DECODERS[packet[offset]](packet, offset)
            frames.append(frame)
    except (struct.error, KeyError, UnicodeDecodeError, ValueError) as error:
        raise ProtocolViolation("bad_frame", f"{type(error).__name__} at {offset}: {error}") from error
    if len(frames) > MAX_FRAMES:
        raise ProtocolViolation("bad_packet", f"it has more than {MAX_FRAMES} frames")
    return frames


def _decode_open(packet: bytes, offset: int) -> tuple[Open, int]:
    _, channel, delivery, length = _OPEN.unpack_from(packet, offset)
    offset += _OPEN.size
    label = _slice(packet, offset, length).decode()
    if not label or delivery & ~_STORED >= len(_DELIVERIES):
        raise ValueError("no such channel")
    stored = bool(delivery & _STORED)
    return Open(channel, _DELIVERIES[delivery & ~_STORED], stored, label), offset + length


def _decode_data(packet: bytes, offset: int) -> tuple[Data, int]:
    _, channel, flags, number, length = _DATA.unpack_from(packet, offset)
    offset += _DATA.size
    if number == 0:
        raise ValueError("fragments are numbered from 1")
    total = 0
    if flags & FIRST:
        (total,) = _TOTAL.unpack_from(packet, offset)
        offset += _TOTAL.size
    if not _is_well_cut(flags, length, total):
        raise ValueError(f"a fragment of {length} bytes of a message of {total}")
    return Data(channel, flags, number, total, _slice(packet, offset, length)), offset + length


def _decode_messages(packet: bytes, offset: int) -> tuple[Messages, int]:
    _, channel, number, count = _MESSAGES.unpack_from(packet, offset)
    if number == 0 or not 1 <= count <= MAX_TOGETHER:
        raise ValueError(f"fragment {number} of {count} messages")
    offset += _MESSAGES.size
    sizes = struct.unpack_from(f"!{count}H", packet, offset)
    begin = offset + LENGTH_BYTES * count
    size = sum(sizes)
    if begin + size > len(packet) or size > FRAGMENT_BYTES:
        raise ValueError("messages longer than a fragment, or than the packet")
    credit, window = size + FRAGMENT_OVERHEAD * count, window_size(size, count)
    return Messages(channel, number, _cut(packet, begin, sizes), credit, window), begin + size


def _cut(packet: bytes, begin: int, sizes: tuple[int, ...]) -> tuple[bytes, ...]:
    """Return what lies one after the other from `begin` on; those of one size, as most of a kind are, at one blow."""
    if 1 < len(sizes) == sizes.count(sizes[0]):
        return struct.unpack_from(f"{sizes[0]}s" * len(sizes), packet, begin)
    return tuple(packet[start:stop] for start, stop in pairwise(accumulate(sizes, initial=begin)))


def _is_well_cut(flags: int, length: int, total: int) -> bool:
    """Whether a message may have such a fragment."""
    if flags & FIRST and flags & LAST:
        return length == total <= FRAGMENT_BYTES
    if flags & FIRST:
        return length == FRAGMENT_BYTES < total
    return 0 < length <= FRAGMENT_BYTES if flags & LAST else length == FRAGMENT_BYTES


def _decode_ack(packet: bytes, offset: int) -> tuple[Ack, int]:
    _, channel, received, limit, delay, count = _ACK.unpack_from(packet, offset)
    offset += _ACK.size
    if count > MAX_RANGES:
        raise ValueError(f"{count} ranges")
    ranges: list[tuple[int, int]] = []
    beyond = received + 1  # which has not come, or it would be among those received
    for _ in range(count):
        first, last = _RANGE.unpack_from(packet, offset)
        offset += _RANGE.size
        if not beyond < first <= last:
            raise ValueError("ranges that do not ascend")
        ranges.append((first, last))
        beyond = last + 1
    return Ack(channel, received, limit, tuple(ranges), delay / _DELAY_UNITS_PER_SECOND), offset


def _decode_blocked(packet: bytes, offset: int) -> tuple[Blocked, int]:
    _, channel = _BLOCKED.unpack_from(packet, offset)
    return Blocked(channel), offset + _BLOCKED.size


def _decode_datagram(packet: bytes, offset: int) -> tuple[Datagram, int]:
    _, channel, number, length = _DATAGRAM.unpack_from(packet, offset)
    offset += _DATAGRAM.size
    return Datagram(channel, number, _slice(packet, offset, length)), offset + length


def _slice(packet: bytes, offset: int, length: int) -> bytes:
    body = packet[offset : offset + length]
    if len(body) != length:
        raise ValueError("the packet ends within a frame")
    return body


_DECODERS: dict[int, Callable[[bytes, int], tuple[Frame, int]]] = {
    FrameType.HELLO: lambda _, offset: (Hello(), offset + 1),
    FrameType.OPEN: _decode_open,
    FrameType.DATA: _decode_data,
    FrameType.MESSAGES: _decode_messages,
    FrameType.ACK: _decode_ack,
    FrameType.BLOCKED: _decode_blocked,
    FrameType.DATAGRAM: _decode_datagram,
    FrameType.END: lambda _, offset: (End(), offset + 1),
    FrameType.END_ACK: lambda _, offset: (EndAck(), offset + 1),
}
