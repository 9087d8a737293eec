"""Whether the path still lives when there is nothing to send, and which packets it carries (RFC 9260 section 8.3).

The information in a HEARTBEAT is ours alone; the remote end sends it back as it is.

    +-------------------------------+
    |             size              |  of the packet that it probes (RFC 8899), or zero
    |             nonce             |
    +-------------------------------+
"""

from __future__ import annotations

from math import inf
from random import Random
from struct import Struct
from typing import NamedTuple

from . import parameters
from .chunks import CHUNK_HEADER, ChunkType, encode_chunk
from .packet import HEADER_BYTES
from .parameters import Parameter, ParameterType

_INFO = Struct("!LL")


class Beat(NamedTuple):
    """What comes back with a HEARTBEAT ACK."""

    size: int
    nonce: int


def encode_heartbeat(beat: Beat) -> bytes:
    """Return a HEARTBEAT, followed by a PAD chunk (RFC 4820) that gives the packet its size."""
    info = Parameter(ParameterType.HEARTBEAT_INFO, _INFO.pack(*beat))
    chunk = encode_chunk(ChunkType.HEARTBEAT, info.encode())
    padding = beat.size - HEADER_BYTES - len(chunk) - CHUNK_HEADER.size
    return chunk if padding < 0 else chunk + encode_chunk(ChunkType.PAD, bytes(padding))


def decode_heartbeat_ack(value: bytes) -> Beat | None:
    """Return what came back, or None when it is not ours. Raises `ProtocolError`."""
    for kind, content in parameters.decode(value):
        if kind == ParameterType.HEARTBEAT_INFO and len(content) == _INFO.size:
            return Beat(*_INFO.unpack(content))
    return None


class Heartbeat:
    """Asks a silent remote end whether it is there."""

    def __init__(self, interval: float, random: Random, now: float) -> None:
        self.timeouts = 0
        """How many in a row were not answered."""
        self._interval = interval or inf
        self._random = random
        self._nonce: int | None = None
        self._sent_at = now
        self._due_at = now + self._interval

    def heard(self, now: float) -> None:
        """Note that something arrived: there is no need to ask."""
        self._nonce = None
        self.timeouts = 0
        self._due_at = now + self._interval

    def deadline(self) -> float:
        """When `handle_timeout` is due."""
        return self._due_at

    def handle_timeout(self, timeout: float, now: float) -> bytes:
        """Return the HEARTBEAT that is due, or nothing. `timeout` is how long to wait for the answer."""
        if now < self._due_at:
            return b""
        if self._nonce is not None:
            self.timeouts += 1
        self._nonce = self._random.getrandbits(32)
        self._sent_at, self._due_at = now, now + timeout * (1 << min(self.timeouts, 6))
        return encode_heartbeat(Beat(0, self._nonce))

    def answered(self, beat: Beat, now: float) -> float | None:
        """Take a HEARTBEAT ACK. Returns the round trip, when it answers the last HEARTBEAT."""
        return now - self._sent_at if beat.nonce == self._nonce else None
