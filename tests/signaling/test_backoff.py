"""The delays between attempts."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.signaling.backoff import Backoff


class HighestRandom(Random):
    """Always draws the upper end, so that a test sees the bound."""

    def uniform(self, a: float, b: float) -> float:
        return max(a, b)


def test_the_bound_doubles_up_to_the_maximum() -> None:
    backoff = Backoff(HighestRandom(), base=0.25, maximum=3.0)
    assert [backoff.next_delay(0.0) for _ in range(6)] == [0.25, 0.5, 1.0, 2.0, 3.0, 3.0]


@given(st.integers(), st.floats(0, 100), st.integers(1, 20))
def test_a_delay_is_never_shorter_than_asked_nor_longer_than_that_and_the_maximum(
    seed: int, at_least: float, failures: int
) -> None:
    backoff = Backoff(Random(seed), base=0.25, maximum=3.0)
    for _ in range(failures):
        assert at_least <= backoff.next_delay(0.0, at_least=at_least) <= at_least + 3.0


def test_a_connection_that_lasted_resets_the_bound_and_one_that_flapped_does_not() -> None:
    backoff = Backoff(HighestRandom(), base=0.25, maximum=3.0)
    backoff.next_delay(0.0)
    backoff.connected(10.0)
    assert backoff.next_delay(12.9) == 0.5
    backoff.connected(20.0)
    assert [backoff.next_delay(now) for now in (23.0, 24.0, 25.0)] == [0.25, 0.5, 1.0]


def test_the_same_seed_gives_the_same_delays() -> None:
    first, second = (Backoff(Random(7), base=0.25, maximum=15.0) for _ in range(2))
    assert [first.next_delay(0.0) for _ in range(5)] == [second.next_delay(0.0) for _ in range(5)]
