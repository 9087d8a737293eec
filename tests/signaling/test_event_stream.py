"""The wire of the HTTP fallback: events survive any cut into pieces, POSTs count once, and anything else is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.signaling.errors import ProtocolError
from rtcmesh.signaling.event_stream import Event, EventStream, encode_event, padding
from rtcmesh.signaling.post import Close, ConnectionNames, Post, PostHead, Turn, Turns
from rtcmesh.signaling.transport_choice import TransportChoice

LINES = st.binary(max_size=50).map(lambda data: data.replace(b"\n", b"").replace(b"\r", b""))
EVENTS = st.lists(st.builds(Event, st.sampled_from(["message", "open", "close"]), LINES), max_size=10)


@given(EVENTS, st.lists(st.integers(1, 30), min_size=1, max_size=50))
def test_events_come_out_as_they_went_in_however_they_are_cut(events: list[Event], sizes: list[int]) -> None:
    stream = padding() + b"".join(encode_event(event.data, event.name) for event in events)
    reader = EventStream(max_bytes=10_000)
    received: list[Event] = []
    while stream:
        size = sizes[len(stream) % len(sizes)]
        received += reader.feed(stream[:size])
        stream = stream[size:]
    assert received == events


def test_what_other_servers_may_write_is_understood() -> None:
    reader = EventStream(max_bytes=100)
    text = b"id: 7\r\nevent: x\r\ndata: a\r\ndata:b\r\nretry: 5\r\n\r\n: comment\n\nevent: lost\n\ndata\n\n"
    assert reader.feed(text) == [Event("x", b"a\nb"), Event("message", b"")]


@pytest.mark.parametrize("text", [b"data: " + b"x" * 200, b"x" * 200, b"data: 12345678901234567890\n" * 6])
def test_an_event_without_end_is_refused(text: bytes) -> None:
    reader = EventStream(max_bytes=100)
    pieces = [text[at : at + 7] for at in range(0, len(text), 7)]
    with pytest.raises(ProtocolError):
        list(map(reader.feed, pieces))


@pytest.mark.parametrize("frame", [b"a\nb", b"a\rb"])
def test_a_frame_of_two_lines_is_not_sent(frame: bytes) -> None:
    with pytest.raises(ProtocolError):
        encode_event(frame)


@given(st.binary(max_size=200))
def test_any_bytes_are_events_or_nothing(data: bytes) -> None:
    for event in EventStream(max_bytes=1000).feed(data):
        assert b"\r" not in event.data.replace(b"\r\n", b"") or b"\r" in data


@given(
    st.text(max_size=20),
    st.integers(1, 2**53 - 1),
    st.none() | st.builds(Close, code=st.integers(1000, 4999), reason=st.text(max_size=20)),
    st.lists(LINES.filter(bool), max_size=5).map(tuple),
)
def test_a_post_comes_back_as_it_was(
    connection: str, sequence: int, close: Close | None, frames: tuple[bytes, ...]
) -> None:
    post = Post(PostHead(connection=connection, sequence=sequence, close=close), frames)
    assert Post.decode(post.encode()) == post


@given(st.binary(max_size=100))
def test_any_other_body_is_a_protocol_error(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        Post.decode(body)


@given(st.lists(st.integers(0, 3), max_size=40))
def test_each_post_is_taken_once_and_in_order(repeats: list[int]) -> None:
    turns, taken = Turns(), 0
    for sequence, repeated in enumerate(repeats, start=1):
        assert turns.take(sequence) is Turn.NEXT
        taken += 1
        for _ in range(repeated):
            assert turns.take(sequence) is Turn.REPEATED
        assert turns.take(sequence + 2) is Turn.OUT_OF_TURN
        if sequence > 1:
            assert turns.take(sequence - 1) is Turn.OUT_OF_TURN
    assert taken == len(repeats)


def test_a_name_says_its_server_to_those_who_share_the_secret_and_nobody_else() -> None:
    names = ConnectionNames(b"secret", "http://10.0.0.1:8080")
    name = names.name(b"k" * 32)
    assert ConnectionNames(b"secret", "http://10.0.0.2:8080").server_of(name) == "http://10.0.0.1:8080"
    assert ConnectionNames(b"other", "http://10.0.0.2:8080").server_of(name) is None
    assert names.server_of(name.replace("10.0.0.1", "169.254.169.254")) is None
    assert names.server_of("") is names.server_of("a.b.c") is names.server_of("é.é.é") is None


def test_websockets_are_tried_first_and_again_after_a_while() -> None:
    choice = TransportChoice(retry_after=100.0)
    assert choice.tries_websocket(0.0)
    assert choice.retry_at() is None
    choice.websocket_was_blocked(5.0)
    assert not choice.tries_websocket(104.9)
    assert choice.retry_at() == 105.0
    assert choice.tries_websocket(105.0)
    choice.websocket_worked()
    assert choice.tries_websocket(6.0)
