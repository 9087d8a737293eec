"""How much is sent: alone, on paths that lose packets, and beside others. A bottleneck of 10 Mbit/s, 50 ms away.

One seed each, and short: `rtcmesh bench congestion` has more of both, and every kind of path.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from random import Random
from statistics import mean

import pytest

from rtcmesh.peer.bench.congestion.simulation import OVERHEAD_BYTES, Simulation
from rtcmesh.peer.sctp import CongestionControl
from rtcmesh.peer.sctp.congestion import Congestion, Progress
from rtcmesh.peer.sctp.cubic import Cubic
from rtcmesh.peer.sctp.loss_tolerant import LossTolerant, Mode
from rtcmesh.peer.sctp.pacing import Pacer
from rtcmesh.peer.sctp.round_trip import RoundTrip
from rtcmesh.peer.sctp.usual_loss import UsualLoss

RATE, ROUND_TRIP = 10e6, 0.05
PACKET = 1188
CUBIC, LOSS_TOLERANT = CongestionControl.CUBIC, CongestionControl.LOSS_TOLERANT
PAYLOAD_SHARE = 16_384 / (16_384 + 14.2 * (12 + 20 + OVERHEAD_BYTES))


def path(
    *, loss: float = 0.0, buffer: float = 1.0, round_trip: float = ROUND_TRIP, seed: int = 1
) -> Simulation:
    return Simulation(
        bits_per_second=RATE, round_trip=round_trip, buffer_round_trips=buffer, loss=loss, seed=seed
    )


def beside_one_another(
    simulation: Simulation,
    *controls: CongestionControl,
    apart: float = 2.0,
    settle: float = 6.0,
    seconds: float = 9.0,
) -> list[float]:
    """Let flows begin one after another; returns what each carries once they have settled, as a share of the path."""
    for number, control in enumerate(controls):
        if number:
            simulation.run(apart)
        simulation.add(control)
    simulation.run(settle)
    before = [flow.received_bytes for flow in simulation.flows]
    simulation.queue_seconds.clear()
    simulation.run(seconds)
    most = RATE / 8 * seconds * PAYLOAD_SHARE
    return [
        (flow.received_bytes - earlier) / most for flow, earlier in zip(simulation.flows, before, strict=True)
    ]


@pytest.mark.parametrize("control", CongestionControl)
def test_a_clean_path_is_filled(control: CongestionControl) -> None:
    simulation = path()
    (used,) = beside_one_another(simulation, control, settle=2, seconds=5)
    assert used > 0.93
    assert mean(simulation.queue_seconds) < ROUND_TRIP


@pytest.mark.parametrize("loss", [0.01, 0.05, 0.1])
def test_loss_without_a_queue_costs_the_tolerant_control_little_more_than_what_is_lost(loss: float) -> None:
    simulation = path(loss=loss)
    (used,) = beside_one_another(simulation, LOSS_TOLERANT, settle=4, seconds=5)
    assert used > 0.9 * (1 - loss)
    assert mean(simulation.queue_seconds) < 0.5 * ROUND_TRIP


def test_loss_that_begins_in_the_midst_is_soon_found_to_be_no_congestion() -> None:
    simulation = path()
    simulation.add(LOSS_TOLERANT)
    simulation.run(3)
    simulation.lose(0.1)
    (used,) = beside_one_another(simulation, settle=6, seconds=5)
    assert used > 0.8


def test_loss_costs_cubic_nearly_everything() -> None:
    (used,) = beside_one_another(path(loss=0.05), CUBIC, settle=3, seconds=5)
    assert used < 0.25


@pytest.mark.parametrize("first", CongestionControl)
@pytest.mark.parametrize("buffer", [0.25, 1])
def test_cubic_keeps_its_share_beside_the_tolerant_control_which_gets_a_fair_one(
    first: CongestionControl, buffer: float
) -> None:
    second = LOSS_TOLERANT if first is CUBIC else CUBIC
    used = beside_one_another(path(buffer=buffer), first, second, settle=8, seconds=12)
    assert sum(used) > 0.8
    assert 0.4 <= used[first is LOSS_TOLERANT] / sum(used) <= 0.75


def test_what_was_lost_in_the_start_is_no_excuse_when_cubic_comes() -> None:
    """A few packets of the buffer that the start has overrun: were they usual, a handful would pass for each window."""
    used = beside_one_another(path(buffer=0.5), LOSS_TOLERANT, CUBIC, apart=5, settle=10, seconds=12)
    assert used[1] / sum(used) >= 0.4


@pytest.mark.parametrize("buffer", [0.25, 4])
def test_tolerant_flows_share_though_one_comes_later_and_keep_the_queue_short(buffer: float) -> None:
    simulation = path(buffer=buffer)
    first, second = beside_one_another(simulation, LOSS_TOLERANT, LOSS_TOLERANT, apart=5)
    assert max(first, second) < 1.5 * min(first, second)
    assert first + second > 0.8
    assert mean(simulation.queue_seconds) < 0.5 * ROUND_TRIP
    assert max(simulation.queue_seconds) < 1.5 * ROUND_TRIP


def test_tolerant_flows_with_a_handful_of_packets_each_do_not_take_one_another_for_cubic() -> None:
    """Ten packets fill the path: when acknowledgements waited for 20 ms, that looked like a queue that stays."""
    simulation = path(buffer=4, round_trip=0.01)
    first, second = beside_one_another(simulation, LOSS_TOLERANT, LOSS_TOLERANT, apart=5, settle=16)
    assert max(first, second) < 1.5 * min(first, second)
    assert first + second > 0.8
    assert mean(simulation.queue_seconds) < 1.5 * 0.01


def test_cubic_flows_share() -> None:
    first, second = beside_one_another(path(), CUBIC, CUBIC)
    assert 0.3 < first / (first + second) < 0.7


def test_a_tolerant_flow_that_competed_with_cubic_stops_when_it_is_gone() -> None:
    simulation = path(buffer=2)
    cubic, _ = [simulation.add(control) for control in (CUBIC, LOSS_TOLERANT)]
    simulation.run(8)
    simulation.flows.remove(cubic)
    (used,) = beside_one_another(simulation, settle=12, seconds=5)
    assert used > 0.9
    assert mean(simulation.queue_seconds) < 0.5 * ROUND_TRIP


# The machines by themselves


def tolerant(packet_bytes: int) -> LossTolerant:
    return LossTolerant(packet_bytes, Random(1))


class Path:
    """Feeds a control with acknowledgements of a path that has this round-trip time."""

    def __init__(self, control: Congestion, round_trip: float = 0.05) -> None:
        self.control = control
        self.round_trip = round_trip
        self.progress = Progress(RoundTrip())
        self.now = 0.0
        self.number = 0

    def round(self, *, limited: bool = True, lost_share: float = 0.0) -> None:
        """Acknowledge one window, in pieces of 8 packets."""
        progress = self.progress
        packets = self.control.window // PACKET
        next_number = self.number + packets + 1
        while self.number < next_number - 1:
            count = min(8, next_number - 1 - self.number)
            self.number += count
            self.now += self.round_trip / max(1, packets / 8)
            progress.round_trip.measured(self.round_trip, self.now)
            progress.sample, progress.limited = self.round_trip, limited
            progress.newest, progress.next_number = self.number, next_number
            lost = int(count * PACKET * lost_share)
            progress.acknowledged = count * PACKET - lost
            progress.in_flight = self.control.window
            self.control.acknowledged(progress, self.now)
            if lost:
                self.control.lost(lost, self.number, self.now)


@pytest.mark.parametrize("make", [Cubic, tolerant])
def test_the_window_doubles_at_first(make: Callable[[int], Congestion]) -> None:
    fed = Path(make(PACKET))
    windows: list[int] = []
    for _ in range(5):
        fed.round()
        windows.append(fed.control.window)
    assert windows == [10 * PACKET * 2**power for power in range(1, 6)]


@pytest.mark.parametrize("make", [Cubic, tolerant])
def test_the_window_does_not_grow_while_it_is_not_used(make: Callable[[int], Congestion]) -> None:
    fed = Path(make(PACKET))
    for _ in range(10):
        fed.round(limited=False)
    assert fed.control.window == 10 * PACKET


@pytest.mark.parametrize("make", [Cubic, tolerant])
def test_a_round_trip_that_grows_ends_the_doubling_before_anything_is_lost(
    make: Callable[[int], Congestion],
) -> None:
    fed = Path(make(PACKET))
    for _ in range(5):
        fed.round()
    fed.round_trip = 0.07
    for _ in range(7):
        fed.round()
    assert fed.control.window < 10 * PACKET * 2**8


@pytest.mark.parametrize("make", [Cubic, tolerant])
def test_a_collapse_leaves_a_few_packets(make: Callable[[int], Congestion]) -> None:
    fed = Path(make(PACKET))
    for _ in range(5):
        fed.round()
    fed.control.collapsed(fed.now)
    assert fed.control.window <= 4 * PACKET
    fed.control.packet_size_changed(9000)
    assert fed.control.window >= 2 * 9000
    for _ in range(5):
        fed.round()
    assert fed.control.window > 8 * 9000


def test_a_collapse_ends_an_experiment_without_a_result() -> None:
    control = tolerant(PACKET)
    fed = Path(control)
    for _ in range(6):
        fed.round()
    control.lost(control.window // 4, fed.number, fed.now)
    while not control.usual_loss.share:
        fed.round(lost_share=0.1)
    assert control.mode is Mode.STARTING
    control.collapsed(fed.now)
    assert control.usual_loss.share == 0


def test_cubic_answers_one_loss_in_a_round_and_returns_to_where_it_was() -> None:
    control = Cubic(PACKET)
    fed = Path(control)
    for _ in range(6):
        fed.round()
    before = control.window
    for _ in range(3):
        control.lost(PACKET, fed.number, fed.now)
    assert control.window == pytest.approx(0.7 * before, abs=2)
    rounds = 0
    while control.window < before:
        fed.round()
        rounds += 1
    # RFC 9438 section 4.2: K = cbrt(W_max (1 - beta) / C) seconds.
    assert rounds * 0.05 == pytest.approx((before / PACKET * 0.3 / 0.4) ** (1 / 3), rel=0.3)


@pytest.mark.parametrize("share", [0.02, 0.1])
def test_the_tolerant_control_shrinks_until_losses_are_shown_not_to_grow_with_the_window(
    share: float,
) -> None:
    control = tolerant(PACKET)
    fed = Path(control)
    for _ in range(6):
        fed.round()
    before = control.window
    control.lost(before // 4, fed.number, fed.now)
    assert control.window < before / 2
    assert control.usual_loss.share == 0
    rounds = 0
    while control.window < before:
        fed.round(lost_share=share)
        rounds += 1
    assert rounds < 100
    assert control.usual_loss.share == pytest.approx(share, rel=0.5)


def test_an_experiment_that_fails_shows_that_what_was_usual_was_not() -> None:
    control = tolerant(PACKET)
    fed = Path(control)
    for _ in range(6):
        fed.round()
    control.usual_loss = UsualLoss(20, 1000)
    rounds = 0
    while control.mode is not Mode.COMPETING:
        fed.round(lost_share=0.2)
    while control.mode is Mode.COMPETING:  # until so many losses without a queue call for an experiment
        fed.round(lost_share=0.1)
        rounds += 1
        assert rounds < 100
    while control.mode is not Mode.COMPETING:
        fed.round(lost_share=0.9)
        assert control.mode is not Mode.YIELDING
    assert control.usual_loss.share == 0


def test_who_sends_little_does_not_forget_what_is_usual() -> None:
    control = tolerant(PACKET)
    control.usual_loss, control.mode = UsualLoss(5, 500), Mode.YIELDING
    fed = Path(control)
    for _ in range(60):
        fed.round(limited=False)
    assert control.usual_loss.share > 0


def test_the_pacer_lets_a_burst_pass_and_then_keeps_to_the_rate() -> None:
    pacer = Pacer()
    assert pacer.allowance(PACKET, 0.0) == inf
    pacer.rate = 1e6
    sent, now = 0, 0.0
    while now < 1:
        while pacer.allowance(PACKET, now) > 0:
            pacer.spent(PACKET)
            sent += PACKET
        assert pacer.deadline() > now
        now = pacer.deadline()
    assert sent == pytest.approx(1e6, rel=0.02)
