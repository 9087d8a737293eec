"""Messages that are not worth sending for ever (RFC 3758, RFC 7496)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rtcmesh.peer.sctp import Role, SctpConfig
from rtcmesh.peer.sctp.chunks import ChunkType, decode_forward_tsn
from rtcmesh.peer.sctp.data_chunks import B, E, U
from support.sctp import End, Impairments, Network, Puppet

RELIABLE, ONCE, ORDERED_ONCE, BRIEF = range(4)


def network(seed: int = 1, loss: float = 0.0, *, interleaving: bool = False) -> Network:
    lossy = Network(
        seed,
        Impairments(loss=0),
        client=SctpConfig(role=Role.CLIENT, interleaving=interleaving),
        server=SctpConfig(role=Role.SERVER, interleaving=interleaving),
    )
    lossy.connect(RELIABLE)
    for end in (lossy.client, lossy.server):
        end.association.open_channel(0, negotiated_id=ONCE, ordered=False, max_retransmits=0)
        end.association.open_channel(0, negotiated_id=ORDERED_ONCE, max_retransmits=0)
        end.association.open_channel(0, negotiated_id=BRIEF, max_lifetime=0.1)
        assert end.pipe is not None
        end.pipe.impairments = Impairments(loss=loss)
    return lossy


def send(end: End, channel: int, *messages: bytes) -> None:
    for message in messages:
        end.association.send(channel, message, end._clock.now)
    end.drain()


def received(end: End, channel: int) -> list[bytes]:
    return [message.data for message in end.messages if message.channel_id == channel]


def lose_next(lossy: Network, seconds: float = 0.0) -> None:
    """Lose what the client has just sent, or sends within some time."""
    pipe = lossy.client.pipe
    assert pipe is not None
    pipe.impairments = Impairments(loss=1)
    lossy.client.drain()
    lossy.run(seconds)
    pipe.impairments = Impairments()


interleaving = pytest.mark.parametrize("interleaving", [False, True])


def test_reliable_messages_never_share_a_packet_with_others() -> None:
    lossy = network()
    lossy.client.sent = []
    for index in range(50):
        for channel in (RELIABLE, ONCE, ORDERED_ONCE, BRIEF):
            lossy.client.association.send(channel, bytes([index]) * 10, 0)
    lossy.client.drain()
    for packet in lossy.client.sent:
        streams = {packet[offset + 9] for offset in range(12, len(packet), 28) if packet[offset] == 0}
        assert len(streams) == 1
    lossy.run(1)
    for channel in (RELIABLE, ONCE, ORDERED_ONCE, BRIEF):
        assert received(lossy.server, channel) == [bytes([index]) * 10 for index in range(50)]


@interleaving
def test_a_reliable_message_survives_the_loss_of_unreliable_ones(interleaving: bool) -> None:
    lossy = network(loss=0.3, interleaving=interleaving)
    for index in range(100):
        send(lossy.client, ONCE, bytes([index]) * 50)
        send(lossy.client, RELIABLE, bytes([index]) * 50)
        lossy.run(0.005)
    lossy.run(60)
    assert received(lossy.server, RELIABLE) == [bytes([index]) * 50 for index in range(100)]
    assert 40 < len(received(lossy.server, ONCE)) < 100


@interleaving
def test_what_follows_is_not_held_back_by_what_was_given_up(interleaving: bool) -> None:
    lossy = network(interleaving=interleaving)
    lossy.client.association.send(ORDERED_ONCE, b"lost", 0)
    lose_next(lossy)
    send(lossy.client, ORDERED_ONCE, b"after")
    assert lossy.run(1, lambda: received(lossy.server, ORDERED_ONCE) == [b"after"])
    assert lossy.clock.now < 0.5


@interleaving
def test_the_last_message_may_be_lost_without_a_trace(interleaving: bool) -> None:
    lossy = network(interleaving=interleaving)
    lossy.client.association.send(ORDERED_ONCE, b"lost", 0)
    lose_next(lossy)
    lossy.run(5)
    established = lossy.client.association._established
    assert established is not None
    assert established.sender.drained
    assert lossy.client.association.stats().messages_abandoned == 1
    send(lossy.client, ORDERED_ONCE, b"after")
    lossy.run(1)
    assert received(lossy.server, ORDERED_ONCE) == [b"after"]


def test_a_forward_tsn_that_is_lost_is_sent_again() -> None:
    lossy = network()
    lossy.client.association.send(ORDERED_ONCE, b"lost", 0)
    lossy.client.sent = []
    lose_next(lossy, seconds=0.5)
    lost = [packet[12] for packet in lossy.client.sent]
    assert ChunkType.FORWARD_TSN in lost
    send(lossy.client, RELIABLE, b"after")
    lossy.run(5)
    established = lossy.client.association._established
    assert established is not None
    assert established.sender.drained
    assert received(lossy.server, RELIABLE) == [b"after"]


def test_many_that_are_abandoned_at_once_are_counted_once() -> None:
    lossy = network()
    for index in range(300):
        lossy.client.association.send(ONCE, bytes([index & 255]) * 300, 0)
    lose_next(lossy, seconds=0.02)
    lossy.run(30)
    established = lossy.client.association._established
    assert established is not None
    assert established.sender.drained
    assert established.sender.recovery.in_flight == 0
    stats = lossy.client.association.stats()
    assert stats.messages_abandoned + len(received(lossy.server, ONCE)) == 300


@interleaving
def test_a_message_is_abandoned_as_a_whole(interleaving: bool) -> None:
    lossy = network(loss=0.1, interleaving=interleaving)
    for index in range(60):
        for channel in (ONCE, ORDERED_ONCE, BRIEF):
            send(lossy.client, channel, bytes([index]) * 6000)
        lossy.run(0.1)
    lossy.run(60)
    for channel in (ONCE, ORDERED_ONCE, BRIEF):
        heard = received(lossy.server, channel)
        assert all(len(message) == 6000 and len(set(message)) == 1 for message in heard)
        assert 5 < len(heard) < 60
    assert lossy.server.association._established is not None
    assert lossy.server.association._established.inbound.reassembly.held_bytes == 0


def test_a_message_that_waited_for_too_long_is_not_sent() -> None:
    lossy = network()
    lossy.client.association.send(RELIABLE, b"r" * 200_000, 0)
    lossy.client.association.send(BRIEF, b"brief", 0)
    assert lossy.client.pipe is not None
    lossy.client.pipe.impairments = Impairments(delay=0.2)
    lossy.client.drain()
    lossy.run(30)
    assert received(lossy.server, RELIABLE) == [b"r" * 200_000]
    assert received(lossy.server, BRIEF) == []
    assert lossy.client.association.stats().messages_abandoned == 1
    assert lossy.client.association.buffered_amount(BRIEF) == 0


def test_a_message_is_sent_again_as_often_as_it_may_be_and_no_more() -> None:
    lossy = network()
    lossy.client.association.open_channel(0, negotiated_id=9, max_retransmits=2)
    lossy.client.association.send(9, b"three times", 0)
    lossy.client.sent = []
    lose_next(lossy, seconds=20)
    assert sum(packet.endswith(b"three times\0") for packet in lossy.client.sent) == 3


def test_one_forward_tsn_passes_over_all_that_was_given_up() -> None:
    plain = Network(1, client=SctpConfig(role=Role.CLIENT, interleaving=False))
    plain.connect(0)
    plain.client.association.open_channel(0, negotiated_id=ORDERED_ONCE, max_retransmits=0)
    remote = Puppet(plain, plain.client)
    for index in range(8):
        send(plain.client, ORDERED_ONCE, bytes([index]) * 1000)
    plain.run(0.02)
    remote.chunks()
    remote.sack(0, 2, 2, 4, 4, 6, 8)
    plain.run(0.02)
    forwards = [decode_forward_tsn(value) for kind, value in remote.chunks() if kind == ChunkType.FORWARD_TSN]
    assert [forward.cumulative_tsn for forward in forwards] == [(remote.first_tsn + 4) & 0xFFFFFFFF]
    assert [(skip.stream_id, skip.number) for skip in forwards[0].skips] == [(ORDERED_ONCE, 4)]


def test_a_forward_tsn_drops_what_is_half_there_and_lets_the_rest_go_on() -> None:
    plain = Network(1, client=SctpConfig(role=Role.CLIENT, interleaving=False))
    plain.connect(0)
    remote = Puppet(plain, plain.client)
    remote.say(remote.data(b"half", flags=B))
    first = remote.next_tsn
    remote.next_tsn += 1
    remote.say(remote.data(b"waits", number=1))
    remote.say(remote.data(b"half too", flags=E | U))
    from rtcmesh.peer.sctp.chunks import ForwardTsn, Skip, encode_forward_tsn

    remote.say(encode_forward_tsn(ForwardTsn(first, [Skip(0, 0)])))
    assert [message.data for message in plain.client.messages] == [b"waits"]
    remote.say(encode_forward_tsn(ForwardTsn(first + 2, [])))
    assert plain.client.association._established is not None
    assert plain.client.association._established.inbound.reassembly.held_bytes == 0


@interleaving
def test_what_follows_a_long_message_does_not_share_its_fate(interleaving: bool) -> None:
    lossy = network(interleaving=interleaving)
    lossy.client.association.send(ONCE, b"long" * 500, 0)
    lossy.client.association.send(ONCE, b"short", 0)
    lossy.client.sent = []
    pipe = lossy.client.pipe
    assert pipe is not None
    first_goes_wrong = iter([Impairments(loss=1)])
    carry = pipe.send

    def send_all_but_the_first(packet: bytes, deliver: Callable[[bytes], None]) -> None:
        pipe.impairments = next(first_goes_wrong, Impairments())
        carry(packet, deliver)

    pipe.send = send_all_but_the_first  # type: ignore[method-assign]
    lossy.client.drain()
    lossy.run(5)
    long_packets = [packet for packet in lossy.client.sent if b"long" in packet]
    assert len(long_packets) == 2
    assert not any(b"short" in packet for packet in long_packets)
    assert received(lossy.server, ONCE) == [b"short"]
    sent = lossy.client.association._established
    assert sent is not None
    assert sent.sender.drained
