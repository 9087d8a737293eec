"""What is lost is noticed soon, and what is not lost is left alone (RFC 8985, RFC 9002, RFC 9260 section 6)."""

from __future__ import annotations

import pytest

from rtcmesh.peer.bench.congestion.simulation import Simulation
from rtcmesh.peer.sctp import CongestionControl, Event, Role, SctpConfig
from rtcmesh.peer.sctp.chunks import ChunkType
from rtcmesh.peer.sctp.copies import DOUBTED_PACKETS, MAX_COPIED_BYTES
from support.sctp import Bottleneck, Bulk, Clock, End, Impairments, Network, Puppet, heard

SACK = ChunkType.SACK


def connected(seed: int = 1, path: Impairments | None = None) -> Network:
    network = Network(seed, path)
    network.connect(0)
    return network


def bulk_over(path: Impairments) -> Bulk:
    """Return a flow over 10 Mbit/s with a buffer of a round trip."""
    clock = Clock()
    bottleneck = Bottleneck(clock, 10e6, 10e6 / 8 * 2 * path.delay)
    return Bulk(Network(1, path, clock=clock, bottleneck=bottleneck))


def send(end: End, *messages: bytes) -> None:
    for message in messages:
        end.association.send(0, message, end._clock.now)
    end.drain()


def lose_one(network: Network, message: bytes) -> None:
    pipe = network.client.pipe
    assert pipe is not None
    before, pipe.impairments = pipe.impairments, Impairments(loss=1)
    send(network.client, message)
    pipe.impairments = before


def test_one_that_is_lost_in_the_midst_is_sent_again_within_two_round_trips() -> None:
    network = connected()
    start = network.clock.now
    lose_one(network, b"x" * 1100)
    send(network.client, *[b"y" * 1100] * 5)
    assert network.run(1, lambda: len(network.server.messages) == 6)
    assert network.clock.now - start < 0.045


def test_the_last_one_is_sent_again_after_a_probe_timeout() -> None:
    network = connected()
    start = network.clock.now
    lose_one(network, b"x")
    assert network.run(1, lambda: bool(network.server.messages))
    assert network.clock.now - start < 0.12


def test_packets_that_overtake_one_another_are_sent_once() -> None:
    bulk = bulk_over(Impairments(delay=0.02, reordering=0.3, jitter=0.01))
    network = bulk.network
    network.run(2)
    before = network.client.association.stats()
    network.run(5)
    after = network.client.association.stats()
    assert bulk.received > 1_000_000
    sent = after.packets_sent - before.packets_sent
    assert after.packets_retransmitted - before.packets_retransmitted < 0.02 * sent


def ping_pong(seed: int, loss: float, count: int) -> list[float]:
    """Return how long each of these round trips took."""
    network = connected(seed, Impairments(delay=0.025, loss=loss))
    client, server = network.client, network.server

    def answer(event: Event) -> None:
        for message in heard(event):
            server.association.send(0, message.data, network.clock.now)

    server.on_event = answer
    times: list[float] = []
    for number in range(count):
        start = network.clock.now
        send(client, number.to_bytes(2, "big"))
        assert network.run(20, lambda: len(client.messages) == len(times) + 1)
        times.append(network.clock.now - start)
    return sorted(times)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_conversation_goes_on_when_packets_are_lost(seed: int) -> None:
    """A lone message is copied after a quarter of a round trip, and sent again, twice, after 1.4 of them."""
    times = ping_pong(seed, 0.05, 1000)
    assert times[500] == pytest.approx(0.05, abs=0.001)
    assert times[990] < 0.08
    assert times[-1] < 0.3
    times = ping_pong(seed, 0.1, 500)
    assert times[495] < 0.2
    assert times[-1] < 1.0


def lone_copies(network: Network, count: int, message: bytes = b"alone") -> int:
    """Send so many messages, each alone on its way, and return how many copies of them left."""
    network.client.sent = []
    for number in range(count):
        send(network.client, message)
        assert network.run(5, lambda: not network.client.association.stats().bytes_in_flight), number
        network.run(0.1)
    return sum(message in packet for packet in network.client.sent) - count


def test_a_clean_path_carries_few_copies() -> None:
    network = connected()
    assert lone_copies(network, 200) == DOUBTED_PACKETS
    assert lone_copies(network, 100) == 0
    assert len(network.server.messages) == 300
    established = network.client.association._established
    assert established is not None
    assert established.sender.recovery._reordering_steps == 0


def test_a_path_that_has_lost_something_is_doubted_again() -> None:
    network = connected()
    lone_copies(network, 100)
    lose_one(network, b"lost")
    assert network.run(1, lambda: len(network.server.messages) == 101)
    network.run(1)
    assert lone_copies(network, 200) == DOUBTED_PACKETS


def test_a_loss_that_a_copy_hides_is_noticed() -> None:
    network = connected()
    lone_copies(network, 50)
    start = network.clock.now
    lose_one(network, b"lost")
    assert network.run(1, lambda: len(network.server.messages) == 51)
    assert network.clock.now - start < 0.03
    network.run(1)
    assert lone_copies(network, 200) == DOUBTED_PACKETS + 1


def test_what_is_large_or_unreliable_or_answered_soon_is_not_copied() -> None:
    network = connected()
    assert lone_copies(network, 5, b"x" * (MAX_COPIED_BYTES + 1)) == 0
    channel = network.client.association.open_channel(network.clock.now, max_retransmits=0)
    network.run(1)
    network.client.sent = []
    network.client.association.send(channel, b"perhaps", network.clock.now)
    network.client.drain()
    network.run(1)
    assert sum(b"perhaps" in packet for packet in network.client.sent) == 1
    assert lone_copies(connected(path=Impairments(delay=0.002)), 5) == 0


def test_only_the_last_one_is_copied() -> None:
    network = connected()
    network.client.sent = []
    send(network.client, b"first")
    network.run(0.001)
    send(network.client, b"second")
    network.run(1)
    assert sum(b"first" in packet for packet in network.client.sent) == 1
    assert sum(b"second" in packet for packet in network.client.sent) == 2


def test_a_packet_that_is_sent_twice_is_taken_once_and_is_no_sign_of_reordering() -> None:
    network = connected()
    lone_copies(network, DOUBTED_PACKETS)
    network.client.sent = []
    lose_one(network, b"lost")
    assert network.run(1, lambda: len(network.server.messages) > DOUBTED_PACKETS)
    network.run(1)
    assert [message.data for message in network.server.messages[DOUBTED_PACKETS:]] == [b"lost"]
    assert sum(b"lost" in packet for packet in network.client.sent) == 3
    established = network.client.association._established
    assert established is not None
    assert established.sender.recovery._reordering_steps == 0
    assert established.sender.recovery.in_flight == 0


@pytest.mark.parametrize("control", CongestionControl)
@pytest.mark.parametrize("seed", [1, 2])
def test_bulk_does_not_stall_for_a_second_though_a_tenth_is_lost(
    seed: int, control: CongestionControl
) -> None:
    simulation = Simulation(bits_per_second=20e6, round_trip=0.05, buffer_round_trips=1, loss=0.1, seed=seed)
    flow = simulation.add(control)
    simulation.run(3)
    flow.forget_gaps(simulation.now)
    simulation.run(15)
    assert 0 < flow.longest_gap < 1


def sacks(of: list[bytes]) -> int:
    return sum(packet[12] == SACK for packet in of)


@pytest.mark.parametrize(("count", "expected"), [(64, 8), (1, 1)])
def test_ours_acknowledge_every_eighth_packet_or_soon(count: int, expected: int) -> None:
    network = connected(1, Impairments(delay=0.01))
    send(network.client, b"first")
    network.run(1)
    network.server.sent = []
    assert network.client.association._established is not None
    network.client.association._established.sender.recovery.congestion.pacing_rate = None
    network.client.association._established.sender.recovery.congestion.window = 1_000_000
    send(network.client, *[b"x" * 1100] * count)
    network.run(0.035)
    assert sacks(network.server.sent) == expected


def test_others_are_acknowledged_every_second_packet_and_each_while_something_is_missing() -> None:
    network = Network(1, client=SctpConfig(role=Role.CLIENT, interleaving=False))
    network.connect(0)
    remote = Puppet(network, network.client)
    established = network.client.association._established
    assert established is not None
    established._ours = established.inbound.receipts._ours = False
    established.inbound.receipts._packets_per_sack = 2
    for _ in range(8):
        remote.say(remote.data(b"x", flags=7))
    network.run(0.011)
    assert len([kind for kind, _ in remote.chunks() if kind == SACK]) == 4
    remote.next_tsn += 1
    for _ in range(8):
        remote.say(remote.data(b"x", flags=7))
    network.run(0.011)
    assert len([kind for kind, _ in remote.chunks() if kind == SACK]) == 8


def test_an_acknowledgement_travels_with_data() -> None:
    network = connected()
    send(network.client, b"ping")
    network.run(0.0101)
    network.server.sent = []
    send(network.server, b"pong")
    (packet,) = network.server.sent
    assert packet[12] == SACK
    assert b"pong" in packet


def test_a_path_that_is_gone_for_a_while_costs_little_more_than_that() -> None:
    bulk = bulk_over(Impairments(delay=0.01))
    network = bulk.network
    network.run(2)
    pipes = [end.pipe for end in (network.client, network.server)]
    for pipe in pipes:
        assert pipe is not None
        pipe.impairments = Impairments(loss=1)
    network.run(1)
    for pipe in pipes:
        assert pipe is not None
        pipe.impairments = Impairments()
    before = bulk.received
    network.run(2)
    assert bulk.received - before > 1_000_000


def test_bulk_is_sent_in_packets_of_equal_size() -> None:
    network = bulk_over(Impairments(delay=0.01)).network
    network.client.sent = []
    network.run(1)
    sizes = [
        len(packet) for packet in network.client.sent if packet[12] in (ChunkType.DATA, ChunkType.I_DATA)
    ]
    full = sum(size == 1188 for size in sizes)
    assert full > 0.97 * len(sizes)
