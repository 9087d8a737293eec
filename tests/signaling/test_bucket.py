"""Token buckets: never more than the rate and the burst, never less than the rate, and no memory of the quiet."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.signaling.limits.bucket import Bucket, Buckets, Rate

RATE = Rate(per_second=10, burst=50)


@given(st.lists(st.tuples(st.floats(0.1, 40), st.floats(0, 10)), min_size=1, max_size=50))
def test_who_waits_as_told_keeps_to_the_rate(takes: list[tuple[float, float]]) -> None:
    bucket, now, taken = Bucket(RATE, now=0.0), 0.0, 0.0
    for cost, quiet in takes:
        expected = bucket.wait_for(cost, now)
        assert bucket.take(cost, now) == pytest.approx(expected)
        now += expected
        taken += cost
        assert taken <= RATE.burst + RATE.per_second * now + 1e-6
        now += quiet


@given(st.lists(st.floats(0.1, 40), min_size=1, max_size=50))
def test_a_bucket_says_when_it_will_hold_how_much(costs: list[float]) -> None:
    bucket = Bucket(RATE, now=0.0)
    for cost in costs:
        bucket.take(cost, 0.0)
    full_at = bucket.holds_at(RATE.burst)
    assert not bucket.is_full(full_at - 0.001)
    assert bucket.is_full(full_at + 0.001)
    assert full_at == pytest.approx(sum(costs) / RATE.per_second)


def test_who_keeps_to_the_rate_never_waits() -> None:
    bucket = Bucket(RATE, now=0.0)
    assert [bucket.take(1, step * 0.1) for step in range(1000)] == [0.0] * 1000


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0.1, 20), st.floats(0, 3)), max_size=60))
def test_buckets_of_many_keys_are_as_if_each_had_been_kept(
    takes: list[tuple[int, float, float]],
) -> None:
    buckets: Buckets[int] = Buckets(RATE)
    kept = {key: Bucket(RATE, now=0.0) for key in range(6)}
    now = 0.0
    for key, cost, quiet in takes:
        assert buckets.take(key, cost, now) == pytest.approx(kept[key].take(cost, now))
        now += quiet


def test_keys_that_were_quiet_are_forgotten_and_their_number_is_bounded() -> None:
    buckets: Buckets[int] = Buckets(RATE, max_keys=100)
    for key in range(1000):
        buckets.take(key, RATE.burst, 0.0)
    assert len(buckets) == 100
    for key in range(1000, 1100):
        buckets.take(key, 1, 1000.0)
    assert len(buckets) == 100
    for key in range(1100, 1110):
        buckets.take(key, 1, 2000.0)
    assert len(buckets) <= 91


@pytest.mark.parametrize(("per_second", "burst"), [(0, 1), (1, 0), (-1, 1), (float("inf"), 1)])
def test_a_rate_that_is_none_is_refused(per_second: float, burst: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        Rate(per_second=per_second, burst=burst)
