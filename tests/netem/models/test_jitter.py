"""Jitter models: distribution and memory."""

import math
from collections.abc import Callable
from random import Random
from statistics import NormalDist, fmean, pstdev

import pytest

from rtcmesh.netem import NetemJitter, WanderingJitter
from rtcmesh.netem.models.jitter import JitterModel, jitter_offset

DRAWS = 50_000


def offsets(jitter: float | JitterModel, gap: float, count: int = DRAWS) -> list[float]:
    machine = jitter_offset(jitter, Random(1))
    assert machine is not None
    return [machine.offset(number * gap) for number in range(count)]


def correlation(values: list[float], lag: int) -> float:
    mean, variance = fmean(values), pstdev(values) ** 2
    return fmean((a - mean) * (b - mean) for a, b in zip(values, values[lag:], strict=False)) / variance


def distance_to(distribution: NormalDist, values: list[float]) -> float:
    """Kolmogorov's: the largest difference between the two distribution functions."""
    ranked = sorted(values)
    return max(abs(distribution.cdf(value) - (rank + 0.5) / len(ranked)) for rank, value in enumerate(ranked))


def test_a_number_wanders_with_half_a_second() -> None:
    assert offsets(0.01, 0.1, 50) == offsets(WanderingJitter(deviation=0.01, time_constant=0.5), 0.1, 50)


def test_a_wandering_delay_is_normal_in_the_long_run() -> None:
    values = offsets(
        WanderingJitter(deviation=0.01, time_constant=0.5), 5.0
    )  # independent: ten time constants
    assert distance_to(NormalDist(0, 0.01), values) < 1.63 / math.sqrt(DRAWS)  # one in a hundred


@pytest.mark.parametrize("lag", [1, 5, 20])
def test_a_wandering_delay_forgets_as_it_should(lag: int) -> None:
    gap, tau = 0.1, 0.5
    values = offsets(WanderingJitter(deviation=0.01, time_constant=tau), gap, 200_000)
    rho = math.exp(-gap / tau)
    sigma = math.sqrt((1 + rho**2) / (1 - rho**2) / len(values))  # Bartlett's, at most
    assert correlation(values, lag) == pytest.approx(rho**lag, abs=3 * sigma)


def test_a_wandering_delay_moves_with_time_alone() -> None:
    machine = jitter_offset(0.01, Random(1))
    assert machine is not None
    assert machine.offset(1.0) == machine.offset(1.0) == machine.offset(0.5)


@pytest.mark.parametrize(
    ("distribution", "deviation"), [("uniform", 0.01 / math.sqrt(3)), ("normal", 0.01), ("pareto", 0.01)]
)
def test_scattered_delays_have_their_deviation_and_no_memory(distribution: str, deviation: float) -> None:
    values = offsets(NetemJitter(jitter=0.01, distribution=distribution), 0.001)  # type: ignore[arg-type]
    assert fmean(values) == pytest.approx(0, abs=3 * deviation / math.sqrt(DRAWS))
    # Pareto's fourth moment is infinite: its deviation settles slowly.
    assert pstdev(values) == pytest.approx(deviation, rel=0.15 if distribution == "pareto" else 0.02)
    assert abs(correlation(values, 1)) < 3 / math.sqrt(DRAWS)
    if distribution == "normal":
        assert distance_to(NormalDist(0, 0.01), values) < 1.63 / math.sqrt(DRAWS)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: WanderingJitter(deviation=-1),
        lambda: WanderingJitter(deviation=1, time_constant=0),
        lambda: NetemJitter(jitter=math.inf),
    ],
)
def test_impossible_models_are_refused(wrong: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="must be finite"):
        wrong()
