"""How large a packet may be (RFC 8899)."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.peer.sctp import Role, SctpConfig
from rtcmesh.peer.sctp.chunks import ChunkType
from rtcmesh.peer.sctp.mtu import ETHERNET_SIZE, PRECISION, RAISE_INTERVAL, MtuSearch
from support.sctp import Impairments, Network, seal


def searched(limit: int, carries: int) -> MtuSearch:
    search = MtuSearch(1188, limit, Random(1), 0.0)
    now = 0.0
    for _ in range(100):
        if search.deadline() > 300:
            return search
        now = search.deadline()
        beat = search.handle_timeout(1.0, now)
        if beat is not None and beat.size <= carries:
            assert search.answered(beat, now)
    raise AssertionError("the search never ends")


@given(st.integers(1188, 16_384), st.integers(1188, 20_000))
def test_it_finds_what_the_path_carries(limit: int, carries: int) -> None:
    limit &= ~3
    size = searched(limit, carries).size
    assert size <= min(limit, carries)
    assert size > min(limit, carries) - PRECISION - 4


def test_it_tries_again_after_a_while() -> None:
    search = searched(8900, 1300)
    beat = search.handle_timeout(1.0, search.deadline())
    assert beat is not None
    assert beat.size == ETHERNET_SIZE


def test_two_probes_are_enough_where_everything_passes() -> None:
    search = MtuSearch(1188, 15_000, Random(1), 0.0)
    sizes: list[int] = []
    while beat := search.handle_timeout(1.0, 0.0):
        sizes.append(beat.size)
        search.answered(beat, 0.0)
    assert sizes == [ETHERNET_SIZE, 15_000]


def test_an_answer_that_was_not_asked_for_proves_nothing() -> None:
    search = MtuSearch(1188, 8900, Random(1), 0.0)
    beat = search.handle_timeout(1.0, 0.0)
    assert beat is not None
    assert not search.answered(beat._replace(size=8900), 0.1)
    assert not search.answered(beat._replace(nonce=beat.nonce ^ 1), 0.1)
    assert search.size == 1188


@pytest.mark.parametrize(
    ("carries", "expected"), [(1188, 1188), (1440, 1440), (9000, 8900), (20_000, 15_000)]
)
def test_an_association_raises_its_packets_to_what_the_path_carries(carries: int, expected: int) -> None:
    network = Network(
        1,
        Impairments(max_packet_bytes=carries),
        client=SctpConfig(role=Role.CLIENT, max_packet_bytes=15_000),
        server=SctpConfig(role=Role.SERVER),
    )
    network.connect(0)
    network.run(60)
    assert expected - PRECISION <= network.client.association.stats().mtu <= carries
    assert network.server.association.stats().mtu == 1188
    network.client.sent = []
    for _ in range(20):
        network.client.association.send(0, b"x" * 65_536, network.clock.now)
    network.client.drain()
    network.run(10)
    assert len(network.server.messages) == 20
    assert max(map(len, network.client.sent)) == network.client.association.stats().mtu


def test_a_path_that_carries_less_from_now_on_is_noticed() -> None:
    network = Network(
        1,
        Impairments(),
        client=SctpConfig(role=Role.CLIENT, max_packet_bytes=8900),
        server=SctpConfig(role=Role.SERVER),
    )
    network.connect(0)
    network.run(5)
    assert network.client.association.stats().mtu == 8900
    assert network.client.pipe is not None
    network.client.pipe.impairments = Impairments(max_packet_bytes=1300)
    for index in range(100):
        network.client.association.send(0, bytes([index]) * 60, network.clock.now)
        if index % 10 == 9:
            network.client.drain()
            network.run(0.05)
    network.client.association.send(0, b"x" * 50_000, network.clock.now)
    network.client.drain()
    network.run(20)
    assert len(network.server.messages) >= 100
    network.run(RAISE_INTERVAL + 10)
    assert network.client.association.stats().mtu < 1300


def test_a_hole_for_large_packets_is_noticed_though_small_ones_arrive_all_the_time() -> None:
    network = Network(
        1,
        Impairments(),
        client=SctpConfig(role=Role.CLIENT, max_packet_bytes=8900),
        server=SctpConfig(role=Role.SERVER),
    )
    network.connect(0, 2)
    network.run(5)
    assert network.client.pipe is not None
    network.client.pipe.impairments = Impairments(max_packet_bytes=1300)
    start = network.clock.now
    for _ in range(50):
        network.client.association.send(0, b"x" * 1000, network.clock.now)
    received = 0
    while len([message for message in network.server.messages if message.channel_id == 0]) < 50:
        network.client.association.send(2, b"tick", network.clock.now)
        network.client.drain()
        network.run(0.02)
        received = len([message for message in network.server.messages if message.channel_id == 2])
        assert network.clock.now - start < 3
    assert received > 5
    assert network.client.association.stats().mtu == 1188


@pytest.mark.parametrize("loss", [0.1, 0.3])
def test_what_is_lost_by_chance_is_no_hole(loss: float) -> None:
    network = Network(
        1,
        Impairments(),
        client=SctpConfig(role=Role.CLIENT, max_packet_bytes=8900),
        server=SctpConfig(role=Role.SERVER),
    )
    network.connect(0)
    network.run(5)
    assert network.client.pipe is not None
    network.client.pipe.impairments = Impairments(loss=loss)
    for _ in range(200):
        network.client.association.send(0, b"x" * 20_000, network.clock.now)
    network.client.drain()
    assert network.run(120, lambda: len(network.server.messages) == 200)
    assert network.client.association.stats().mtu == 8900


@pytest.mark.parametrize("ours", [False, True])
def test_nothing_is_probed_where_a_relay_may_cut_packets_or_towards_other_stacks(ours: bool) -> None:
    network = Network(1, client=SctpConfig(role=Role.CLIENT, max_packet_bytes=8900))
    if ours:
        network.client.association.path_selected(0.0, may_grow=False)
    else:
        pipe = network.server.pipe
        assert pipe is not None
        send = pipe.send
        pipe.send = lambda packet, deliver: send(without_our_parameter(packet), deliver)  # type: ignore[method-assign]
    network.connect(0)
    network.client.sent = []
    network.run(20)
    assert network.client.association.stats().mtu == 1188
    assert max(map(len, network.client.sent), default=0) <= 1188


@given(st.lists(st.booleans(), max_size=6))
def test_packets_are_small_behind_a_relay_and_grow_on_a_direct_path_that_comes_later(
    paths: list[bool],
) -> None:
    network = Network(1, client=SctpConfig(role=Role.CLIENT, max_packet_bytes=8900))
    network.connect(0)
    sent = 0
    for may_grow in paths:
        network.client.association.path_selected(network.clock.now, may_grow=may_grow)
        for _ in range(40):
            network.client.association.send(0, bytes([sent]) * 500, network.clock.now)
            sent += 1
        network.client.drain()
        network.run(5)
        assert network.client.association.stats().mtu == (8900 if may_grow else 1188)
    assert [message.data[0] for message in network.server.messages] == list(range(sent))


def without_our_parameter(packet: bytes) -> bytes:
    """Return an INIT ACK as of an end that is not of this package; anything else as it is."""
    known, unknown = (0xBF52).to_bytes(2, "big"), (0xBF53).to_bytes(2, "big")
    if packet[12] != ChunkType.INIT_ACK:
        return packet
    body = packet[12:].replace(known, unknown, 1)
    tag = int.from_bytes(packet[4:8], "big")
    return seal(body, tag)


def test_what_was_sent_in_larger_packets_is_sent_again_in_smaller_ones() -> None:
    network = Network(
        1,
        Impairments(),
        client=SctpConfig(role=Role.CLIENT, max_packet_bytes=8900),
        server=SctpConfig(role=Role.SERVER),
    )
    network.connect(0)
    network.run(5)
    assert network.client.pipe is not None
    network.client.pipe.impairments = Impairments(max_packet_bytes=1300)
    for index in range(200):
        network.client.association.send(0, bytes([index]) * 500, network.clock.now)
    network.client.drain()
    assert network.run(20, lambda: len(network.server.messages) == 200)
    assert [message.data[0] for message in network.server.messages] == list(range(200))
