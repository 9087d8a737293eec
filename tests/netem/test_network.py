"""The network machine: hosts, links and the order of arrivals."""

import itertools
import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.netem import Endpoint, Fate, Kind, LinkConfig, Network, Packet, QueueDiscipline, TraceEntry
from rtcmesh.netem.virtual.ports import FIRST_EPHEMERAL, LAST_PORT, Ports

HOSTS = ("a", "b", "c")

links = st.builds(
    LinkConfig,
    delay=st.sampled_from([0.0, 0.01, 0.05]),
    jitter=st.sampled_from([0.0, 0.01]),
    loss=st.sampled_from([0.0, 0.2]),
    duplication=st.sampled_from([0.0, 0.2]),
    reordering=st.sampled_from([0.0, 0.2]),
)
pairs = st.tuples(st.sampled_from(HOSTS), st.sampled_from(HOSTS))
traffic = st.lists(st.tuples(pairs, st.sampled_from([0.0, 0.005, 0.5])), max_size=80)
Traffic = list[tuple[tuple[str, str], float]]


def address(host: str) -> str:
    return f"10.0.0.{ord(host)}"


def build(link: LinkConfig, trace: list[TraceEntry] | None = None, seed: int = 1) -> Network:
    network = Network(seed=seed, link=link, trace=None if trace is None else trace.append)
    for host in HOSTS:
        network.attach(host, [address(host)])
    return network


def send(network: Network, source: str, destination: str, now: float) -> None:
    ends = Endpoint(address(source), 1), Endpoint(address(destination), 2)
    network.send(source, Kind.UDP, *ends, b"payload", now=now)


def run(network: Network, traffic: Traffic) -> list[tuple[float, Packet]]:
    """Send the traffic, take every packet out at its deadline, and return when each came."""
    now, arrived = 0.0, list[tuple[float, Packet]]()

    def advance(until: float) -> None:
        while (deadline := network.deadline()) is not None and deadline <= until:
            arrived.extend((deadline, packet) for _, packet in network.packets_due(deadline))

    for (source, destination), gap in traffic:
        now += gap
        advance(now)
        send(network, source, destination, now)
    advance(math.inf)
    return arrived


@given(links, traffic, st.integers(0, 3))
def test_the_same_seed_gives_the_same_trace(link: LinkConfig, traffic: Traffic, seed: int) -> None:
    traces: list[list[TraceEntry]] = [[], []]
    for trace in traces:
        run(build(link, trace, seed), traffic)
    assert traces[0] == traces[1]


@given(links, traffic)
def test_traffic_of_one_pair_does_not_change_the_fortune_of_another(
    link: LinkConfig, traffic: Traffic
) -> None:
    alone: list[TraceEntry] = []
    together: list[TraceEntry] = []
    times = [gap for _, gap in traffic]
    run(build(link, alone), [(("a", "b"), gap) for gap in times])
    network, now = build(link, together), 0.0
    for (source, destination), gap in traffic:
        now += gap
        if (source, destination) != ("a", "b"):
            send(network, source, destination, now)
        send(network, "a", "b", now)
    network.packets_due(math.inf)

    def fortune(trace: list[TraceEntry]) -> list[tuple[float, str]]:
        ends = (address("a"), address("b"))
        mine = [entry for entry in trace if (entry.source.address, entry.destination.address) == ends]
        return sorted((round(entry.time, 9), entry.fate) for entry in mine)

    assert fortune(alone) == fortune(together)


@given(links, traffic)
def test_packets_come_in_order_of_time_then_of_sequence_however_late_they_are_asked_for(
    link: LinkConfig, traffic: Traffic
) -> None:
    in_time = run(build(link), traffic)
    assert [at for at, _ in in_time] == sorted(at for at, _ in in_time)
    for (at, packet), (next_at, following) in itertools.pairwise(in_time):
        assert at < next_at or packet.sequence <= following.sequence

    network, now = build(link), 0.0
    for (source, destination), gap in traffic:
        now += gap
        send(network, source, destination, now)
    assert [packet for _, packet in network.packets_due(math.inf)] == [packet for _, packet in in_time]
    assert network.deadline() is None


@given(links, traffic)
def test_every_packet_is_accounted_for(link: LinkConfig, traffic: Traffic) -> None:
    trace: list[TraceEntry] = []
    network = build(link, trace)
    arrived = run(network, traffic)
    counters = [link.counters for link in network.links().values()]
    assert sum(counter.sent for counter in counters) == len(traffic)
    assert sum(counter.delivered for counter in counters) == len(arrived)
    assert sum(entry.fate == "delivered" for entry in trace) == len(arrived)


def test_a_partition_can_be_one_way_and_healed() -> None:
    network = build(LinkConfig())
    network.link("a", "b").cut()
    send(network, "a", "b", 0)
    send(network, "b", "a", 0)
    network.link("a", "b").heal()
    send(network, "a", "b", 0)
    assert [packet.sequence for _, packet in network.packets_due(0)] == [1, 2]


def test_a_host_reaches_itself_perfectly_unless_configured() -> None:
    network = build(LinkConfig(loss=1))
    send(network, "a", "a", 0)
    assert len(network.packets_due(0)) == 1
    network.link("a", "a").config = LinkConfig(loss=1)
    send(network, "a", "a", 0)
    assert network.packets_due(0) == []


def test_packets_to_nowhere_are_counted() -> None:
    trace: list[TraceEntry] = []
    network = build(LinkConfig(), trace)
    network.send("a", Kind.UDP, Endpoint(address("a"), 1), Endpoint("192.0.2.1", 2), b"", now=0)
    assert network.unroutable == 1
    assert [entry.fate for entry in trace] == ["unroutable"]
    assert network.deadline() is None


def test_an_address_belongs_to_one_host() -> None:
    with pytest.raises(ValueError, match="belongs to a"):
        build(LinkConfig()).attach("d", [address("a")])


@pytest.mark.parametrize(
    ("kind", "ip", "size"),
    [(Kind.UDP, "10.0.0.1", 28), (Kind.UDP, "::1", 48), (Kind.TCP, "10.0.0.1", 40), (Kind.TCP, "::1", 60)],
)
def test_sizes_are_ip_bytes(kind: Kind, ip: str, size: int) -> None:
    packet = Packet(0, kind, Endpoint(ip, 1), Endpoint(ip, 2), b"12345")
    assert packet.size == size + 5


def test_ports_are_given_out_in_order_and_run_out() -> None:
    ports = Ports()
    ports.claim(Kind.UDP, ["10.0.0.1"], FIRST_EPHEMERAL)
    given = [ports.claim(Kind.UDP, ["10.0.0.1"]) for _ in range(FIRST_EPHEMERAL, LAST_PORT)]
    assert given == list(range(FIRST_EPHEMERAL + 1, LAST_PORT + 1))
    with pytest.raises(OSError, match="every ephemeral port"):
        ports.claim(Kind.UDP, ["10.0.0.1", "10.0.0.2"])
    assert ports.claim(Kind.TCP, ["10.0.0.1"]) == FIRST_EPHEMERAL
    ports.release(Kind.UDP, ["10.0.0.1"], given[5])
    assert ports.claim(Kind.UDP, ["10.0.0.1"]) == given[5]


@pytest.mark.parametrize("queue", QueueDiscipline)
@given(traffic=traffic)
def test_the_trace_tells_the_end_of_every_packet_whatever_the_queue(
    queue: QueueDiscipline, traffic: Traffic
) -> None:
    link = LinkConfig(rate_bytes_per_second=500, max_queue_bytes=120, queue=queue)
    trace: list[TraceEntry] = []
    network = build(link, trace)
    run(network, [(pair, min(gap, 0.05)) for pair, gap in traffic])
    fates = Counter(entry.fate for entry in trace)
    counters = [each.counters for each in network.links().values()]
    for fate in (Fate.DROPPED, Fate.SHED):
        assert fates[fate.value] == sum(getattr(each, fate.value) for each in counters)
    assert fates["delivered"] + fates["dropped"] + fates["shed"] == len(traffic)
