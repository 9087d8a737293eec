"""The control chunks (RFC 9260 section 3.3). DATA and I-DATA, which are the hot path, are drawn in `data_chunks`.

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +---------------+---------------+-------------------------------+
    |     type      |     flags     |   length, without padding     |
    +---------------+---------------+-------------------------------+
    |              value, padded to a multiple of 4                 |
    +---------------------------------------------------------------+

INIT and INIT ACK (sections 3.3.2, 3.3.3)       SACK (section 3.3.4)

    +-------------------------------+           +-------------------------------+
    |         initiate tag          |           |        cumulative TSN         |
    |  advertised receive window    |           |  advertised receive window    |
    | outbound str. | inbound str.  |           | gap blocks    | duplicates    |
    |          initial TSN          |           | block 1 start | block 1 end   | ... relative to the
    |    optional parameters ...    |           | duplicate TSN 1               | ... cumulative TSN
    +-------------------------------+           +-------------------------------+

FORWARD TSN (RFC 3758 section 3.2)              I-FORWARD-TSN (RFC 8260 section 2.3.1)

    +-------------------------------+           +-------------------------------+
    |      new cumulative TSN       |           |      new cumulative TSN       |
    |   stream 1    |    SSN 1      | ...       |   stream 1    | reserved    |U|
    +-------------------------------+           |            MID 1              | ...
                                                +-------------------------------+

HEARTBEAT and HEARTBEAT ACK carry one parameter; ABORT and ERROR carry causes; COOKIE ECHO carries the cookie; SHUTDOWN
a cumulative TSN; RE-CONFIG (RFC 6525 section 3.1) one or two parameters; PAD (RFC 4820) nothing of interest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum
from struct import Struct
from typing import NamedTuple

from . import parameters
from .errors import ProtocolError
from .parameters import Cause, Parameter
from .serial import MASK_32

CHUNK_HEADER = Struct("!BBH")
_INIT = Struct("!LLHHL")
_SACK = Struct("!LLHH")
_TSN = Struct("!L")
_SKIP = Struct("!HH")
_I_SKIP = Struct("!HHL")

SACK_HEADER_BYTES = 16

FLAG_T = 1
"""ABORT and SHUTDOWN COMPLETE: the sender has no tag of its own to expect and reflects the receiver's."""


class ChunkType(IntEnum):
    """The chunks that data channels need."""

    DATA = 0
    INIT = 1
    INIT_ACK = 2
    SACK = 3
    HEARTBEAT = 4
    HEARTBEAT_ACK = 5
    ABORT = 6
    SHUTDOWN = 7
    SHUTDOWN_ACK = 8
    ERROR = 9
    COOKIE_ECHO = 10
    COOKIE_ACK = 11
    SHUTDOWN_COMPLETE = 14
    I_DATA = 64
    RE_CONFIG = 130
    PAD = 132
    FORWARD_TSN = 192
    I_FORWARD_TSN = 194


class Init(NamedTuple):
    """INIT and INIT ACK."""

    initiate_tag: int
    receive_window: int
    outbound_streams: int
    inbound_streams: int
    initial_tsn: int
    parameters: Sequence[Parameter] = ()


class Sack(NamedTuple):
    """What has arrived; numbers as on the wire."""

    cumulative_tsn: int
    receive_window: int
    blocks: tuple[int, ...]
    """Starts and ends by turns, relative to the cumulative TSN."""
    duplicates: tuple[int, ...]


class Skip(NamedTuple):
    """The last message of a stream that is skipped; its number is an SSN or a MID."""

    stream_id: int
    number: int
    unordered: bool = False


class ForwardTsn(NamedTuple):
    """FORWARD TSN and I-FORWARD-TSN: the sender gives up on everything before."""

    cumulative_tsn: int
    skips: Sequence[Skip]


def encode_chunk(kind: ChunkType, value: bytes = b"", flags: int = 0) -> bytes:
    """Return a chunk with its padding."""
    return CHUNK_HEADER.pack(kind, flags, 4 + len(value)) + value + bytes(-len(value) % 4)


def encode_init(kind: ChunkType, init: Init) -> bytes:
    """Return an INIT or INIT ACK."""
    return encode_chunk(kind, _INIT.pack(*init[:5]) + parameters.encode(init.parameters))


def decode_init(value: bytes) -> Init:
    """Return an INIT or INIT ACK. Raises `ProtocolError`."""
    if len(value) < _INIT.size:
        raise ProtocolError(Cause.PROTOCOL_VIOLATION, f"an INIT of {len(value)} bytes")
    tag, window, outbound_streams, inbound_streams, initial_tsn = _INIT.unpack_from(value)
    more = parameters.decode(value[_INIT.size :])
    init = Init(tag, window, outbound_streams, inbound_streams, initial_tsn, more)
    # RFC 9260 sections 3.3.2, 3.3.3: neither tag nor numbers of streams may be zero.
    if not (init.initiate_tag and init.outbound_streams and init.inbound_streams):
        raise ProtocolError(Cause.INVALID_PARAMETER, "an INIT without tag or streams")
    return init


def encode_sack(
    cumulative_tsn: int, receive_window: int, ranges: Sequence[Sequence[int]], duplicates: Sequence[int]
) -> bytes:
    """Return a SACK; `ranges` are first and last TSN, unbounded, of what arrived beyond the cumulative TSN."""
    blocks = [tsn - cumulative_tsn for block in ranges for tsn in block]
    return b"".join(
        (
            CHUNK_HEADER.pack(ChunkType.SACK, 0, SACK_HEADER_BYTES + 2 * len(blocks) + 4 * len(duplicates)),
            _SACK.pack(cumulative_tsn & MASK_32, receive_window, len(ranges), len(duplicates)),
            Struct(f"!{len(blocks)}H{len(duplicates)}L").pack(
                *blocks, *[tsn & MASK_32 for tsn in duplicates]
            ),
        )
    )


def decode_sack(value: bytes) -> Sack:
    """Return a SACK. Raises `ProtocolError`."""
    if len(value) < 12:
        raise ProtocolError(Cause.PROTOCOL_VIOLATION, f"a SACK of {len(value)} bytes")
    cumulative_tsn, receive_window, block_count, duplicate_count = _SACK.unpack_from(value)
    if not block_count and not duplicate_count:
        return Sack(cumulative_tsn, receive_window, (), ())
    if len(value) < 12 + 4 * (block_count + duplicate_count):
        raise ProtocolError(Cause.PROTOCOL_VIOLATION, "a SACK that promises more than it carries")
    numbers = Struct(f"!{2 * block_count}H{duplicate_count}L").unpack_from(value, 12)
    return Sack(cumulative_tsn, receive_window, numbers[: 2 * block_count], numbers[2 * block_count :])


def encode_tsn(kind: ChunkType, tsn: int) -> bytes:
    """Return a SHUTDOWN."""
    return encode_chunk(kind, _TSN.pack(tsn & MASK_32))


def decode_tsn(value: bytes) -> int:
    """Return the TSN that a SHUTDOWN begins with. Raises `ProtocolError`."""
    if len(value) < 4:
        raise ProtocolError(Cause.PROTOCOL_VIOLATION, f"a TSN of {len(value)} bytes")
    tsn: int = _TSN.unpack_from(value)[0]
    return tsn


def encode_causes(kind: ChunkType, causes: Iterable[Parameter], flags: int = 0) -> bytes:
    """Return an ABORT or ERROR."""
    return encode_chunk(kind, parameters.encode(causes), flags)


def encode_forward_tsn(forward: ForwardTsn) -> bytes:
    """Return a FORWARD TSN; messages without order are not listed in it."""
    skips = b"".join(
        _SKIP.pack(skip.stream_id, skip.number & 0xFFFF) for skip in forward.skips if not skip.unordered
    )
    return encode_chunk(ChunkType.FORWARD_TSN, _TSN.pack(forward.cumulative_tsn & MASK_32) + skips)


def decode_forward_tsn(value: bytes) -> ForwardTsn:
    """Return a FORWARD TSN. Raises `ProtocolError`."""
    tsn = decode_tsn(value)
    if (len(value) - 4) % _SKIP.size:
        raise ProtocolError(Cause.PROTOCOL_VIOLATION, f"a FORWARD TSN of {len(value)} bytes")
    return ForwardTsn(tsn, [Skip(stream_id, number) for stream_id, number in _SKIP.iter_unpack(value[4:])])


def encode_i_forward_tsn(forward: ForwardTsn) -> bytes:
    """Return an I-FORWARD-TSN."""
    skips = b"".join(
        _I_SKIP.pack(skip.stream_id, skip.unordered, skip.number & MASK_32) for skip in forward.skips
    )
    return encode_chunk(ChunkType.I_FORWARD_TSN, _TSN.pack(forward.cumulative_tsn & MASK_32) + skips)


def decode_i_forward_tsn(value: bytes) -> ForwardTsn:
    """Return an I-FORWARD-TSN. Raises `ProtocolError`."""
    tsn = decode_tsn(value)
    if (len(value) - 4) % _I_SKIP.size:
        raise ProtocolError(Cause.PROTOCOL_VIOLATION, f"an I-FORWARD-TSN of {len(value)} bytes")
    skips = [
        Skip(stream_id, number, bool(flags & 1))
        for stream_id, flags, number in _I_SKIP.iter_unpack(value[4:])
    ]
    return ForwardTsn(tsn, skips)
