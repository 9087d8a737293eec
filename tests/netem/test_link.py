"""The one-way link machine."""

import itertools
import math
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rtcmesh.netem import (
    Bursts,
    DeliveryOpportunities,
    Endpoint,
    Fate,
    FourState,
    GilbertElliott,
    Kind,
    Link,
    LinkConfig,
    LossPattern,
    NetemJitter,
    Packet,
    PacketClass,
    QueueDiscipline,
    RateStep,
    RateSteps,
    Reconfiguration,
    Rule,
    WanderingJitter,
)

SOURCE, DESTINATION = Endpoint("10.0.0.1", 1), Endpoint("10.0.0.2", 2)

probabilities = st.sampled_from([0.0, 0.01, 0.3, 1.0])
seconds = st.sampled_from([0.0, 0.001, 0.05, 2.0])
rates = st.sampled_from([None, 100.0, 28_000.0, 1e9])
queues = st.sampled_from([0, 28, 100, 1_000_000])
kept_in_order = st.one_of(
    seconds, st.builds(WanderingJitter, deviation=seconds, time_constant=st.sampled_from([0.01, 3.0]))
)
losses = st.one_of(
    probabilities,
    st.sampled_from(
        [
            Bursts(loss=0.2, mean_burst=3),
            GilbertElliott(to_bad=0.1, to_good=0.5, loss_in_good=0.01, loss_in_bad=0.7),
            FourState(p13=0.1, p31=0.5, p32=0.2, p23=0.3, p14=0.05),
            LossPattern(pattern="..x"),
        ]
    ),
)
traces = st.sampled_from(
    [
        DeliveryOpportunities(milliseconds=(0, 1, 1, 5, 40)),
        RateSteps(steps=(RateStep(0.02, 5000.0), RateStep(0.01, 0.0), RateStep(0.5, 1e6))),
    ]
)
bottlenecks = st.one_of(
    st.fixed_dictionaries({"rate_bytes_per_second": rates}), st.fixed_dictionaries({"rate_trace": traces})
)
rules = st.sampled_from(
    [
        (),
        (Rule(probability=0.5),),
        (Rule(action="pass", transport="udp", port=2, limit=3), Rule(skip=2, until=0.5)),
        (Rule(classes=(PacketClass.DTLS_HANDSHAKE,), flight=1),),
    ]
)


def configs_with(jitter: st.SearchStrategy[Any]) -> st.SearchStrategy[LinkConfig]:
    """Every kind of link."""
    fields = st.fixed_dictionaries(
        {
            "delay": seconds,
            "jitter": jitter,
            "loss": losses,
            "duplication": probabilities,
            "reordering": probabilities,
            "reordering_delay": seconds,
            "max_queue_bytes": queues,
            "max_queue_delay": st.sampled_from([None, 0.0, 0.02]),
            "queue": st.sampled_from(QueueDiscipline),
            "corruption": probabilities,
            "corruption_is_repaired": st.booleans(),
            "mtu": st.sampled_from([None, 68, 100]),
            "reconfiguration": st.sampled_from(
                [None, Reconfiguration(period=0.05, spread=0.01, outage=0.02, outage_loss=0.5)]
            ),
            "rules": rules,
        }
    )

    def build(bottleneck: dict[str, Any], rest: dict[str, Any]) -> LinkConfig:
        return LinkConfig(**bottleneck, **rest)

    return st.builds(build, bottlenecks, fields)


configs_in_order = configs_with(kept_in_order)
configs = configs_with(
    st.one_of(
        kept_in_order,
        st.builds(NetemJitter, jitter=seconds, distribution=st.sampled_from(["uniform", "normal", "pareto"])),
    )
)
gaps = st.lists(st.sampled_from([0.0, 0.0001, 0.02, 1.0]), max_size=60)


def packet(sequence: int, size: int = 28) -> Packet:
    return Packet(sequence, Kind.UDP, SOURCE, DESTINATION, bytes(size - 28))


def send_all(link: Link[Packet], gaps: list[float], first: int = 0) -> list[float]:
    """Send one packet after each gap, and return when each was sent."""
    now, sent_at = 0.0, list[float]()
    for number, gap in enumerate(gaps, first):
        now += gap
        link.send(packet(number), now)
        sent_at.append(now)
    return sent_at


def assert_all_accounted_for(link: Link[Packet], sent: int) -> None:
    counters = link.counters
    assert counters.sent == sent
    assert counters.sent + counters.duplicated == counters.delivered + counters.gone + link.in_flight


@given(configs, st.lists(configs, max_size=3), gaps, st.integers(0, 5))
def test_every_packet_is_accounted_for(
    before: LinkConfig, later: list[LinkConfig], gaps: list[float], seed: int
) -> None:
    link = Link[Packet](before, Random(seed))
    now, sent = 0.0, 0
    for number, config in enumerate([before, *later]):
        link.config = config
        for gap in gaps:
            now += gap
            link.send(packet(sent, 28 + 97 * (sent % 2)), now)
            sent += 1
            if sent % 3 == number:
                link.arrivals(now)
            assert_all_accounted_for(link, sent)
    link.cut()
    link.send(packet(sent), now)
    link.heal()
    link.send(packet(sent), now)
    assert_all_accounted_for(link, sent + 2)
    link.arrivals(math.inf)
    assert_all_accounted_for(link, sent + 2)
    assert link.in_flight == 0


@given(configs, gaps, st.integers(0, 5))
def test_no_packet_arrives_before_it_was_sent_or_its_delay_has_passed(
    config: LinkConfig, gaps: list[float], seed: int
) -> None:
    link = Link[Packet](config, Random(seed))
    sent_at = send_all(link, gaps)
    varies = config.jitter != 0 or config.reconfiguration is not None
    delay = 0.0 if varies else config.delay
    for at, arrived in link.arrivals(math.inf):
        assert at >= sent_at[arrived.sequence] + delay


@given(configs_in_order, st.lists(seconds, min_size=1, max_size=5), gaps, st.integers(0, 5))
def test_order_is_kept_without_reordering_even_when_the_delay_changes(
    config: LinkConfig, delays: list[float], gaps: list[float], seed: int
) -> None:
    link, now = Link[Packet](config, Random(seed)), 0.0
    for number, gap in enumerate(gaps):
        now += gap
        delay = delays[number % len(delays)]
        link.config = replace(config, delay=delay, reordering=0)
        link.send(packet(number), now)
    arrivals = link.arrivals(math.inf)
    sequences = [arrived.sequence for _, arrived in arrivals]
    assert sequences == sorted(sequences)
    assert [at for at, _ in arrivals] == sorted(at for at, _ in arrivals)


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.001, 0.02, 1.0]), st.integers(28, 1500)), max_size=60),
    st.sampled_from([1_000.0, 30_000.0, 1e6]),
    st.sampled_from([0, 1_500, 4_000]),
    st.sampled_from([0.0, 0.05]),
)
def test_a_bottleneck_lets_no_more_through_than_its_rate_and_holds_no_more_than_its_queue(
    packets: list[tuple[float, int]], rate: float, queue: int, delay: float
) -> None:
    link = Link[Packet](LinkConfig(delay=delay, rate_bytes_per_second=rate, max_queue_bytes=queue), Random(1))
    now, sent_at = 0.0, list[float]()
    for number, (gap, size) in enumerate(packets):
        now += gap
        waiting = link.queued_bytes(now)
        fate = link.send(packet(number, size), now)
        assert (fate is Fate.DROPPED) == (waiting > 0 and waiting + size > queue)
        assert link.queued_bytes(now) <= max(queue, 1500) + 1e-6
        sent_at.append(now)
    free_at = 0.0
    for at, arrived in link.arrivals(math.inf):
        # Nobody waits longer than the packets before it take, and nobody overtakes them.
        free_at = max(free_at, sent_at[arrived.sequence]) + arrived.size / rate
        assert at == pytest.approx(free_at + delay)


def test_a_bottleneck_carries_its_rate_while_it_is_saturated() -> None:
    link = Link[Packet](LinkConfig(rate_bytes_per_second=1e6, max_queue_bytes=30_000), Random(1))
    for number in range(20_000):
        link.send(packet(number, 1_000), number * 0.0005)  # twice the rate, for 10 s
    assert sum(arrived.size for _, arrived in link.arrivals(10)) == pytest.approx(1e7, rel=0.001)
    assert link.counters.dropped == pytest.approx(10_000, abs=40)


@given(configs, gaps, st.integers(0, 5))
def test_the_same_seed_gives_the_same_fate(config: LinkConfig, gaps: list[float], seed: int) -> None:
    links = [Link[Packet](config, Random(seed)) for _ in range(2)]
    for link in links:
        send_all(link, gaps)
    assert links[0].counters == links[1].counters
    assert links[0].arrivals(math.inf) == links[1].arrivals(math.inf)


@given(configs, gaps, st.integers(0, 5))
def test_arrivals_come_at_the_deadline_and_not_before(
    config: LinkConfig, gaps: list[float], seed: int
) -> None:
    link = Link[Packet](config, Random(seed))
    send_all(link, gaps)
    while (deadline := link.deadline()) is not None:
        assert link.arrivals(math.nextafter(deadline, -math.inf)) == []
        assert all(at == deadline for at, _ in link.arrivals(deadline))
    assert link.in_flight == 0


@pytest.mark.parametrize("loss", [0.01, 0.05, 0.5])
def test_the_loss_rate_is_the_configured_one(loss: float) -> None:
    link, packets = Link[Packet](LinkConfig(loss=loss), Random(1)), 50_000
    send_all(link, [0.001] * packets)
    deviation = math.sqrt(packets * loss * (1 - loss))
    assert abs(link.counters.lost - packets * loss) < 3 * deviation


def test_a_duplicated_packet_arrives_twice() -> None:
    link = Link[Packet](LinkConfig(duplication=0.5), Random(1))
    send_all(link, [0.001] * 1000)
    sequences = [arrived.sequence for _, arrived in link.arrivals(math.inf)]
    assert len(sequences) == 1000 + link.counters.duplicated
    assert len(set(sequences)) == 1000
    assert 400 < link.counters.duplicated < 600


def test_a_reordered_packet_is_overtaken() -> None:
    link = Link[Packet](LinkConfig(delay=0.05, reordering=0.1, reordering_delay=0.01), Random(1))
    send_all(link, [0.001] * 1000)
    sequences = [arrived.sequence for _, arrived in link.arrivals(math.inf)]
    overtaken = sum(earlier > later for earlier, later in itertools.pairwise(sequences))
    assert 0 < overtaken <= link.counters.reordered
    assert sorted(sequences) == list(range(1000))


def test_jitter_has_the_configured_mean_and_deviation_and_wanders_slowly() -> None:
    link = Link[Packet](LinkConfig(delay=0.1, jitter=0.01), Random(1))
    sent_at = send_all(link, [2.0] * 5000)
    delays = [at - sent_at[arrived.sequence] for at, arrived in link.arrivals(math.inf)]
    mean = sum(delays) / len(delays)
    deviation = math.sqrt(sum((delay - mean) ** 2 for delay in delays) / len(delays))
    assert mean == pytest.approx(0.1, abs=0.001)
    assert deviation == pytest.approx(0.01, rel=0.1)

    link = Link[Packet](LinkConfig(delay=0.1, jitter=0.01), Random(1))
    sent_at = send_all(link, [0.001] * 5000)
    delays = [at - sent_at[arrived.sequence] for at, arrived in link.arrivals(math.inf)]
    assert max(abs(a - b) for a, b in itertools.pairwise(delays)) < 0.005


def test_a_cut_link_delivers_what_is_in_flight_and_nothing_else() -> None:
    link = Link[Packet](LinkConfig(delay=1), Random(1))
    link.send(packet(0), 0)
    link.cut()
    link.send(packet(1), 0.5)
    link.heal()
    link.send(packet(2), 0.6)
    assert [arrived.sequence for _, arrived in link.arrivals(math.inf)] == [0, 2]
    assert link.counters.cut == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"delay": -1.0},
        {"jitter": math.nan},
        {"loss": 1.1},
        {"duplication": -0.1},
        {"reordering_delay": math.inf},
        {"rate_bytes_per_second": 0.0},
        {"rate_bytes_per_second": -1.0},
        {"max_queue_bytes": -1},
        {"max_queue_delay": -1.0},
        {"jitter": -0.1},
        {"loss": math.nan},
        {"corruption": 2.0},
        {"mtu": 67},
        {"rate_trace": RateSteps(steps=(RateStep(1, 1),)), "rate_bytes_per_second": 1.0},
    ],
)
def test_impossible_configurations_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LinkConfig(**wrong)


@given(configs)
def test_a_configuration_travels_as_json(config: LinkConfig) -> None:
    assert msgspec.json.decode(msgspec.json.encode(config), type=LinkConfig) == config
    assert hash(config) == hash(replace(config))


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('{"dealy": 1}', "dealy"),
        ('{"loss": {"model": "bursts", "loss": 0.1, "mean_burst": 0.5}}', r"mean_burst.*\$\.loss"),
        ('{"loss": {"model": "rain"}}', r"rain.*\$\.loss\.model"),
        ('{"rules": [{"classes": ["dtls"]}]}', r"\$\.rules\[0\]\.classes"),
        ('{"delay": -1}', "delay"),
    ],
)
def test_what_is_no_configuration_is_said_where(text: str, where: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=where):
        msgspec.json.decode(text, type=LinkConfig)


def test_a_part_that_a_new_configuration_leaves_goes_on() -> None:
    config = LinkConfig(loss=LossPattern(pattern="..x"), rules=(Rule(skip=4, limit=1),))
    link = Link[Packet](config, Random(1))
    for number in range(9):
        link.config = replace(config, delay=number / 1000)
        link.send(packet(number), 0.0)
    # Rules come first: the fifth packet never meets the pattern.
    assert [arrived.sequence for _, arrived in link.arrivals(math.inf)] == [0, 1, 3, 5, 7, 8]


def test_a_part_that_was_taken_away_begins_anew() -> None:
    config = LinkConfig(rules=(Rule(limit=1),))
    link = Link[Packet](config, Random(1))
    fates = [link.send(packet(0), 0.0), link.send(packet(1), 0.0)]
    link.config = LinkConfig()
    link.config = config
    fates += [link.send(packet(2), 0.0), link.send(packet(3), 0.0)]
    assert fates == [Fate.FILTERED, Fate.CARRIED] * 2


def test_a_packet_longer_than_the_mtu_vanishes() -> None:
    link = Link[Packet](LinkConfig(mtu=1400), Random(1))
    assert link.send(packet(0, 1400), 0.0) is Fate.CARRIED
    assert link.send(packet(1, 1401), 0.0) is Fate.OVERSIZED
    assert link.counters.oversized == 1


def test_corruption_is_loss_unless_the_checksum_is_repaired() -> None:
    link = Link[Packet](LinkConfig(corruption=1), Random(1))
    assert link.send(packet(0, 1000), 0.0) is Fate.CORRUPTED
    link.config = LinkConfig(corruption=1, corruption_is_repaired=True)
    sent = packet(1, 1000)
    assert link.send(sent, 0.0) is Fate.CARRIED
    ((_, arrived),) = link.arrivals(1.0)
    assert isinstance(sent.payload, bytes)
    assert isinstance(arrived.payload, bytes)
    assert sum((a ^ b).bit_count() for a, b in zip(sent.payload, arrived.payload, strict=True)) == 1
    assert (link.counters.corrupted, link.counters.damaged) == (1, 1)


def test_a_reconfigured_path_steps_at_once_and_loses_packets_meanwhile() -> None:
    config = LinkConfig(delay=0.05, reconfiguration=Reconfiguration(period=15, spread=0.01, outage=0.5))
    link, sent_at = Link[Packet](config, Random(1)), dict[int, float]()
    for number in range(6000):  # ten minutes
        sent_at[number] = number / 10
        link.send(packet(number), number / 10)
    assert link.counters.lost == 40 * 5
    by_period: dict[int, set[float]] = {}
    for at, arrived in link.arrivals(math.inf):
        started = sent_at[arrived.sequence]
        by_period.setdefault(int(started / 15), set()).add(round(at - started, 6))
    assert all(len(delays) == 1 for delays in by_period.values())
    delays = sorted(delay for (delay,) in by_period.values())
    assert 0.04 <= delays[0] < 0.042
    assert 0.058 < delays[-1] <= 0.06
