"""The wire format: one frame in one binary message of a WebSocket, subprotocol `rtcmesh.relay.v1`, big-endian.

     0        1        2                             34
    +--------+--------+-----------------------------+--------------------
    | type   | class  | peer (32)                   | payload ...            SEND to a peer, RECV from a peer
    +--------+--------+-----------------------------+--------------------

    class    bits 0 and 1: urgency (0 control, 1 interactive, 2 bulk); bit 7: datagram; the others are 0
    peer     the raw Ed25519 public key whose text form is the peer id

    client -> relay                                    relay -> client
    0x01 JOIN  number (64) proof (64 bytes) ticket     0x11 CHALLENGE  nonce (32 bytes)
    0x02 SEND  as above                                0x12 WELCOME    largest payload (32) queue bytes (64)
                                                                       bytes a second (64) heartbeat ms (32)
    both ways                                          0x13 RECV       as above
    0x21 PING  number (64)                             0x14 PEER_GONE  peer (32 bytes) reason (8) frames (32)
    0x22 PONG  number (64) of the ping                 0x15 NACK       peer (32 bytes) reason (8) frames (32)
                                                       0x16 LIMIT      bytes a second (64) paused for ms (32)
                                                       0x17 DRAINING   reconnect in ms (32)
                                                       0x18 CLOSED     code (16) text in UTF-8

SEND frames may follow a JOIN at once. The relay takes frames in order, so it has judged the join before it sees them.
"""

import base64
import struct
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple, NewType, TypeAlias

from rtcmesh.signaling.identity import PeerId

from .codes import GoneReason, NackReason
from .errors import ProtocolError

SUBPROTOCOL = "rtcmesh.relay.v1"

MAX_PAYLOAD_BYTES = 16 * 1024 + 256
"""The largest payload of a frame: a fragment of 16 KiB and what seals and addresses it."""

HEADER_BYTES = 34
"""What a frame adds to its payload."""

MAX_FRAME_BYTES = HEADER_BYTES + MAX_PAYLOAD_BYTES

MAX_TICKET_BYTES = 4096
MAX_TEXT_BYTES = 120
"""The text of CLOSED is cut here; a WebSocket's close frame has room for no more."""

NONCE_BYTES = 32

PeerKey = NewType("PeerKey", bytes)
"""A peer id as it travels: 32 bytes."""

_KEY_BYTES = 32
_PROOF_BYTES = 64
_DATAGRAM = 0x80
_MAX_MS = 2**32 - 1
_MAX_COUNT = 2**32 - 1

_JOIN = struct.Struct(f"!BQ{_PROOF_BYTES}s")
_WELCOME = struct.Struct("!BIQQI")
_NOTICE = struct.Struct(f"!B{_KEY_BYTES}sBI")
_LIMIT = struct.Struct("!BQI")
_DRAINING = struct.Struct("!BI")
_CLOSED = struct.Struct("!BH")
_HEARTBEAT = struct.Struct("!BQ")


class FrameType(IntEnum):
    """The first byte of a frame."""

    JOIN = 0x01
    SEND = 0x02
    CHALLENGE = 0x11
    WELCOME = 0x12
    RECV = 0x13
    PEER_GONE = 0x14
    NACK = 0x15
    LIMIT = 0x16
    DRAINING = 0x17
    CLOSED = 0x18
    PING = 0x21
    PONG = 0x22


class Urgency(IntEnum):
    """What goes first: whatever waits with a smaller number."""

    CONTROL = 0
    INTERACTIVE = 1
    BULK = 2


_URGENCIES = tuple(Urgency)


class Join(NamedTuple):
    """Asks for the place of the ticket's peer in the ticket's room."""

    number: int
    """Of the connection; the greatest one of a peer stays."""
    proof: bytes
    ticket: str


class Send(NamedTuple):
    """A payload for a peer."""

    urgency: Urgency
    datagram: bool
    """May be dropped; the oldest goes first."""
    destination: PeerKey
    payload: bytes | memoryview


class Ping(NamedTuple):
    """Asks for a pong."""

    number: int


class Pong(NamedTuple):
    """Answers the ping of this number."""

    number: int


class Challenge(NamedTuple):
    """What the proof of a join has to sign."""

    nonce: bytes


class Welcome(NamedTuple):
    """The join is accepted."""

    max_payload_bytes: int
    max_queue_bytes: int
    """What this peer may have waiting for one receiver."""
    bytes_per_second: int
    """What the relay takes from this connection in the long run; 0: as much as comes."""
    heartbeat: float


class Recv(NamedTuple):
    """A payload from a peer."""

    urgency: Urgency
    datagram: bool
    source: PeerKey
    payload: bytes


class PeerGone(NamedTuple):
    """Nothing sent to this peer arrives until it is back; so many reliable frames were refused for it."""

    peer: PeerKey
    reason: GoneReason
    frames: int


class Nack(NamedTuple):
    """So many reliable frames to this peer were refused."""

    peer: PeerKey
    reason: NackReason
    frames: int


class Limit(NamedTuple):
    """The relay reads no more than this; 0: the limit is lifted."""

    bytes_per_second: int
    paused_for: float
    """Seconds for which the relay reads nothing at all."""


class Draining(NamedTuple):
    """The relay is about to stop."""

    reconnect_in: float


class Closed(NamedTuple):
    """The last words before the connection is closed."""

    code: int
    text: str


ClientFrame: TypeAlias = Join | Send | Ping | Pong
RelayFrame: TypeAlias = Challenge | Welcome | Recv | PeerGone | Nack | Limit | Draining | Closed | Ping | Pong


@lru_cache(maxsize=4096)
def key_of(peer_id: PeerId) -> PeerKey:
    """Return a peer id as it travels."""
    return PeerKey(base64.b32decode(peer_id.upper() + "===="))


@lru_cache(maxsize=4096)
def peer_id_of(key: PeerKey) -> PeerId:
    """Return the peer id of a key."""
    return PeerId(base64.b32encode(key)[:52].decode().lower())


def type_of(frame: bytes) -> int:
    """Return the first byte, or 0 for a frame that is empty."""
    return frame[0] if frame else 0


def encode_join(join: Join) -> bytes:
    """Return the frame's bytes."""
    return _JOIN.pack(FrameType.JOIN, join.number, join.proof) + join.ticket.encode()


def encode_send(
    destination: PeerKey, payload: bytes | memoryview, urgency: Urgency, *, datagram: bool = False
) -> bytes:
    """Return the frame's bytes: the one copy of the payload."""
    return _routed(FrameType.SEND, destination, payload, urgency, datagram=datagram)


def encode_recv(
    source: PeerKey, payload: bytes | memoryview, urgency: Urgency, *, datagram: bool = False
) -> bytes:
    """Return the frame's bytes: the one copy of the payload."""
    return _routed(FrameType.RECV, source, payload, urgency, datagram=datagram)


def encode_challenge(nonce: bytes) -> bytes:
    """Return the frame's bytes."""
    return bytes([FrameType.CHALLENGE]) + nonce


def encode_welcome(welcome: Welcome) -> bytes:
    """Return the frame's bytes."""
    return _WELCOME.pack(
        FrameType.WELCOME,
        welcome.max_payload_bytes,
        welcome.max_queue_bytes,
        welcome.bytes_per_second,
        _milliseconds(welcome.heartbeat),
    )


def encode_peer_gone(peer: PeerKey, reason: GoneReason, frames: int) -> bytes:
    """Return the frame's bytes."""
    return _NOTICE.pack(FrameType.PEER_GONE, peer, reason, min(frames, _MAX_COUNT))


def encode_nack(peer: PeerKey, reason: NackReason, frames: int) -> bytes:
    """Return the frame's bytes."""
    return _NOTICE.pack(FrameType.NACK, peer, reason, min(frames, _MAX_COUNT))


def encode_limit(bytes_per_second: int, paused_for: float) -> bytes:
    """Return the frame's bytes."""
    return _LIMIT.pack(FrameType.LIMIT, bytes_per_second, _milliseconds(paused_for))


def encode_draining(reconnect_in: float) -> bytes:
    """Return the frame's bytes."""
    return _DRAINING.pack(FrameType.DRAINING, _milliseconds(reconnect_in))


def encode_closed(code: int, text: str) -> bytes:
    """Return the frame's bytes."""
    return _CLOSED.pack(FrameType.CLOSED, code) + text.encode()[:MAX_TEXT_BYTES]


def encode_ping(number: int) -> bytes:
    """Return the frame's bytes."""
    return _HEARTBEAT.pack(FrameType.PING, number)


def encode_pong(number: int) -> bytes:
    """Return the frame's bytes."""
    return _HEARTBEAT.pack(FrameType.PONG, number)


def decode_client(frame: bytes) -> ClientFrame:
    """Return what a client said. Raises `ProtocolError` and nothing else, whatever the bytes.

    A payload may be larger than allowed, and is a view of the frame.
    """
    match type_of(frame):
        case FrameType.SEND:
            urgency, datagram, peer = _route(frame)
            return Send(urgency, datagram, peer, memoryview(frame)[HEADER_BYTES:])
        case FrameType.JOIN if _JOIN.size < len(frame) <= _JOIN.size + MAX_TICKET_BYTES:
            _, number, proof = _JOIN.unpack_from(frame)
            return Join(number, proof, _text(frame[_JOIN.size :]))
        case kind:
            return _decode_heartbeat(kind, frame)


def decode_relay(frame: bytes) -> RelayFrame:
    """Return what a relay said. Raises `ProtocolError` and nothing else, whatever the bytes."""
    kind, size = type_of(frame), len(frame)
    match kind:
        case FrameType.RECV if size <= MAX_FRAME_BYTES:
            return Recv(*_route(frame), frame[HEADER_BYTES:])
        case FrameType.CHALLENGE if size == 1 + NONCE_BYTES:
            return Challenge(frame[1:])
        case FrameType.WELCOME if size == _WELCOME.size:
            _, payload, queue, rate, heartbeat = _WELCOME.unpack(frame)
            if heartbeat == 0:
                raise ProtocolError("a heartbeat of 0")
            return Welcome(payload, queue, rate, heartbeat / 1000)
        case FrameType.PEER_GONE | FrameType.NACK if size == _NOTICE.size:
            return _decode_notice(frame)
        case FrameType.LIMIT if size == _LIMIT.size:
            _, rate, paused_for = _LIMIT.unpack(frame)
            return Limit(rate, paused_for / 1000)
        case FrameType.DRAINING if size == _DRAINING.size:
            return Draining(_DRAINING.unpack(frame)[1] / 1000)
        case FrameType.CLOSED if _CLOSED.size <= size <= _CLOSED.size + MAX_TEXT_BYTES:
            # The text may have been cut within a character.
            return Closed(_CLOSED.unpack_from(frame)[1], frame[_CLOSED.size :].decode(errors="replace"))
        case _:
            return _decode_heartbeat(kind, frame)


def _routed(
    kind: FrameType, peer: PeerKey, payload: bytes | memoryview, urgency: Urgency, *, datagram: bool
) -> bytes:
    return b"".join((bytes((kind, urgency | _DATAGRAM if datagram else urgency)), peer, payload))


def _route(frame: bytes) -> tuple[Urgency, bool, PeerKey]:
    if len(frame) < HEADER_BYTES:
        raise ProtocolError("a frame ends within its header")
    try:
        urgency = _URGENCIES[frame[1] & ~_DATAGRAM]
    except IndexError:
        raise ProtocolError(f"an unknown class {frame[1]:#x}") from None
    return urgency, frame[1] >= _DATAGRAM, PeerKey(frame[2:HEADER_BYTES])


def _decode_heartbeat(kind: int, frame: bytes) -> Ping | Pong:
    if len(frame) == _HEARTBEAT.size:
        if kind == FrameType.PING:
            return Ping(_HEARTBEAT.unpack(frame)[1])
        if kind == FrameType.PONG:
            return Pong(_HEARTBEAT.unpack(frame)[1])
    raise ProtocolError(f"a frame of type {kind:#04x} and {len(frame)} bytes")


def _decode_notice(frame: bytes) -> PeerGone | Nack:
    kind, peer, reason, frames = _NOTICE.unpack(frame)
    try:
        if kind == FrameType.NACK:
            return Nack(PeerKey(peer), NackReason(reason), frames)
        return PeerGone(PeerKey(peer), GoneReason(reason), frames)
    except ValueError as error:
        raise ProtocolError(str(error)) from error


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ProtocolError("a text that is not UTF-8") from error


def _milliseconds(seconds: float) -> int:
    return min(max(round(seconds * 1000), 0), _MAX_MS)
