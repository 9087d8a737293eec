"""The wire format: what is encoded decodes to the same, and any bytes decode or raise the protocol error."""

import hashlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.relay.codes import GoneReason, NackReason
from rtcmesh.relay.errors import ProtocolError
from rtcmesh.relay.frames import (
    HEADER_BYTES,
    MAX_TEXT_BYTES,
    Challenge,
    Closed,
    Draining,
    FrameType,
    Join,
    Limit,
    Nack,
    PeerGone,
    PeerKey,
    Ping,
    Pong,
    Recv,
    Send,
    Urgency,
    Welcome,
    decode_client,
    decode_relay,
    encode_challenge,
    encode_closed,
    encode_draining,
    encode_join,
    encode_limit,
    encode_nack,
    encode_peer_gone,
    encode_ping,
    encode_pong,
    encode_recv,
    encode_send,
    encode_welcome,
    key_of,
    peer_id_of,
)
from rtcmesh.signaling.identity import parse_peer_id
from support.members import Member

keys = st.binary(min_size=32, max_size=32).map(PeerKey)
numbers = st.integers(0, 2**64 - 1)
urgencies = st.sampled_from(Urgency)
counts = st.integers(0, 2**32 - 1)


@given(keys, urgencies, st.booleans(), st.binary(max_size=100))
def test_what_is_sent_and_received_decodes_to_the_same(
    key: PeerKey, urgency: Urgency, datagram: bool, payload: bytes
) -> None:
    sent = decode_client(encode_send(key, payload, urgency, datagram=datagram))
    assert sent == Send(urgency, datagram, key, payload)
    received = decode_relay(encode_recv(key, payload, urgency, datagram=datagram))
    assert received == Recv(urgency, datagram, key, payload)


@given(numbers, st.binary(min_size=64, max_size=64), st.text(min_size=1, max_size=200))
def test_a_join_decodes_to_the_same(number: int, proof: bytes, ticket: str) -> None:
    join = Join(number, proof, ticket)
    assert decode_client(encode_join(join)) == join


@given(keys, st.sampled_from(GoneReason), st.sampled_from(NackReason), counts, numbers)
def test_what_a_relay_tells_decodes_to_the_same(
    key: PeerKey, gone: GoneReason, nack: NackReason, count: int, number: int
) -> None:
    assert decode_relay(encode_peer_gone(key, gone, count)) == PeerGone(key, gone, count)
    assert decode_relay(encode_nack(key, nack, count)) == Nack(key, nack, count)
    welcome = Welcome(count, number, number, 1 + count // 1001)
    assert decode_relay(encode_welcome(welcome)) == welcome
    assert decode_relay(encode_limit(number, 1.5)) == Limit(number, 1.5)
    assert decode_relay(encode_draining(0.25)) == Draining(0.25)
    assert decode_relay(encode_challenge(bytes(32))) == Challenge(bytes(32))
    for decode in (decode_client, decode_relay):
        assert decode(encode_ping(number)) == Ping(number)
        assert decode(encode_pong(number)) == Pong(number)


@given(st.text(max_size=200))
def test_last_words_of_any_length_fit(text: str) -> None:
    closed = decode_relay(encode_closed(4000, text))
    assert isinstance(closed, Closed)
    if len(text.encode()) <= MAX_TEXT_BYTES:
        assert closed == Closed(4000, text)


@given(st.sampled_from([0, *FrameType]), st.binary(max_size=120))
def test_any_bytes_decode_or_raise_the_protocol_error(kind: int, rest: bytes) -> None:
    for frame in (rest, bytes([kind]) + rest):
        for decode in (decode_client, decode_relay):
            with suppress(ProtocolError):
                decode(frame)


@given(st.integers(0, 255).filter(lambda bits: bits & 0x7F > Urgency.BULK))
def test_an_unknown_class_is_refused(bits: int) -> None:
    frame = bytes([FrameType.SEND, bits]) + bytes(HEADER_BYTES)
    with pytest.raises(ProtocolError, match="class"):
        decode_client(frame)


def test_the_payload_of_a_frame_to_forward_is_not_copied() -> None:
    frame = encode_send(PeerKey(bytes(32)), b"payload", Urgency.BULK)
    send = decode_client(frame)
    assert isinstance(send, Send)
    assert isinstance(send.payload, memoryview)
    assert send.payload.obj is frame


def test_a_peer_id_travels_as_its_key() -> None:
    for number in range(20):
        peer_id = Member(number=number).peer_id
        assert peer_id_of(key_of(peer_id)) == peer_id
        key = PeerKey(hashlib.sha256(str(number).encode()).digest())
        assert key_of(parse_peer_id(peer_id_of(key))) == key
