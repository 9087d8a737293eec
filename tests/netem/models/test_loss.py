"""Loss models against what is known of them."""

import itertools
import math
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.netem import Bursts, Fate, FourState, GilbertElliott, LossPattern
from rtcmesh.netem.models.loss import LossModel, loss_gate
from support.parcels import parcel

PACKETS = 200_000

some = st.floats(0.01, 0.9)
MODELS: list[LossModel] = [
    Bursts(loss=0.01, mean_burst=6),
    Bursts(loss=0.25, mean_burst=40),
    GilbertElliott(to_bad=0.02, to_good=0.3, loss_in_good=0.001, loss_in_bad=0.6),
    FourState(p13=0.02, p31=0.3, p32=0.2, p23=0.4, p14=0.01),
]


def losses(model: float | LossModel, count: int, seed: int = 1) -> list[bool]:
    gate = loss_gate(model, Random(seed))
    assert gate is not None
    sent = parcel()
    return [gate.judge(sent, 0.0) is Fate.LOST for _ in range(count)]


def bursts(lost: list[bool]) -> list[int]:
    return [len(list(run)) for is_lost, run in itertools.groupby(lost) if is_lost]


@pytest.mark.parametrize("model", MODELS, ids=repr)
def test_the_mean_loss_is_within_three_sigma_of_a_chain(model: LossModel) -> None:
    assert not isinstance(model, LossPattern)
    chain, packets = model.chain(), 1_000_000
    sigma = math.sqrt(chain.variance() / packets)
    assert abs(sum(losses(model, packets)) / packets - chain.mean()) < 3 * sigma


def test_the_variance_of_a_chain_is_what_many_runs_show() -> None:
    chain = Bursts(loss=0.1, mean_burst=10).chain()
    assert chain.variance() > 10 * 0.1 * 0.9
    runs, packets = 400, 2000
    means = [sum(losses(Bursts(loss=0.1, mean_burst=10), packets, seed)) / packets for seed in range(runs)]
    seen = sum((mean - 0.1) ** 2 for mean in means) / runs * packets
    assert seen == pytest.approx(chain.variance(), rel=3 * math.sqrt(2 / runs))


@pytest.mark.parametrize(("loss", "mean_burst"), [(0.01, 6.0), (0.05, 12.0), (0.0385, 4.0)])
def test_bursts_are_as_long_as_asked_for(loss: float, mean_burst: float) -> None:
    lengths = bursts(losses(Bursts(loss=loss, mean_burst=mean_burst), PACKETS))
    # A geometric length has a standard deviation of nearly its mean.
    assert sum(lengths) / len(lengths) == pytest.approx(mean_burst, abs=3 * mean_burst / len(lengths) ** 0.5)


@given(some, some)
def test_a_gilbert_elliott_model_has_the_mean_of_its_formula(to_bad: float, to_good: float) -> None:
    assert GilbertElliott(to_bad=to_bad, to_good=to_good).chain().mean() == pytest.approx(
        to_bad / (to_bad + to_good)
    )


@given(st.floats(0, 0.5), st.floats(1, 1000))
def test_bursts_keep_both_numbers(loss: float, mean_burst: float) -> None:
    chain = Bursts(loss=loss, mean_burst=mean_burst).chain()
    assert chain.mean() == pytest.approx(loss)
    assert 1 / chain.steps[1][0] == pytest.approx(mean_burst)


@given(some)
def test_a_chain_without_memory_has_the_variance_of_independent_losses(loss: float) -> None:
    chain = GilbertElliott(to_bad=loss, to_good=1 - loss).chain()
    assert chain.variance() == pytest.approx(loss * (1 - loss))


@given(some, some, some, some, st.floats(0, 0.1))
def test_four_states_have_the_mean_of_their_balance(
    p13: float, p31: float, p32: float, p23: float, p14: float
) -> None:
    scale = max(1, p31 + p32) * 1.000001  # so that rounding leaves their sum below 1
    model = FourState(p13=p13 * 0.9, p31=p31 / scale, p32=p32 / scale, p23=p23, p14=p14)
    third = model.p13 / model.p31
    second = third * model.p32 / model.p23
    lost = third + model.p14
    assert model.chain().mean() == pytest.approx(lost / (1 + second + lost))


@given(st.text(".x", min_size=1, max_size=20), st.integers(0, 60))
def test_a_pattern_repeats(pattern: str, count: int) -> None:
    expected = [letter == "x" for letter in itertools.islice(itertools.cycle(pattern), count)]
    assert losses(LossPattern(pattern=pattern), count) == expected


def test_no_loss_needs_no_machine() -> None:
    assert loss_gate(0.0, Random(1)) is None


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (lambda: Bursts(loss=0.9, mean_burst=2), "loss"),
        (lambda: Bursts(loss=1, mean_burst=2), "loss"),
        (lambda: Bursts(loss=0.1, mean_burst=0.9), "mean_burst"),
        (lambda: Bursts(loss=0.1, mean_burst=math.nan), "mean_burst"),
        (lambda: GilbertElliott(to_bad=0.1, to_good=0), "to_good"),
        (lambda: GilbertElliott(to_bad=0.1, to_good=0.1, loss_in_bad=1.1), "loss_in_bad"),
        (lambda: FourState(p13=0.6, p31=0.5, p14=0.5), "p14"),
        (lambda: FourState(p13=0.1, p31=0), "p31"),
        (lambda: LossPattern(pattern=""), "pattern"),
        (lambda: LossPattern(pattern="01"), "pattern"),
    ],
)
def test_impossible_models_are_refused(wrong: Callable[[], object], field: str) -> None:
    with pytest.raises(ValueError, match=field):
        wrong()
