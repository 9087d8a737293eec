"""The wire format between two sessions: what travels in the packets of a path.

A packet of the reliable lane is one or more frames, one after the other. Every frame has the same header, big-endian:

     0        1                 3                                   11                 15
    +--------+-----------------+-----------------------------------+------------------+----------------
    | type   | channel (16)    | number (64)                       | length (32)      | body ...
    +--------+-----------------+-----------------------------------+------------------+----------------

    RESUME  channel 0, number: the sender's session number
            body: session number of the receiver as the sender knows it (64; 0: not yet), limit of channels that are
            not in the list (64), then for each channel that the receiver has opened: channel (16), received
            through (64), limit (64)
    OPEN    channel: chosen by its sender from 0 up; body: the label in UTF-8
    DATA    number: of the message on its channel, from 1 up; body: the payload
    ACK     number: received through; body: limit (64)
    END     orderly end: nothing more will be sent

A *limit* is an absolute credit: the sum of the costs of all messages that may ever be sent on the channel (the idea of
RFC 9000 section 4.1). A message costs its length and `MESSAGE_OVERHEAD` more, so that empty ones are bounded too.

A packet of the unreliable lane is one probe: type (8), number (64).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from .errors import ProtocolViolation

MESSAGE_OVERHEAD = 64
"""What a message costs beyond its length when credit is counted."""

MAX_LABEL_BYTES = 255

MAX_CHANNELS = 64
"""How many channels one session may open: a constant, since both ends must agree on it."""

_HEADER = struct.Struct("!BHQI")
_PROGRESS = struct.Struct("!HQQ")
_PROBE = struct.Struct("!BQ")
_NUMBER = struct.Struct("!Q")
_RESUME = struct.Struct("!QQ")

HEADER_BYTES = _HEADER.size


class FrameType(IntEnum):
    """The first byte of a frame."""

    RESUME = 1
    OPEN = 2
    DATA = 3
    ACK = 4
    END = 5


class ProbeType(IntEnum):
    """The first byte of a probe."""

    PING = 1
    PONG = 2


class Progress(NamedTuple):
    """How far one channel has got at its receiving end."""

    channel: int
    received: int
    """All messages up to this number are here."""
    limit: int
    """The sum of costs that may be sent."""


class Resume(NamedTuple):
    """The first frame on every path, from both ends: who I am, and what I have of yours."""

    session: int
    remote_session: int
    window: int
    """The limit of channels that are not in `progress`."""
    progress: tuple[Progress, ...]


class Open(NamedTuple):
    """Binds a channel number to a label."""

    channel: int
    label: str


class Data(NamedTuple):
    """One message."""

    channel: int
    number: int
    payload: bytes


class Ack(NamedTuple):
    """Progress of one channel."""

    progress: Progress


class End(NamedTuple):
    """The orderly end of a session."""


class Probe(NamedTuple):
    """A ping, or the pong that answers the ping of the same number."""

    type: ProbeType
    number: int


Frame = Resume | Open | Data | Ack | End


def cost(payload: bytes) -> int:
    """Return what a message takes of its channel's credit."""
    return len(payload) + MESSAGE_OVERHEAD


def encode_resume(resume: Resume) -> bytes:
    """Return the frame's bytes."""
    head = _RESUME.pack(resume.remote_session, resume.window)
    body = head + b"".join(_PROGRESS.pack(*entry) for entry in resume.progress)
    return _HEADER.pack(FrameType.RESUME, 0, resume.session, len(body)) + body


def encode_open(channel: int, label: str) -> bytes:
    """Return the frame's bytes."""
    body = label.encode()
    return _HEADER.pack(FrameType.OPEN, channel, 0, len(body)) + body


def encode_data(channel: int, number: int, payload: bytes) -> bytes:
    """Return the frame's bytes."""
    return _HEADER.pack(FrameType.DATA, channel, number, len(payload)) + payload


def encode_ack(progress: Progress) -> bytes:
    """Return the frame's bytes."""
    return _HEADER.pack(FrameType.ACK, progress.channel, progress.received, _NUMBER.size) + _NUMBER.pack(
        progress.limit
    )


def encode_end() -> bytes:
    """Return the frame's bytes."""
    return _HEADER.pack(FrameType.END, 0, 0, 0)


def decode_packet(packet: bytes) -> Iterator[Frame]:
    """Yield the frames of a packet. Raises `ProtocolViolation` and nothing else, whatever the bytes."""
    offset, end = 0, len(packet)
    while offset < end:
        if end - offset < HEADER_BYTES:
            raise ProtocolViolation("bad_frame", "a packet ends within a frame header")
        kind, channel, number, length = _HEADER.unpack_from(packet, offset)
        offset += HEADER_BYTES
        body = packet[offset : offset + length]
        if len(body) != length:
            raise ProtocolViolation("bad_frame", "a packet ends within a frame")
        offset += length
        yield _decode_frame(kind, channel, number, body)


def _decode_frame(kind: int, channel: int, number: int, body: bytes) -> Frame:
    match kind:
        case FrameType.DATA:
            return Data(channel, number, body)
        case FrameType.ACK if len(body) == _NUMBER.size:
            return Ack(Progress(channel, number, *_NUMBER.unpack(body)))
        case FrameType.OPEN if 1 <= len(body) <= MAX_LABEL_BYTES:
            return Open(channel, _decode_label(body))
        case FrameType.RESUME if len(body) % _PROGRESS.size == _RESUME.size:
            return _decode_resume(number, body)
        case FrameType.END if not body:
            return End()
        case _:
            raise ProtocolViolation("bad_frame", f"type {kind} with a body of {len(body)} bytes")


def _decode_label(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise ProtocolViolation("bad_frame", "a label that is not UTF-8") from error


def _decode_resume(session: int, body: bytes) -> Resume:
    remote_session, window = _RESUME.unpack_from(body)
    progress = tuple(Progress(*entry) for entry in _PROGRESS.iter_unpack(body[_RESUME.size :]))
    if session == 0:
        raise ProtocolViolation("bad_frame", "a session without a number")
    return Resume(session, remote_session, window, progress)


def encode_probe(probe: Probe) -> bytes:
    """Return the probe's bytes."""
    return _PROBE.pack(*probe)


def decode_probe(data: bytes) -> Probe:
    """Return the probe. Raises `ProtocolViolation` and nothing else, whatever the bytes."""
    try:
        kind, number = _PROBE.unpack(data)
        return Probe(ProbeType(kind), number)
    except (struct.error, ValueError) as error:
        raise ProtocolViolation("bad_probe", str(error)) from error
