"""The wire format: what is encoded is decoded, and any bytes decode or raise the protocol error."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.peer.sctp import chunks, cookie, extensions, parameters
from rtcmesh.peer.sctp.chunks import ChunkType, ForwardTsn, Init, Sack, Skip
from rtcmesh.peer.sctp.cookie import Cookie
from rtcmesh.peer.sctp.errors import ProtocolError
from rtcmesh.peer.sctp.heartbeat import Beat, decode_heartbeat_ack, encode_heartbeat
from rtcmesh.peer.sctp.packet import HEADER_BYTES, Envelope, tag_of
from rtcmesh.peer.sctp.parameters import Parameter
from rtcmesh.peer.sctp.serial import unwrap

u16, u32 = st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1)
nonzero16, nonzero32 = st.integers(1, 2**16 - 1), st.integers(1, 2**32 - 1)
some_parameters = st.lists(st.builds(Parameter, u16, st.binary(max_size=20)), max_size=4)

DECODERS: list[Callable[[bytes], object]] = [
    chunks.decode_init,
    chunks.decode_sack,
    chunks.decode_tsn,
    chunks.decode_forward_tsn,
    chunks.decode_i_forward_tsn,
    parameters.decode,
    decode_heartbeat_ack,
]


def value_of(chunk: bytes) -> bytes:
    _, _, length = chunks.CHUNK_HEADER.unpack_from(chunk)
    assert len(chunk) == (length + 3) & ~3
    return chunk[4:length]


@pytest.mark.parametrize("decode", DECODERS)
@given(value=st.binary(max_size=80))
def test_any_bytes_decode_or_raise_the_protocol_error(
    decode: Callable[[bytes], object], value: bytes
) -> None:
    try:
        decode(value)
    except ProtocolError as error:
        assert error.cause  # noqa: PT017


@given(st.builds(Init, nonzero32, u32, nonzero16, nonzero16, u32, some_parameters))
def test_init(init: Init) -> None:
    assert chunks.decode_init(value_of(chunks.encode_init(ChunkType.INIT, init))) == init


@given(u32, u32, st.lists(st.integers(2, 30_000), unique=True).map(sorted), st.lists(u32, max_size=5))
def test_sack(tsn: int, window: int, numbers: list[int], duplicates: list[int]) -> None:
    numbers = numbers[: len(numbers) // 2 * 2]
    ranges = [[tsn + first, tsn + last] for first, last in zip(numbers[::2], numbers[1::2], strict=True)]
    sack = chunks.decode_sack(value_of(chunks.encode_sack(tsn, window, ranges, duplicates)))
    assert sack == Sack(tsn, window, tuple(numbers), tuple(duplicates))


@given(u32, st.lists(st.builds(Skip, u16, u16, st.just(value=False)), max_size=10))
def test_forward_tsn(tsn: int, skips: list[Skip]) -> None:
    forward = ForwardTsn(tsn, skips)
    assert chunks.decode_forward_tsn(value_of(chunks.encode_forward_tsn(forward))) == forward


@given(u32, st.lists(st.builds(Skip, u16, u32, st.booleans()), max_size=10))
def test_i_forward_tsn(tsn: int, skips: list[Skip]) -> None:
    forward = ForwardTsn(tsn, skips)
    assert chunks.decode_i_forward_tsn(value_of(chunks.encode_i_forward_tsn(forward))) == forward


@given(some_parameters)
def test_parameters(some: list[Parameter]) -> None:
    assert parameters.decode(parameters.encode(some)) == some
    assert parameters.describe(some)


@given(st.integers(0, 4096), u32)
def test_heartbeat(size: int, nonce: int) -> None:
    size &= ~3
    encoded = encode_heartbeat(Beat(size, nonce))
    _, _, length = chunks.CHUNK_HEADER.unpack_from(encoded)
    assert decode_heartbeat_ack(encoded[4:length]) == Beat(size, nonce)
    if size >= 64:
        assert HEADER_BYTES + len(encoded) == size


@given(nonzero16, nonzero16, u32, st.binary(max_size=100))
def test_packet(source: int, destination: int, tag: int, body: bytes) -> None:
    envelope = Envelope(source, destination, tag)
    packet = envelope.seal(body)
    assert packet[HEADER_BYTES:] == body
    assert envelope.fits(packet)
    assert tag_of(packet, source, destination) == tag
    assert not envelope.fits(packet + b"\0" if not body else packet[:-1])
    assert not Envelope(source, destination, tag ^ 1).fits(packet)
    assert tag_of(packet, source ^ 1, destination) is None


@given(u32, st.integers(2**31, 2**40))
def test_numbers_unwrap_to_the_nearest(wire: int, near: int) -> None:
    number = unwrap(wire, near)
    assert number % 2**32 == wire
    assert abs(number - near) <= 2**31


cookies = st.builds(
    Cookie, st.floats(0, 1e9), u32, u32, u32, u32, u32, u32, u32, u16, u16, st.integers(0, 15)
)


@given(cookies, st.integers(0, 200))
def test_a_cookie_is_taken_as_it_was_made_and_not_otherwise(made: Cookie, position: int) -> None:
    encoded = made.encode(b"key")
    assert cookie.decode(encoded, b"key") == made
    assert cookie.decode(encoded, b"another key") is None
    damaged = bytearray(encoded)
    damaged[position % len(damaged)] ^= 1
    assert cookie.decode(bytes(damaged), b"key") is None


@given(some_parameters)
def test_extensions_of_anybody(some: list[Parameter]) -> None:
    known, unrecognized = extensions.read(some)
    assert known in extensions.Extensions(15)
    assert all(parameter in some for parameter in unrecognized)


def test_our_own_extensions_are_understood() -> None:
    known, unrecognized = extensions.read(extensions.offer(interleaving=True, zero_checksum=True))
    assert known == extensions.Extensions(31)
    assert not unrecognized
    without, _ = extensions.read(extensions.offer(interleaving=False, zero_checksum=False))
    assert extensions.Extensions.INTERLEAVING not in without
    assert extensions.Extensions.ZERO_CHECKSUM not in without
