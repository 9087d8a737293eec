"""The frames of RFC 6455: any cut, any fragmentation, what wsproto makes of the same bytes, and what is refused."""

from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from wsproto.frame_protocol import CloseReason, Frame, FrameProtocol, ParseFailed
from wsproto.frame_protocol import Opcode as TheirOpcode

from rtcmesh.signaling.codes import CloseCode
from rtcmesh.signaling.websocket_frames import (
    MAX_FRAGMENTS,
    FrameError,
    FrameReader,
    Opcode,
    Received,
    close_frame,
    control_frame,
    read_close,
    text_header,
    unmasked,
)

LIMIT = 70_000
KEY = b"\x01\x80\xff\x10"


def frame(opcode: int, payload: bytes, *, final: bool = True, key: bytes = KEY) -> bytes:
    size = len(payload)
    if size < 126:
        length = bytes((0x80 | size,))
    elif size < 2**16:
        length = bytes((0x80 | 126,)) + size.to_bytes(2)
    else:
        length = bytes((0x80 | 127,)) + size.to_bytes(8)
    return bytes((0x80 * final | opcode,)) + length + key + unmasked(payload, key)


def cut(data: bytes, at: list[int]) -> list[bytes]:
    places = [0, *sorted(place % (len(data) + 1) for place in at), len(data)]
    return [data[begin:end] for begin, end in pairwise(places)]


def read(reader: FrameReader, pieces: list[bytes]) -> list[Received]:
    """Feed piece by piece, taking all there is after each."""
    received: list[Received] = []
    for piece in pieces:
        reader.feed(piece)
        while (message := reader.next()) is not None:
            received.append(message)
    return received


MESSAGES = st.lists(
    st.tuples(st.sampled_from([Opcode.TEXT, Opcode.BINARY]), st.lists(st.binary(max_size=300), min_size=1)),
    max_size=6,
)
CUTS = st.lists(st.integers(0, 10_000), max_size=12)


@given(MESSAGES, CUTS, st.binary(min_size=4, max_size=4), st.booleans())
def test_messages_arrive_whole_and_in_order_however_they_are_cut(
    messages: list[tuple[Opcode, list[bytes]]], at: list[int], key: bytes, pinged: bool
) -> None:
    sent, expected = b"", list[Received]()
    for opcode, parts in messages:
        for index, part in enumerate(parts):
            kind = Opcode.CONTINUATION if index else opcode
            sent += frame(kind, part, final=index == len(parts) - 1, key=key)
            if pinged and index < len(parts) - 1:
                sent += frame(Opcode.PING, b"!", key=key)
                expected.append(Received(Opcode.PING, b"!"))
        expected.append(Received(opcode, b"".join(parts)))
    reader = FrameReader(LIMIT)
    assert read(reader, cut(sent, at)) == expected
    assert reader.held_bytes == 0


@given(st.lists(st.sampled_from([125, 126, 65_535, 65_536]), min_size=1, max_size=3), CUTS)
def test_every_way_to_write_a_length_is_read(sizes: list[int], at: list[int]) -> None:
    payloads = [bytes(size) for size in sizes]
    sent = b"".join(frame(Opcode.TEXT, payload) for payload in payloads)
    assert [message.payload for message in read(FrameReader(LIMIT), cut(sent, at))] == payloads


def _start(first: int, second: int, rest: bytes) -> bytes:
    return bytes((first, second)) + rest


PIECES = st.lists(
    st.builds(
        _start,
        st.sampled_from([0x82, 0x02, 0x00, 0x80, 0x88, 0x89, 0x8A, 0x09, 0xC1, 0x83]),
        st.integers(0, 254) | st.integers(128, 140),
        st.binary(max_size=16),
    )
    | st.builds(frame, st.sampled_from([2, 8, 9, 10]), st.binary(max_size=20)),
    max_size=6,
)


@given(PIECES, CUTS)
@example([b"\x88\x82" + KEY + unmasked(b"\x03\xed", KEY)], [])
def test_any_bytes_are_read_as_wsproto_reads_them_or_refused_as_it_does(
    pieces: list[bytes], at: list[int]
) -> None:
    # The zeros complete a frame that one of the two refuses before it is whole.
    data = b"".join(pieces) + bytes(70_000)
    theirs, their_error = _their_reading(data)
    ours, our_error = list[Received](), False
    try:
        for message in _until_close(cut(data, at)):
            ours.append(message)
    except FrameError:
        our_error = True
    assert ours == theirs[: len(ours)]
    assert our_error == their_error
    assert len(ours) == len(theirs)


def _until_close(pieces: list[bytes]) -> Iterator[Received]:
    """Nothing counts after a close frame."""
    reader = FrameReader(LIMIT)
    for piece in pieces:
        reader.feed(piece)
        while (message := reader.next()) is not None:
            if message.opcode is Opcode.CLOSE:
                read_close(message.payload)
                yield message
                return
            yield message


def _payload(frame: Frame) -> bytes:
    assert not isinstance(frame.payload, tuple)
    return frame.payload.encode() if isinstance(frame.payload, str) else bytes(frame.payload)


def _close_payload(frame: Frame) -> bytes:
    assert isinstance(frame.payload, tuple)
    code, reason = frame.payload
    return b"" if code == CloseReason.NO_STATUS_RCVD else int(code).to_bytes(2) + (reason or "").encode()


def _their_reading(data: bytes) -> tuple[list[Received], bool]:
    protocol = FrameProtocol(client=False, extensions=[])
    protocol.receive_bytes(data)
    found, partial = list[Received](), b""
    kind = Opcode.TEXT
    try:
        for message in protocol.received_frames():
            if message.opcode is TheirOpcode.CLOSE:
                found.append(Received(Opcode.CLOSE, _close_payload(message)))
                break
            payload = _payload(message)
            if message.opcode in (TheirOpcode.PING, TheirOpcode.PONG):
                found.append(Received(Opcode(message.opcode), payload))
                continue
            if message.opcode is not TheirOpcode.CONTINUATION:
                kind = Opcode(message.opcode)
            partial += payload
            if message.message_finished:
                found.append(Received(kind, partial))
                partial = b""
    except ParseFailed as failure:
        # It decodes text, which this leaves to the decoder of its content.
        assume(failure.code is not CloseReason.INVALID_FRAME_PAYLOAD_DATA)
        return found, True
    return found, False


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x81\x05hello", CloseCode.PROTOCOL_ERROR),
        (b"\xc1\x80" + KEY, CloseCode.PROTOCOL_ERROR),
        (b"\x83\x80" + KEY, CloseCode.PROTOCOL_ERROR),
        (b"\x09\x80" + KEY, CloseCode.PROTOCOL_ERROR),
        (b"\x89\xfe\x00\x80" + KEY + bytes(128), CloseCode.PROTOCOL_ERROR),
        (b"\x80\x80" + KEY, CloseCode.PROTOCOL_ERROR),
        (b"\x01\x80" + KEY + b"\x81\x80" + KEY, CloseCode.PROTOCOL_ERROR),
        (b"\x81\xff" + (LIMIT + 1).to_bytes(8), CloseCode.TOO_LARGE),
        (b"\x81\xff" + (2**64 - 1).to_bytes(8), CloseCode.TOO_LARGE),
        (b"\x81\xfe" + (125).to_bytes(2), CloseCode.PROTOCOL_ERROR),
        (b"\x81\xff" + (65_535).to_bytes(8), CloseCode.PROTOCOL_ERROR),
        (frame(1, bytes(LIMIT), final=False) + frame(0, b"x"), CloseCode.TOO_LARGE),
        (frame(1, b"", final=False) + frame(0, b"", final=False) * MAX_FRAGMENTS, CloseCode.TOO_LARGE),
    ],
    ids=[
        "not masked", "extension", "opcode", "control in fragments", "long control", "continuation of nothing",
        "a new message inside another", "over the limit", "absurd length", "long length", "long in 64 bits",
        "over the limit in sum", "confetti",
    ],
)  # fmt: skip
def test_what_is_no_websocket_or_too_much_is_refused_with_its_code(data: bytes, code: CloseCode) -> None:
    with pytest.raises(FrameError) as refused:
        read(FrameReader(LIMIT), [data])
    assert refused.value.code is code


@given(st.binary(max_size=70_000).map(lambda data: data * 3), st.sampled_from([text_header]))
def test_what_is_sent_is_read_by_wsproto(payload: bytes, header: Callable[[int], bytes]) -> None:
    protocol = FrameProtocol(client=True, extensions=[])
    text = payload.hex().encode()
    protocol.receive_bytes(header(len(text)) + text)
    protocol.receive_bytes(control_frame(Opcode.PONG, b"x"))
    protocol.receive_bytes(close_frame(4003, "full"))
    *parts, pong, close = protocol.received_frames()
    assert "".join(str(part.payload) for part in parts).encode() == text
    assert (pong.opcode, pong.payload, close.opcode) == (TheirOpcode.PONG, b"x", TheirOpcode.CLOSE)


@given(st.text(max_size=200), st.sampled_from([1000, 1001, 1009, 4000, 4999]))
def test_a_close_frame_fits_and_is_read_as_it_was_sent_or_cut_between_characters(
    text: str, code: int
) -> None:
    sent = close_frame(code, text)
    assert len(sent) <= 2 + 125
    read_code, reason = read_close(sent[2:])
    assert read_code == code
    assert text.startswith(reason)
    assert reason == text or len(text.encode()) > 123 - 3


@pytest.mark.parametrize(
    "payload", [b"\x03", b"\x03\xed", b"\x03\xee", b"\x03\xec", b"\x00\x00", b"\xff\xff", b"\x03\xe8\xff"]
)
def test_a_close_code_that_may_not_be_sent_is_refused(payload: bytes) -> None:
    with pytest.raises(FrameError):
        read_close(payload)


def test_a_frame_that_comes_byte_by_byte_costs_what_it_has_bytes() -> None:
    reader = FrameReader(LIMIT)
    for byte in frame(Opcode.TEXT, bytes(LIMIT)):
        assert reader.next() is None
        reader.feed(bytes((byte,)))
    assert reader.next() == Received(Opcode.TEXT, bytes(LIMIT))
