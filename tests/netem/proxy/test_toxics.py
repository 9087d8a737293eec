"""What the machine of a TCP proxy does to a stream."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.netem.proxy.toxics import MAX_BUFFERED_BYTES, Shaper, Toxics


def drain(shaper: Shaper, now: float = 0.0) -> list[tuple[float, bytes]]:
    out: list[tuple[float, bytes]] = []
    while (deadline := shaper.deadline()) is not None:
        now = max(now, deadline)
        data = shaper.take(now)
        if data:
            out.append((now, data))
    return out


def test_without_toxics_a_stream_passes_at_once() -> None:
    shaper = Shaper(Toxics())
    shaper.put(b"hello", 1.0)
    assert shaper.take(1.0) == b"hello"
    assert shaper.deadline() is None
    shaper.end(2.0)
    assert (shaper.take(2.0), shaper.is_at_end) == (b"", True)


def test_latency_is_the_same_for_every_byte_and_for_the_end() -> None:
    shaper = Shaper(Toxics(latency=0.5))
    shaper.put(b"one", 0.0)
    shaper.put(b"two", 0.2)
    shaper.end(0.3)
    assert drain(shaper) == [(0.5, b"one"), (0.7, b"two")]
    assert shaper.is_at_end


def test_a_rate_lets_pieces_out_one_after_another() -> None:
    shaper = Shaper(Toxics(rate_bytes_per_second=14_600))
    shaper.put(bytes(4380), 0.0)
    assert [(round(at, 6), len(data)) for at, data in drain(shaper)] == [
        (0.1, 1460),
        (0.2, 1460),
        (0.3, 1460),
    ]


def test_a_stream_is_sliced() -> None:
    shaper = Shaper(Toxics(slice_bytes=2, slice_delay=0.1))
    shaper.put(b"abcde", 1.0)
    assert [(round(at, 6), data) for at, data in drain(shaper)] == [(1.0, b"ab"), (1.1, b"cd"), (1.2, b"e")]


def test_a_limit_ends_the_stream_and_says_so() -> None:
    shaper = Shaper(Toxics(limit_bytes=4))
    shaper.put(b"abc", 0.0)
    assert not shaper.is_exhausted
    shaper.put(b"def", 0.0)
    assert (shaper.is_exhausted, shaper.has_room) == (True, False)
    assert drain(shaper) == [(0.0, b"abcd")]
    assert shaper.is_at_end


@pytest.mark.parametrize(
    "values", [{"latency": -1}, {"latency": math.nan}, {"rate_bytes_per_second": 0}, {"slice_bytes": 0}]
)
def test_what_cannot_be_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Toxics(**values)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


toxics = st.builds(
    Toxics,
    latency=st.floats(0, 2),
    rate_bytes_per_second=st.none() | st.floats(10, 1e6),
    slice_bytes=st.none() | st.integers(1, 50),
    slice_delay=st.floats(0, 1),
)


@given(
    steps=st.lists(st.tuples(st.binary(min_size=1, max_size=200), st.floats(0, 3), st.none() | toxics)),
    first=toxics,
)
def test_whatever_is_done_to_it_a_stream_keeps_its_bytes_and_their_order(
    steps: list[tuple[bytes, float, Toxics | None]], first: Toxics
) -> None:
    shaper, now, sent, received = Shaper(first), 0.0, b"", b""
    for data, pause, changed in steps:
        shaper.put(data, now)
        sent += data
        assert shaper.buffered_bytes == len(sent) - len(received)
        now += pause
        received += shaper.take(now)
        assert sent.startswith(received)
        if changed is not None:
            shaper.toxics = changed
    shaper.end(now)
    received += b"".join(data for _, data in drain(shaper, now))
    assert received == sent
    assert (shaper.is_at_end, shaper.buffered_bytes) == (True, 0)


def test_a_full_shaper_takes_no_more_until_it_is_read() -> None:
    shaper = Shaper(Toxics(latency=1))
    shaper.put(bytes(MAX_BUFFERED_BYTES), 0.0)
    assert not shaper.has_room
    shaper.take(1.0)
    assert shaper.has_room
