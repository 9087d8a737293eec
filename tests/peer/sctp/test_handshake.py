"""How two ends become one association, or do not."""

from __future__ import annotations

import pytest

from rtcmesh.peer.sctp import (
    AssociationClosed,
    AssociationConnected,
    AssociationRestarted,
    ChannelClosed,
    ChannelOpened,
    ChannelWritable,
    CloseReason,
    MessagesReceived,
    Role,
    SctpConfig,
)
from rtcmesh.peer.sctp.chunks import ChunkType, Init, encode_chunk, encode_init, encode_sack
from rtcmesh.peer.sctp.packet import HEADER_BYTES
from rtcmesh.peer.sctp.parameters import Parameter
from support.sctp import Clock, End, Impairments, Network, seal

CLIENT, SERVER = (SctpConfig(role=role) for role in Role)


def chunk_types(packets: list[bytes]) -> list[int]:
    return [packet[HEADER_BYTES] for packet in packets]


def connected(end: End) -> bool:
    return AssociationConnected() in end.events


def test_it_takes_two_round_trips_at_the_end_that_asks() -> None:
    network = Network(1, Impairments(delay=0.05))
    network.client.do(lambda association, now: association.connect(now))
    assert network.run(1, lambda: connected(network.client))
    assert network.clock.now == pytest.approx(0.2)
    assert network.client.association.stats().smoothed_round_trip_time == pytest.approx(0.1)


def test_both_may_ask_at_once() -> None:
    network = Network(1)
    for end in (network.client, network.server):
        end.do(lambda association, now: association.connect(now))
    network.run(1)
    assert network.client.events == network.server.events == [AssociationConnected()]


@pytest.mark.parametrize("loss", [0.2, 0.4])
@pytest.mark.parametrize("seed", range(10))
def test_what_is_lost_is_asked_again(seed: int, loss: float) -> None:
    network = Network(seed, Impairments(loss=loss))
    for end in (network.client, network.server):
        end.do(lambda association, now: association.connect(now))
    assert network.run(30, lambda: connected(network.client) and connected(network.server))


def test_data_arrives_though_the_cookie_ack_was_lost() -> None:
    network = Network(1)
    client, server = network.client, network.server
    assert server.pipe is not None
    server.association.open_channel(0, negotiated_id=0)
    client.association.open_channel(0, negotiated_id=0)
    client.do(lambda association, now: association.connect(now))
    network.run(0.035)
    assert connected(server)
    server.pipe.impairments = Impairments(loss=1)
    server.drain()
    server.pipe.impairments = Impairments()
    server.do(lambda association, now: association.send(0, b"early", now))
    network.run(0.05)
    assert [type(event) for event in client.events] == [AssociationConnected, ChannelOpened, MessagesReceived]


def test_an_end_that_never_answers_is_given_up() -> None:
    clock = Clock()
    end = End(clock, SctpConfig(role=Role.CLIENT, max_handshake_retransmissions=3), 1)
    end.sent = []
    end.do(lambda association, now: association.connect(now))
    clock.run(60)
    assert end.events == [
        AssociationClosed(CloseReason.HANDSHAKE_TIMEOUT, "the remote end did not answer"),
    ]
    assert chunk_types(end.sent) == [ChunkType.INIT] * 4


def test_a_cookie_is_forgotten_by_the_end_that_made_it_until_it_comes_back() -> None:
    clock = Clock()
    end = End(clock, SERVER, 1)
    end.sent = []
    for tag in range(1, 1000):
        end.receive([seal(encode_init(ChunkType.INIT, Init(tag, 100_000, 10, 10, 5)), 0)])
    assert chunk_types(end.sent) == [ChunkType.INIT_ACK] * 999
    assert not end.events
    assert end.association.deadline() is None


def recorded_handshake(seed: int = 1) -> tuple[Network, list[bytes]]:
    """Return an established network, and the packets that the client sent for it."""
    network = Network(seed)
    network.client.sent = []
    network.connect()
    return network, [packet for packet in network.client.sent if packet[HEADER_BYTES] != ChunkType.SACK]


def test_a_replayed_cookie_changes_nothing() -> None:
    network, (_, cookie_echo) = recorded_handshake()
    server = network.server
    server.sent = []
    for _ in range(3):
        server.receive([cookie_echo])
    assert chunk_types(server.sent) == [ChunkType.COOKIE_ACK] * 3
    assert not server.events


def test_the_cookie_of_an_association_that_is_over_is_refused() -> None:
    network, (_, old_echo) = recorded_handshake()
    restart(network)
    discarded = network.server.association.stats().packets_discarded
    network.server.sent = []
    network.server.receive([old_echo])
    assert network.server.association.stats().packets_discarded == discarded + 1
    assert not network.server.sent


def test_a_stale_cookie_is_refused_and_another_one_is_taken() -> None:
    network = Network(1, server=SctpConfig(role=Role.SERVER, cookie_lifetime=0.015))
    assert network.client.pipe is not None
    network.client.do(lambda association, now: association.connect(now))
    network.run(0.015)
    network.client.pipe.impairments = Impairments(delay=0.04)  # of the COOKIE ECHO alone
    network.run(0.02)
    network.client.pipe.impairments = Impairments(delay=0.001)
    network.server.pipe.impairments = Impairments(delay=0.001)  # type: ignore[union-attr]
    network.server.sent = []
    assert network.run(5, lambda: connected(network.client))
    assert chunk_types(network.server.sent)[0] == ChunkType.ERROR
    assert connected(network.server)


@pytest.mark.parametrize("damage", [0, 20, 50, -1])
def test_a_forged_cookie_is_refused(damage: int) -> None:
    network = Network(1)
    client, server = network.client, network.server
    client.sent = []
    assert client.pipe is not None
    client.do(lambda association, now: association.connect(now))
    network.run(0.015)
    client.pipe.impairments = Impairments(loss=1)
    network.run(0.01)
    echo = client.sent[-1]
    cookie = bytearray(echo[HEADER_BYTES + 4 :])
    cookie[damage] ^= 1
    tag = int.from_bytes(echo[4:8], "big")
    server.receive([seal(encode_chunk(ChunkType.COOKIE_ECHO, bytes(cookie)), tag)])
    assert not server.events
    server.receive([echo])
    assert connected(server)


def restart(network: Network) -> None:
    """Let the client lose its state and begin again."""
    old = network.client
    network.client = End(network.clock, CLIENT, 77)
    network.client.pipe, network.client.remote = old.pipe, network.server
    network.server.remote = network.client
    network.client.do(lambda association, now: association.connect(now))
    assert network.run(5, lambda: connected(network.client))


def test_an_end_that_lost_its_state_begins_again() -> None:
    network, _ = recorded_handshake()
    server = network.server
    server.association.open_channel(0, negotiated_id=0)
    announced = server.association.open_channel(0, label="announced")
    server.drain()
    network.run(0.1)
    server.events.clear()
    server.do(lambda association, now: association.send(0, b"to the one that is gone", now))
    restart(network)
    network.client.association.open_channel(0, negotiated_id=0)
    assert server.events[:2] == [ChannelClosed(announced), AssociationRestarted()]
    server.do(lambda association, now: association.send(0, b"to the new one", now))
    network.client.do(lambda association, now: association.send(0, b"back", now))
    network.run(1)
    assert [event.data for event in network.client.messages] == [b"to the new one"]
    assert [event.data for event in server.messages] == [b"back"]


def test_a_sender_that_waited_for_room_goes_on_after_a_restart() -> None:
    network, _ = recorded_handshake()
    association = network.server.association
    association.open_channel(0, negotiated_id=0)
    association.set_water_marks(0, low_bytes=10, high_bytes=20)
    assert not association.send(0, b"x" * 60_000, 0)
    restart(network)
    assert ChannelWritable(0) in network.server.events
    assert not association.send(0, b"x" * 20, 0)


def test_an_end_without_any_extension() -> None:
    """Nothing is abandoned, nothing interleaves, and a channel closes without a word."""
    end = End(Clock(), CLIENT, 1)
    end.sent = []
    unreliable = end.association.open_channel(0, negotiated_id=0, max_retransmits=0)
    end.do(lambda association, now: association.connect(now))
    (init,) = end.sent
    tag, first_tsn = int.from_bytes(init[16:20], "big"), int.from_bytes(init[28:32], "big")
    cookie = Parameter(7, b"anything")
    end.receive([seal(encode_init(ChunkType.INIT_ACK, Init(9, 100_000, 10, 10, 5, [cookie])), tag)])
    end.receive([seal(encode_chunk(ChunkType.COOKIE_ACK), tag)])
    end.do(lambda association, now: association.send(unreliable, b"x" * 600, now))
    end.do(lambda association, now: association.send(unreliable, b"y" * 600, now))
    end._clock.run(3)
    assert {packet[HEADER_BYTES] for packet in end.sent[2:]} == {ChunkType.DATA}
    assert sum(b"xxx" in packet for packet in end.sent) > 1
    end.receive([seal(encode_sack(first_tsn + 1, 100_000, [], []), tag)])
    end.do(lambda association, now: association.close_channel(unreliable, now))
    assert end.events[-1] == ChannelClosed(unreliable)


def test_an_init_without_its_cookie_disturbs_nobody() -> None:
    network, (init, _) = recorded_handshake()
    network.server.association.open_channel(0, negotiated_id=0)
    network.client.association.open_channel(0, negotiated_id=0)
    network.server.receive([init] * 10)
    network.client.do(lambda association, now: association.send(0, b"still here", now))
    network.run(1)
    assert [event.data for event in network.server.messages] == [b"still here"]


def test_what_is_not_understood_is_skipped_and_reported_as_its_top_bits_say() -> None:
    end = End(Clock(), SERVER, 1)
    end.sent = []
    more = [
        Parameter(0x8123, b"skip"),
        Parameter(0xC123, b"tell"),
        Parameter(0x4123, b"stop"),
        Parameter(0xC124, b""),
    ]
    end.receive([seal(encode_init(ChunkType.INIT, Init(9, 100_000, 10, 10, 5, more)), 0)])
    (answer,) = end.sent
    assert b"tell" in answer
    assert b"stop" in answer
    assert b"skip" not in answer


def test_channels_opened_and_filled_before_the_handshake_are_carried_after_it() -> None:
    network = Network(1)
    network.client.association.open_channel(0, label="early")
    network.client.association.send(0, b"first", 0)
    network.client.do(lambda association, now: association.connect(now))
    network.run(1)
    assert [event.data for event in network.server.messages] == [b"first"]


def test_shutting_down_before_the_handshake_is_over_delivers_first() -> None:
    network = Network(1)
    network.client.association.open_channel(0, label="early")
    network.client.association.send(0, b"first", 0)
    network.client.do(lambda association, now: association.connect(now))
    network.client.do(lambda association, now: association.shutdown(now))
    network.run(5)
    assert [event.data for event in network.server.messages] == [b"first"]
    for end in (network.client, network.server):
        assert end.events[-1] == AssociationClosed(CloseReason.SHUTDOWN)
