"""Rates that change, and the bottlenecks that go by them."""

import itertools
import math
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.netem import DeliveryOpportunities, Fate, Link, LinkConfig, Packet, RateStep, RateSteps
from rtcmesh.netem.models.rate_trace import OPPORTUNITY_BYTES, RateTrace, capacity_of
from support.parcels import parcel


def opportunities_of(gaps: list[int], last: int) -> DeliveryOpportunities:
    moments = list(itertools.accumulate([*gaps, last]))
    return DeliveryOpportunities(milliseconds=tuple(moments))


def steps_of(steps: list[RateStep]) -> RateSteps:
    return RateSteps(steps=tuple(steps))


opportunities = st.builds(opportunities_of, st.lists(st.integers(0, 20), max_size=20), last=st.integers(1, 5))
steps = st.builds(
    steps_of,
    st.lists(
        st.builds(RateStep, st.sampled_from([0.01, 0.5, 2.0]), st.sampled_from([0.0, 1e4, 1e6])),
        min_size=1,
        max_size=6,
    ).filter(lambda some: any(step.bytes_per_second for step in some)),
)
traces = st.one_of(opportunities, steps)


@given(traces, st.lists(st.floats(0, 100), min_size=2, max_size=20))
def test_a_capacity_never_falls(trace: RateTrace, moments: list[float]) -> None:
    capacity = capacity_of(trace)
    passed = [capacity.before(moment) for moment in sorted(moments)]
    assert all(a <= b + 1e-6 for a, b in itertools.pairwise(passed))
    assert capacity.before(0) == 0
    rounds = 3
    assert capacity.before(rounds * trace.seconds + 1e-5) >= rounds * trace.carried_bytes * 0.999_99


@given(traces, st.floats(1, 1e5))
def test_so_many_bytes_have_passed_when_they_are_said_to_have(trace: RateTrace, size: float) -> None:
    capacity = capacity_of(trace)
    at = capacity.reached(size)
    assert capacity.before(at + 1e-5) >= size * 0.999_99
    assert capacity.before(at - 1e-9) <= size * 1.000_01 + 1e-3


@given(traces, st.lists(st.tuples(st.sampled_from([0.0, 0.001, 0.3]), st.integers(28, 1500)), max_size=40))
def test_no_more_arrives_than_the_trace_lets_pass(trace: RateTrace, packets: list[tuple[float, int]]) -> None:
    link = Link[Packet](LinkConfig(rate_trace=trace, max_queue_bytes=10_000), Random(1))
    now = 0.0
    for number, (gap, size) in enumerate(packets):
        now += gap if number else 0.0
        waiting = link.queued_bytes(now)
        fate = link.send(parcel(bytes(size - 28), sequence=number), now)
        assert (fate is Fate.DROPPED) == (waiting > 0 and waiting + size > 10_000)
    capacity, arrived_bytes, last = capacity_of(trace), 0, 0
    for at, packet in link.arrivals(math.inf):
        arrived_bytes += packet.size
        assert packet.sequence >= last
        last = packet.sequence
        assert arrived_bytes <= capacity.before(at + 2e-6) * 1.000_01 + 1


def test_one_frame_leaves_at_each_moment_of_a_mahimahi_trace() -> None:
    trace = DeliveryOpportunities(milliseconds=(2, 2, 7, 10))
    link = Link[Packet](LinkConfig(rate_trace=trace), Random(1))
    for number in range(6):
        link.send(parcel(bytes(1500 - 28), sequence=number), 0.0)
    # The remainders of the moments add up, as long as packets wait for them.
    assert [round(at, 4) for at, _ in link.arrivals(1.0)] == [0.002, 0.002, 0.007, 0.01, 0.012, 0.012]


def test_small_packets_share_a_moment_and_one_that_nobody_uses_is_wasted() -> None:
    trace = DeliveryOpportunities(milliseconds=(2, 4))
    link = Link[Packet](LinkConfig(rate_trace=trace), Random(1))
    for at in (0.0, 0.001, 0.003, 0.0065):
        link.send(parcel(bytes(100)), at)
    assert [round(at, 4) for at, _ in link.arrivals(1.0)] == [0.002, 0.002, 0.004, 0.008]


@pytest.mark.parametrize("trace", [DeliveryOpportunities(milliseconds=(3, 4, 9, 10)), RateSteps(
    steps=(RateStep(1, 1e5), RateStep(0.5, 0), RateStep(0.5, 8e5)))])  # fmt: skip
def test_a_saturated_link_carries_what_the_trace_carries(trace: RateTrace) -> None:
    link, seconds = Link[Packet](LinkConfig(rate_trace=trace, max_queue_bytes=30_000), Random(1)), 20.0
    rate = trace.carried_bytes / trace.seconds
    gap = 1000 / rate / 3
    for number in range(int(seconds / gap)):
        link.send(parcel(bytes(1000 - 28)), number * gap)
    carried = sum(packet.size for _, packet in link.arrivals(seconds))
    assert carried == pytest.approx(rate * seconds, rel=0.01)


def test_a_queue_can_be_bounded_by_its_delay() -> None:
    for trace in (None, RateSteps(steps=(RateStep(1, 1e5),))):
        rate = None if trace else 1e5
        config = LinkConfig(rate_bytes_per_second=rate, rate_trace=trace, max_queue_delay=0.0205)
        link = Link[Packet](config, Random(1))
        fates = [link.send(parcel(bytes(972)), 0.0) for _ in range(4)]
        assert fates == [Fate.CARRIED, Fate.CARRIED, Fate.DROPPED, Fate.DROPPED]


def test_a_trace_goes_on_when_something_else_is_configured() -> None:
    trace = RateSteps(steps=(RateStep(1, 1e5), RateStep(1, 1e6)))
    link = Link[Packet](LinkConfig(rate_trace=trace), Random(1))
    link.send(parcel(bytes(972)), 0.0)
    link.config = LinkConfig(rate_trace=trace, delay=1.0)
    link.send(parcel(bytes(972)), 1.5)
    assert [round(at, 4) for at, _ in link.arrivals(9.0)] == [0.01, 2.501]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (lambda: DeliveryOpportunities(milliseconds=()), "milliseconds"),
        (lambda: DeliveryOpportunities(milliseconds=(0,)), "milliseconds"),
        (lambda: DeliveryOpportunities(milliseconds=(-1, 4)), "-1"),
        (lambda: DeliveryOpportunities(milliseconds=(4, 3, 9)), "number 2"),
        (lambda: RateSteps(steps=()), "steps"),
        (lambda: RateSteps(steps=(RateStep(1, 0),)), "steps"),
        (lambda: RateStep(0, 1), "seconds"),
        (lambda: RateStep(1, -1), "bytes_per_second"),
    ],
)
def test_impossible_traces_are_refused(wrong: Callable[[], object], field: str) -> None:
    with pytest.raises(ValueError, match=field):
        wrong()


def test_a_moment_of_a_trace_carries_one_packet_of_an_ethernet_frame() -> None:
    assert OPPORTUNITY_BYTES == 1504


@pytest.mark.parametrize("step", [RateStep(1e-200, 1e-200), RateStep(1e300, 1e300)])
def test_a_trace_that_carries_next_to_nothing_or_everything_is_refused(step: RateStep) -> None:
    with pytest.raises(ValueError, match="steps must carry from 1 byte on"):
        RateSteps(steps=(step,))
