"""What a path loses without being full: when more or less is lost than that, and when it is put to the test."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.peer.sctp.experiment import TOLERANT_PACKETS, UNEXPLAINED, Experiment, Suspicion
from rtcmesh.peer.sctp.usual_loss import MOST, UsualLoss

PACKET = 1200
WINDOW = 100.0


def lose(usual: UsualLoss, share: float, packets: int, random: Random) -> int:
    """Send packets of which a share is lost at random; returns how often that was more than usual."""
    exceeded = 0
    for _ in range(packets):
        if random.random() < share:
            usual.lost(1)
            if usual.exceeded(WINDOW):
                exceeded += 1
                usual.answered()
        else:
            usual.arrived(1)
    return exceeded


def test_where_nothing_is_usual_every_loss_is_too_much() -> None:
    usual = UsualLoss()
    assert not usual.exceeded(WINDOW)
    assert lose(usual, 0.1, 1000, Random(1)) > 50


@pytest.mark.parametrize("share", [0.01, 0.05, 0.1])
def test_what_is_usual_is_rarely_too_much_and_stays_what_it_is(share: float) -> None:
    usual = UsualLoss(1000 * share, 1000)
    assert lose(usual, share, 20_000, Random(1)) <= 5
    assert usual.share == pytest.approx(share, rel=0.5)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.1])
def test_three_times_as_much_is_soon_too_much(share: float) -> None:
    usual = UsualLoss(1000 * share, 1000)
    assert lose(usual, 3 * share, int(20 / share), Random(1)) > 0


@pytest.mark.parametrize("share", [0.01, 0.05, 0.1])
def test_a_path_that_loses_no_more_is_soon_believed(share: float) -> None:
    usual = UsualLoss(1000 * share, 1000)
    usual.arrived(17 / share)
    assert usual.share == 0


def test_what_is_known_of_one_loss_is_not_known_and_what_is_not_seen_again_is_forgotten() -> None:
    assert UsualLoss(1, 1000).share == 0
    usual = UsualLoss(10, 1000)
    for _ in range(52):
        usual.follow(0, 50)
    assert usual.share == 0
    usual.lost(1)
    assert usual.exceeded(WINDOW)


def test_a_window_below_the_one_that_was_too_much_shows_that_the_path_loses_less() -> None:
    usual = UsualLoss(5, 100)
    for _ in range(22):
        usual.judge(1, 20)
    assert usual.share == 0.05
    for _ in range(11):
        usual.judge(0.4, 20)
    assert usual.share == 0


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["arrived", "lost", "follow", "judge", "answered"]),
            st.floats(0, 1e6),
            st.floats(0, 1e6),
        )
    ),
    st.floats(0, 1e6),
)
def test_the_share_is_one_whatever_happens(events: list[tuple[str, float, float]], lost: float) -> None:
    usual = UsualLoss(lost, 1000)
    for event, first, second in events:
        match event:
            case "arrived":
                usual.arrived(first)
            case "lost":
                usual.lost(first)
            case "follow":
                usual.follow(first, first + second)
            case "judge":
                usual.judge(first, first + second)
            case _:
                usual.answered()
        assert 0 <= usual.share <= MOST * (1 + 1e-9)
        usual.exceeded(WINDOW)


# Experiments


@given(st.integers(1, 1000))
def test_an_experiment_passes_at_four_times_the_window_after_a_whole_round_with_it(packets: int) -> None:
    begun_at = packets * PACKET
    experiment = Experiment(begun_at, UsualLoss())
    steps = 0
    while not experiment.passed(PACKET):
        assert experiment.proven < max(4 * begun_at, TOLERANT_PACKETS * PACKET)
        limit = experiment.limit
        experiment.round_ended(limit)
        assert experiment.limit == limit
        experiment.round_ended(limit)
        steps += 1
    assert experiment.proven == 2**steps * begun_at


def test_a_window_that_does_not_grow_proves_nothing() -> None:
    experiment = Experiment(10 * PACKET, UsualLoss())
    for _ in range(100):
        experiment.round_ended(19 * PACKET)
    assert experiment.proven == 10 * PACKET


@given(st.floats(0, 0.25), st.integers(4, 100), st.integers(1, 2000))
def test_as_much_as_before_never_fails_and_half_of_all_does(share: float, evidence: int, total: int) -> None:
    usual = UsualLoss(evidence * share, evidence)
    assert not Experiment.fails(usual.share * total, total, usual)
    assert Experiment.fails(0.5 * total, total, UsualLoss(4, 400)) is (total > 3)


def test_suspicion_takes_losses_without_a_queue_and_is_slower_after_each_failure() -> None:
    suspicion, now = Suspicion(), 0.0
    begun: list[float] = []
    while now < 60:
        suspicion.shrank(queue_is_long=False)
        if suspicion.calls_for_experiment(100 * PACKET, now):
            begun.append(now)
            suspicion.failed(suspicion.begin(100 * PACKET, UsualLoss(), now))
            suspicion.clear()
        now += 0.5
    assert begun == [1.5, 3.5, 7.5, 15.5, 31.5]


def test_suspicion_forgets_losses_that_a_queue_explains() -> None:
    suspicion = Suspicion()
    for _ in range(UNEXPLAINED - 1):
        suspicion.shrank(queue_is_long=False)
    suspicion.shrank(queue_is_long=True)
    suspicion.shrank(queue_is_long=False)
    assert not suspicion.calls_for_experiment(100 * PACKET, 0.0)


def test_a_window_that_has_halved_is_worth_another_experiment_at_once() -> None:
    suspicion = Suspicion()
    suspicion.take(5 * PACKET, 100 * PACKET)
    assert suspicion.usual(PACKET).share == 0.05
    suspicion.failed(suspicion.begin(100 * PACKET, UsualLoss(), 0.0))
    for _ in range(UNEXPLAINED):
        suspicion.shrank(queue_is_long=False)
    assert not suspicion.calls_for_experiment(50 * PACKET, 0.1)
    assert suspicion.calls_for_experiment(49 * PACKET, 0.1)
