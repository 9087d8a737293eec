"""The token bucket: never more than the rate and the burst, never less than the rate."""

from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.relay.bucket import Bucket
from rtcmesh.relay.frames import Limit

RATE, BURST = 1000, 5000


@given(st.lists(st.tuples(st.integers(1, 3000), st.floats(0, 10)), min_size=1, max_size=50))
def test_what_passes_keeps_to_the_rate_and_each_limit_is_announced_and_lifted(
    frames: list[tuple[int, float]],
) -> None:
    bucket = Bucket(bytes_per_second=RATE, burst_bytes=BURST, now=0.0)
    now, passed = 0.0, 0
    announced: list[Limit] = []
    for size, quiet in frames:
        passed += size
        now += bucket.take(size, now)
        assert passed <= BURST + RATE * now + 1e-6
        announced += bucket.limits()
        deadline = bucket.deadline()
        now += quiet
        if deadline is not None and deadline <= now:
            bucket.handle_timeout(now)
            announced += bucket.limits()
    if (deadline := bucket.deadline()) is not None:
        bucket.handle_timeout(deadline)
        announced += bucket.limits()
    assert bucket.deadline() is None
    assert [limit.bytes_per_second for limit in announced] == [RATE, 0] * (len(announced) // 2)


def test_a_sender_that_keeps_to_the_rate_is_never_paused() -> None:
    bucket = Bucket(bytes_per_second=RATE, burst_bytes=BURST, now=0.0)
    assert [bucket.take(100, step * 0.1) for step in range(1000)] == [0.0] * 1000
    assert bucket.limits() == []


def test_too_much_at_once_costs_a_pause_of_just_that_much() -> None:
    bucket = Bucket(bytes_per_second=RATE, burst_bytes=BURST, now=0.0)
    assert bucket.take(BURST, 0.0) == 0.0
    assert bucket.take(500, 0.0) == 0.5
    assert bucket.limits() == [Limit(RATE, 0.5)]
    assert bucket.limits() == []
    bucket.handle_timeout(0.6)
    assert bucket.limits() == []
