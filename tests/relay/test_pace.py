"""The pace of a connection: never more than the rate and the burst, never less than the rate."""

from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.relay.frames import Limit
from rtcmesh.relay.pace import Pace

RATE, BURST = 1000, 5000


@given(st.lists(st.tuples(st.integers(1, 3000), st.floats(0, 10)), min_size=1, max_size=50))
def test_what_passes_keeps_to_the_rate_and_each_limit_is_announced_and_lifted(
    frames: list[tuple[int, float]],
) -> None:
    pace = Pace(bytes_per_second=RATE, burst_bytes=BURST, now=0.0)
    now, passed = 0.0, 0
    announced: list[Limit] = []
    for size, quiet in frames:
        passed += size
        now += pace.take(size, now)
        assert passed <= BURST + RATE * now + 1e-6
        announced += pace.limits()
        deadline = pace.deadline()
        now += quiet
        if deadline is not None and deadline <= now:
            pace.handle_timeout(now)
            announced += pace.limits()
    if (deadline := pace.deadline()) is not None:
        pace.handle_timeout(deadline)
        announced += pace.limits()
    assert pace.deadline() is None
    assert [limit.bytes_per_second for limit in announced] == [RATE, 0] * (len(announced) // 2)


def test_a_sender_that_keeps_to_the_rate_is_never_paused() -> None:
    pace = Pace(bytes_per_second=RATE, burst_bytes=BURST, now=0.0)
    assert [pace.take(100, step * 0.1) for step in range(1000)] == [0.0] * 1000
    assert pace.limits() == []


def test_too_much_at_once_costs_a_pause_of_just_that_much() -> None:
    pace = Pace(bytes_per_second=RATE, burst_bytes=BURST, now=0.0)
    assert pace.take(BURST, 0.0) == 0.0
    assert pace.take(500, 0.0) == 0.5
    assert pace.limits() == [Limit(RATE, 0.5)]
    assert pace.limits() == []
    pace.handle_timeout(0.6)
    assert pace.limits() == []
