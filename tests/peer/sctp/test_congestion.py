"""How much is sent: alone, on paths that lose packets, and beside others. A bottleneck of 20 Mbit/s, 50 ms away."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from random import Random
from statistics import mean

import pytest

from rtcmesh.peer.sctp import CongestionControl
from rtcmesh.peer.sctp.congestion import Congestion, Progress
from rtcmesh.peer.sctp.cubic import Cubic
from rtcmesh.peer.sctp.loss_tolerant import LossTolerant
from rtcmesh.peer.sctp.pacing import Pacer
from rtcmesh.peer.sctp.round_trip import RoundTrip
from support.sctp import Shared

RATE, ROUND_TRIP = 20e6, 0.05
PACKET = 1188
CUBIC, LOSS_TOLERANT = CongestionControl.CUBIC, CongestionControl.LOSS_TOLERANT
PAYLOAD_SHARE = 16_384 / (16_384 + 14.2 * (12 + 16 + 77))


def tolerant(packet_bytes: int) -> LossTolerant:
    return LossTolerant(packet_bytes, Random(1))


def shared(*controls: CongestionControl, loss: float = 0.0, queue_round_trips: float = 1.0) -> Shared:
    return Shared(
        *controls,
        bits_per_second=RATE,
        round_trip=ROUND_TRIP,
        loss=loss,
        queue_round_trips=queue_round_trips,
    )


@pytest.mark.parametrize("control", CongestionControl)
def test_a_clean_path_is_filled(control: CongestionControl) -> None:
    flow = shared(control)
    flow.run(2)
    (rate,) = flow.run(5)
    assert rate > 0.9 * RATE * PAYLOAD_SHARE
    assert mean(flow.backlogs) < ROUND_TRIP


@pytest.mark.parametrize("loss", [0.01, 0.05, 0.1])
def test_loss_without_a_queue_costs_the_tolerant_control_little_more_than_what_is_lost(loss: float) -> None:
    flow = shared(LOSS_TOLERANT, loss=loss)
    flow.run(3)
    (rate,) = flow.run(5)
    assert rate > 0.85 * (1 - loss) * RATE * PAYLOAD_SHARE
    assert mean(flow.backlogs) < 0.5 * ROUND_TRIP


def test_loss_costs_cubic_nearly_everything() -> None:
    flow = shared(CUBIC, loss=0.05)
    flow.run(3)
    (rate,) = flow.run(5)
    assert rate < 0.15 * RATE


@pytest.mark.parametrize("queue_round_trips", [0.25, 1])
def test_a_cubic_flow_beside_the_tolerant_control_keeps_its_share(queue_round_trips: float) -> None:
    flows = shared(CUBIC, LOSS_TOLERANT, queue_round_trips=queue_round_trips)
    flows.run(4)
    cubic, tolerant = flows.run(12)
    assert cubic > 0.4 * (cubic + tolerant)
    assert cubic + tolerant > 0.85 * RATE * PAYLOAD_SHARE


@pytest.mark.parametrize("control", CongestionControl)
def test_flows_of_the_same_control_share(control: CongestionControl) -> None:
    flows = shared(control, control)
    flows.run(4)
    first, second = flows.run(12)
    assert 0.3 < first / (first + second) < 0.7


def test_the_queue_of_the_tolerant_control_stays_short() -> None:
    flows = shared(LOSS_TOLERANT, LOSS_TOLERANT, queue_round_trips=4)
    flows.run(4)
    flows.backlogs.clear()
    flows.run(8)
    assert mean(flows.backlogs) < 0.5 * ROUND_TRIP
    assert max(flows.backlogs) < 1.5 * ROUND_TRIP


# The machines by themselves


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
    path = Path(make(PACKET))
    windows: list[int] = []
    for _ in range(5):
        path.round()
        windows.append(path.control.window)
    assert windows == [10 * PACKET * 2**power for power in range(1, 6)]


@pytest.mark.parametrize("make", [Cubic, tolerant])
def test_the_window_does_not_grow_while_it_is_not_used(make: Callable[[int], Congestion]) -> None:
    path = Path(make(PACKET))
    for _ in range(10):
        path.round(limited=False)
    assert path.control.window == 10 * PACKET


@pytest.mark.parametrize("make", [Cubic, tolerant])
def test_a_round_trip_that_grows_ends_the_doubling_before_anything_is_lost(make: Callable[[int], Congestion]) -> None:
    path = Path(make(PACKET))
    for _ in range(5):
        path.round()
    path.round_trip = 0.07
    for _ in range(7):
        path.round()
    assert path.control.window < 10 * PACKET * 2**8


@pytest.mark.parametrize("make", [Cubic, tolerant])
def test_a_collapse_leaves_a_few_packets(make: Callable[[int], Congestion]) -> None:
    path = Path(make(PACKET))
    for _ in range(5):
        path.round()
    path.control.collapsed(path.now)
    assert path.control.window <= 4 * PACKET
    path.control.packet_size_changed(9000)
    assert path.control.window >= 2 * 9000
    for _ in range(5):
        path.round()
    assert path.control.window > 8 * 9000


def test_cubic_answers_one_loss_in_a_round_and_returns_to_where_it_was() -> None:
    control = Cubic(PACKET)
    path = Path(control)
    for _ in range(6):
        path.round()
    before = control.window
    for _ in range(3):
        control.lost(PACKET, path.number, path.now)
    assert control.window == pytest.approx(0.7 * before, abs=2)
    rounds = 0
    while control.window < before:
        path.round()
        rounds += 1
    # RFC 9438 section 4.2: K = cbrt(W_max (1 - beta) / C) seconds.
    assert rounds * 0.05 == pytest.approx((before / PACKET * 0.3 / 0.4) ** (1 / 3), rel=0.3)


@pytest.mark.parametrize(("share", "shrinks"), [(0.1, False), (0.3, True)])
def test_the_tolerant_control_takes_loss_above_its_bound_for_congestion(share: float, shrinks: bool) -> None:
    control = tolerant(PACKET)
    path = Path(control)
    for _ in range(6):
        path.round()
    before = control.window
    for _ in range(3):
        path.round(lost_share=share)
    assert (control.window < before) is shrinks


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
