"""Queues that drop what they have taken in."""

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rtcmesh.netem import Fate, Link, LinkConfig, Packet, QueueDiscipline, RateStep, RateSteps
from rtcmesh.netem.models.codel import INTERVAL, TARGET, CoDel
from support.parcels import parcel

RATE = 1e6
SIZE = 1000


def flood(queue: QueueDiscipline, seconds: float, load: float, limit: int = 500_000) -> Link[Packet]:
    """Offer a link `load` times what it carries; its queue would hold half a second."""
    link = Link[Packet](LinkConfig(rate_bytes_per_second=RATE, max_queue_bytes=limit, queue=queue), Random(1))
    for number in range(int(seconds * load * RATE / SIZE)):
        link.send(parcel(bytes(SIZE - 28), sequence=number), number * SIZE / RATE / load)
    return link


def delays(link: Link[Packet], load: float) -> list[tuple[float, float]]:
    return [(at, at - packet.sequence * SIZE / RATE / load) for at, packet in link.arrivals(math.inf)]


def test_the_oldest_give_way_at_the_head() -> None:
    config = LinkConfig(rate_bytes_per_second=RATE, max_queue_bytes=3 * SIZE, queue=QueueDiscipline.HEAD_DROP)
    link = Link[Packet](config, Random(1))
    fates = [link.send(parcel(bytes(SIZE - 28), sequence=number), 0.0) for number in range(6)]
    assert fates == [Fate.CARRIED] * 6
    # The first is leaving already; of those that wait the two newest stay.
    assert [packet.sequence for _, packet in link.arrivals(1.0)] == [0, 4, 5]
    assert link.counters.dropped == 3


def test_a_newcomer_is_dropped_when_there_is_nobody_to_give_way() -> None:
    config = LinkConfig(rate_bytes_per_second=RATE, max_queue_bytes=1, queue=QueueDiscipline.HEAD_DROP)
    link = Link[Packet](config, Random(1))
    assert [link.send(parcel(bytes(9)), 0.0) for _ in range(2)] == [Fate.CARRIED, Fate.DROPPED]


def test_nobody_gives_way_to_a_newcomer_that_finds_no_room_all_the_same() -> None:
    config = LinkConfig(rate_bytes_per_second=RATE, max_queue_bytes=3 * SIZE, queue=QueueDiscipline.HEAD_DROP)
    link = Link[Packet](config, Random(1))
    assert [link.send(parcel(bytes(SIZE - 28), sequence=number), 0.0) for number in range(3)] == [
        Fate.CARRIED
    ] * 3
    assert link.send(parcel(bytes(2 * SIZE + 1), sequence=3), 0.0) is Fate.DROPPED
    assert not link.given_up
    assert [packet.sequence for _, packet in link.arrivals(1.0)] == [0, 1, 2]
    assert link.counters.dropped == 1


@pytest.mark.parametrize("queue", [QueueDiscipline.HEAD_DROP, QueueDiscipline.CODEL])
def test_a_link_with_room_behaves_as_with_tail_drop(queue: QueueDiscipline) -> None:
    links = [flood(discipline, 20, 0.9) for discipline in (QueueDiscipline.TAIL_DROP, queue)]
    arrivals = [link.arrivals(math.inf) for link in links]
    assert [packet for _, packet in arrivals[0]] == [packet for _, packet in arrivals[1]]
    assert [at for at, _ in arrivals[0]] == pytest.approx([at for at, _ in arrivals[1]])


@pytest.mark.parametrize("queue", QueueDiscipline)
def test_a_saturated_link_carries_its_rate_whatever_the_queue(queue: QueueDiscipline) -> None:
    link = flood(queue, 20, 1.5)
    carried = sum(packet.size for _, packet in link.arrivals(20.0))
    assert carried == pytest.approx(20 * RATE, rel=0.01)


def test_codel_brings_a_standing_queue_down_to_its_target() -> None:
    link = flood(QueueDiscipline.CODEL, 60, 1.02)
    late = sorted(delay for at, delay in delays(link, 1.02) if at > 30)
    assert link.counters.shed > 0
    assert late[len(late) // 2] < 5 * TARGET
    stuck = flood(QueueDiscipline.TAIL_DROP, 60, 1.02)
    assert max(delay for at, delay in delays(stuck, 1.02) if at > 30) > 0.45


def test_codel_lets_a_burst_pass() -> None:
    config = LinkConfig(rate_bytes_per_second=RATE, queue=QueueDiscipline.CODEL)
    link = Link[Packet](config, Random(1))
    for number in range(80):  # takes less than an interval to leave
        link.send(parcel(bytes(SIZE - 28), sequence=number), 0.0)
    assert len(link.arrivals(math.inf)) == 80


def test_codel_drops_more_and_more_often_by_its_control_law() -> None:
    codel, dropped = CoDel(), list[float]()
    for millisecond in range(2000):
        now = millisecond / 1000
        if codel.drops(10 * TARGET, 100_000, now):
            dropped.append(now)
    expected, at = [INTERVAL], INTERVAL
    for count in range(1, len(dropped)):
        at += INTERVAL / math.sqrt(count)
        expected.append(at)
    assert dropped == pytest.approx(expected, abs=0.0011)


def test_codel_takes_up_where_it_stopped_if_that_is_not_long_ago() -> None:
    def drops_in_a_second(pause: float) -> int:
        codel = CoDel()
        for millisecond in range(1000):
            codel.drops(10 * TARGET, 100_000, millisecond / 1000)
        codel.drops(0.0, 100_000, 1.0)
        start = 1 + pause
        return sum(codel.drops(10 * TARGET, 100_000, start + ms / 1000) for ms in range(500))

    assert drops_in_a_second(0.2) > drops_in_a_second(10.0)


def test_codel_spares_a_queue_of_one_packet() -> None:
    codel = CoDel()
    assert not any(codel.drops(1.0, 1500, millisecond / 1000) for millisecond in range(1000))


@given(
    st.sampled_from([QueueDiscipline.HEAD_DROP, QueueDiscipline.CODEL]),
    st.lists(st.tuples(st.sampled_from([0.0, 0.001, 0.2]), st.integers(28, 1500)), max_size=60),
    st.sampled_from([0, 3000, 100_000]),
)
def test_what_waits_never_exceeds_the_limit_and_keeps_its_order(
    queue: QueueDiscipline, packets: list[tuple[float, int]], limit: int
) -> None:
    config = LinkConfig(rate_bytes_per_second=20_000, max_queue_bytes=limit, queue=queue)
    link, now = Link[Packet](config, Random(1)), 0.0
    for number, (gap, size) in enumerate(packets):
        now += gap
        link.send(parcel(bytes(size - 28), sequence=number), now)
        assert link.queued_bytes(now) <= max(limit, 1500) + 1e-6
    sequences = [packet.sequence for _, packet in link.arrivals(math.inf)]
    assert sequences == sorted(sequences)


def test_what_waits_leaves_at_the_old_rate_when_the_queue_becomes_another() -> None:
    link = flood(QueueDiscipline.CODEL, 0.05, 2)
    waiting = link.in_flight
    link.config = LinkConfig(rate_bytes_per_second=10 * RATE, max_queue_bytes=10**6)
    link.send(parcel(bytes(SIZE - 28), sequence=1000), 0.05)
    arrivals = link.arrivals(math.inf)
    assert len(arrivals) == waiting + 1
    assert arrivals[-1].packet.sequence == 1000
    assert arrivals[-1].at == pytest.approx(arrivals[-2].at + SIZE / RATE / 10)


@pytest.mark.parametrize("queue", QueueDiscipline)
def test_a_change_of_the_rate_leaves_what_waits_as_large_as_it_is(queue: QueueDiscipline) -> None:
    config = LinkConfig(rate_bytes_per_second=1000, max_queue_bytes=10_000, queue=queue)
    link = Link[Packet](config, Random(1))
    for number in range(5):
        link.send(parcel(bytes(SIZE - 28), sequence=number), 0.0)
    steps = RateSteps(steps=(RateStep(1.0, 500.0),))
    perfect = LinkConfig(max_queue_bytes=10_000, queue=queue)
    for rate in (100_000.0, 10.0):
        link.config = replace(perfect, rate_bytes_per_second=rate)
        assert link.queued_bytes(1.0) == pytest.approx(4000)
    for config in (perfect, replace(perfect, rate_trace=steps)):
        link.config = config
    assert link.queued_bytes(1.0) == pytest.approx(4000)
    fates = [link.send(parcel(bytes(SIZE - 28), sequence=number), 1.0) for number in range(5, 12)]
    assert link.queued_bytes(1.0) == pytest.approx(10_000)
    assert (fates + [Fate.CARRIED] * link.counters.dropped).count(Fate.DROPPED) <= 1
    assert link.counters.dropped == 1


RATES = [100.0, 5_000.0, 90_000.0]


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.01, 0.3]), st.integers(28, 1500), st.sampled_from([None, *RATES])),
        max_size=60,
    ),
    st.sampled_from([100, 3000]),
)
def test_a_queue_is_full_when_it_is_whatever_the_rate_was(
    packets: list[tuple[float, int, float | None]], limit: int
) -> None:
    """What waits is counted by hand: every packet leaves at the rate that held when it came."""
    link = Link[Packet](LinkConfig(rate_bytes_per_second=RATES[1], max_queue_bytes=limit), Random(1))
    now, left_at = 0.0, 0.0
    leaving: list[tuple[float, float, int]] = []
    for number, (gap, size, rate) in enumerate(packets):
        now += gap
        if rate is not None:
            link.config = LinkConfig(rate_bytes_per_second=rate, max_queue_bytes=limit)
        waiting = sum(part(begins_at, ends_at, now) * size for begins_at, ends_at, size in leaving)
        assert link.queued_bytes(now) == pytest.approx(waiting, abs=1e-3)
        fate = link.send(parcel(bytes(size - 28), sequence=number), now)
        if abs(waiting + size - limit) > 1e-3 and not 0 < waiting < 1e-3:
            assert fate is (Fate.CARRIED if not waiting or waiting + size <= limit else Fate.DROPPED)
        if fate is Fate.CARRIED:
            ((ends_at, _),) = link.arrivals(math.inf)
            leaving.append((max(now, left_at), ends_at, size))
            left_at = ends_at


def part(begins_at: float, ends_at: float, now: float) -> float:
    """Return how much of a packet has not left."""
    return min(1.0, max(0.0, (ends_at - now) / (ends_at - begins_at)))


@pytest.mark.parametrize(
    "faster", [LinkConfig(rate_bytes_per_second=1e5), LinkConfig(rate_bytes_per_second=1e3)]
)
def test_a_queue_in_seconds_counts_what_waits_at_the_rate_at_which_it_leaves(faster: LinkConfig) -> None:
    link = Link[Packet](LinkConfig(rate_bytes_per_second=1e4, max_queue_delay=1.0), Random(1))
    for number in range(9):
        link.send(parcel(bytes(SIZE - 28), sequence=number), 0.0)
    link.config = replace(faster, max_queue_delay=1.0)
    room = 0.1 * (faster.rate_bytes_per_second or 0)
    assert link.send(parcel(bytes(int(room * 1.1))), 0.0) is Fate.DROPPED
    assert link.send(parcel(bytes(int(room * 0.9) - 28)), 0.0) is Fate.CARRIED
