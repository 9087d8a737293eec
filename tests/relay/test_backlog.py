"""The backlog of a client: most urgent first, in order, bounded, and paced."""

from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.relay.backlog import LOW_WATER_BYTES, Backlog
from rtcmesh.relay.frames import Limit, Urgency

frames = st.tuples(st.sampled_from(Urgency), st.integers(0, 20_000))


@given(st.lists(frames | st.none(), max_size=60), st.integers(20_000, 100_000))
def test_the_most_urgent_leaves_first_and_each_urgency_in_order(
    steps: list[tuple[Urgency, int] | None], bound: int
) -> None:
    backlog = Backlog(bound)
    model: list[tuple[Urgency, int, bytes]] = []
    for number, step in enumerate(steps):
        if step is None:
            model.sort()
            expected = model.pop(0)[2] if model else None
            assert backlog.take(0.0) == expected
        else:
            urgency, size = step
            frame = number.to_bytes(2) + bytes(size)
            fits = sum(len(frame) for _, _, frame in model) + len(frame) <= bound
            assert backlog.put(frame, urgency) is fits
            if fits:
                model.append((urgency, number, frame))
        assert backlog.queued_bytes == sum(len(frame) for _, _, frame in model)


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=40), st.integers(1000, 100_000))
def test_a_limited_backlog_keeps_the_pace(sizes: list[int], rate: int) -> None:
    backlog = Backlog(1_000_000)
    for size in sizes:
        backlog.put(bytes(size), Urgency.BULK)
    backlog.limit(Limit(rate, 3.0), 0.0)
    assert backlog.is_limited
    now, sent = 0.0, 0
    while (deadline := backlog.deadline()) is not None:
        assert backlog.take(deadline - 1e-6) is None
        now = deadline
        frame = backlog.take(now)
        assert frame is not None
        assert sent <= rate * (now - 3.0) + 1e-3
        sent += len(frame)
    assert sent == sum(sizes)
    backlog.limit(Limit(0, 0.0), now)
    assert not backlog.is_limited


def test_it_tells_once_that_it_has_fallen_to_the_low_water_mark() -> None:
    backlog = Backlog(1_000_000)
    backlog.put(bytes(LOW_WATER_BYTES), Urgency.BULK)
    assert not backlog.became_writable()
    backlog.put(b"x", Urgency.BULK)
    assert not backlog.became_writable()
    backlog.take(0.0)
    assert backlog.became_writable()
    assert not backlog.became_writable()


def test_a_new_connection_inherits_nothing() -> None:
    backlog = Backlog(1_000_000)
    backlog.put(bytes(100_000), Urgency.BULK)
    backlog.limit(Limit(1, 1000.0), 0.0)
    backlog.clear()
    assert backlog.queued_bytes == 0
    assert not backlog.is_limited
    assert not backlog.became_writable()
    assert backlog.deadline() is None
    backlog.put(b"x", Urgency.BULK)
    assert backlog.take(0.0) == b"x"
