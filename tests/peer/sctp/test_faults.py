"""What a broken or hostile remote end can do, and what it cannot."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtcmesh.peer.sctp import (
    AssociationClosed,
    ChannelNotOpen,
    ChannelOpened,
    CloseReason,
    NotEstablished,
    Role,
    SctpConfig,
)
from rtcmesh.peer.sctp.chunks import (
    ChunkType,
    ForwardTsn,
    Skip,
    encode_causes,
    encode_chunk,
    encode_forward_tsn,
    encode_i_forward_tsn,
    encode_tsn,
)
from rtcmesh.peer.sctp.data_chunks import I_DATA_HEADER, IMMEDIATE, B, E, U
from rtcmesh.peer.sctp.parameters import Cause, Parameter
from support.sctp import Clock, End, Impairments, Network, Puppet, seal

SMALL_WINDOW = 128 * 1024


def puppet(window: int = 4 << 20, *, interleaving: bool = False) -> Puppet:
    """Return a remote end for a client with one channel."""
    network = Network(
        1,
        client=SctpConfig(
            role=Role.CLIENT,
            interleaving=interleaving,
            receive_window_bytes=window,
            max_message_bytes=min(256 * 1024, window // 2),
        ),
        server=SctpConfig(role=Role.SERVER),
    )
    network.connect(0)
    return Puppet(network, network.client)


def send(end: End, *messages: bytes) -> None:
    for message in messages:
        end.association.send(0, message, end._clock.now)
    end.drain()


def closed(end: End) -> AssociationClosed | None:
    return next((event for event in end.events if isinstance(event, AssociationClosed)), None)


# Who may speak


@pytest.mark.parametrize("kind", [kind for kind in ChunkType if kind is not ChunkType.INIT])
def test_a_packet_with_another_tag_changes_nothing(kind: ChunkType) -> None:
    network = Network(1)
    network.connect(0)
    tag = Puppet(network, network.client).tag
    for wrong in (tag ^ 1, 0, (tag + 1) & 0xFFFFFFFF):
        network.client.receive([seal(encode_chunk(kind, bytes(20)), wrong)])
    assert network.client.association.stats().packets_discarded == 3
    assert not network.client.events


def test_a_packet_between_other_ports_or_with_a_wrong_checksum_changes_nothing() -> None:
    remote = puppet()
    packet = seal(encode_causes(ChunkType.ABORT, []), remote.tag)
    for damaged in (packet[:-1], b"\0" + packet[1:], packet[:8] + bytes(4) + packet[12:], packet[:11], b""):
        remote.end.receive([damaged])
    assert remote.end.association.stats().packets_discarded == 5
    assert not remote.end.events


@settings(max_examples=300)
@given(packet=st.binary(max_size=200))
def test_any_bytes_as_a_packet(packet: bytes) -> None:
    end = End(Clock(), SctpConfig(role=Role.SERVER), 1)
    end.receive([packet])
    assert not end.events


def cut(chunk: bytes, by: int) -> bytes:
    return chunk[: len(chunk) - by]


chunks = st.one_of(
    st.binary(max_size=120),
    st.builds(
        cut,
        st.builds(encode_chunk, st.sampled_from(ChunkType), st.binary(max_size=64), st.integers(0, 255)),
        st.sampled_from([0, 0, 0, 1, 5]),
    ),
)


@settings(max_examples=150, deadline=None)
@given(
    packets=st.lists(st.lists(chunks, min_size=1, max_size=4), min_size=1, max_size=8),
    interleaving=st.booleans(),
)
def test_any_bytes_as_chunks(packets: list[list[bytes]], interleaving: bool) -> None:
    remote = puppet(interleaving=interleaving)
    send(remote.end, b"x" * 3000)
    for packet in packets:
        remote.say(*packet)
    remote.network.run(1)
    end = remote.end
    if (end_of_it := closed(end)) is not None:
        assert end_of_it.reason in (
            CloseReason.PROTOCOL_ERROR,
            CloseReason.REMOTE_ABORT,
            CloseReason.SHUTDOWN,
        )


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_i_data_chunks_in_any_order(data: st.DataObject) -> None:
    remote = puppet(SMALL_WINDOW, interleaving=True)
    remote.end.consumes = False
    small = st.integers(0, 3)
    for _ in range(data.draw(st.integers(1, 30))):
        remote.next_tsn += data.draw(st.integers(-2, 2))
        payload = bytes(data.draw(st.integers(1, 1000)))
        flags, stream, mid, last = data.draw(st.tuples(st.integers(0, 15), small, small, small))
        remote.say(
            I_DATA_HEADER.pack(
                64, flags, 20 + len(payload), remote.next_tsn & 0xFFFFFFFF, stream, 0, mid, last
            )
            + payload
            + bytes(-len(payload) % 4)
        )
        remote.next_tsn += 1
        if data.draw(st.booleans()):
            skips = data.draw(st.lists(st.builds(Skip, small, small, st.booleans()), max_size=2))
            remote.say(encode_i_forward_tsn(ForwardTsn(remote.next_tsn - data.draw(small), skips)))
    assert held(remote.end) <= 2 * SMALL_WINDOW


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_data_chunks_in_any_order(data: st.DataObject) -> None:
    remote = puppet(SMALL_WINDOW)
    remote.end.consumes = False
    for _ in range(data.draw(st.integers(1, 30))):
        remote.next_tsn += data.draw(st.integers(-5, 5))
        remote.say(
            remote.data(
                bytes(data.draw(st.integers(1, 1000))),
                flags=data.draw(st.integers(0, 15)),
                stream=data.draw(st.integers(0, 2)),
                number=data.draw(st.integers(0, 3)),
                ppid=data.draw(st.sampled_from([50, 51, 53, 56, 57, 99])),
            )
        )
    assert held(remote.end) <= 2 * SMALL_WINDOW


# What it says of our data


def test_a_sack_for_data_that_was_never_sent_ends_the_association() -> None:
    for blocks in ((), (2, 3)):
        remote = puppet()
        send(remote.end, b"x")
        remote.sack(0 if blocks else 2, *blocks)
        assert closed(remote.end) == AssociationClosed(
            CloseReason.PROTOCOL_ERROR, "a SACK for data that was never sent (cause 13)"
        )
        remote.network.run(1)
        assert ChunkType.ABORT in [kind for kind, _ in remote.chunks()]


def test_gap_blocks_out_of_order_end_the_association() -> None:
    for blocks in ((3, 2), (2, 3, 3, 4), (1, 2), (4, 4, 2, 2)):
        remote = puppet()
        send(remote.end, *[b"x" * 1100] * 8)
        remote.sack(0, *blocks)
        end_of_it = closed(remote.end)
        assert end_of_it is not None
        assert end_of_it.reason is CloseReason.PROTOCOL_ERROR


def test_an_old_sack_is_ignored() -> None:
    remote = puppet()
    send(remote.end, *[b"x" * 1100] * 8)
    remote.sack(8)
    remote.sack(3, 2, 2)
    assert closed(remote.end) is None
    assert remote.end.association.stats().bytes_in_flight == 0


def test_what_is_reneged_is_sent_again() -> None:
    remote = puppet()
    send(remote.end, *[b"x" * 1100] * 6)
    remote.network.run(0.02)
    assert remote.tsns() == [0, 1, 2, 3, 4, 5]
    remote.sack(0, 3, 6)
    remote.network.run(0.02)
    assert remote.tsns() == [0, 1]
    remote.sack(2)
    remote.network.run(0.02)
    assert remote.tsns() == [2, 3, 4, 5]
    remote.sack(6)
    assert remote.end.association._established is not None
    assert remote.end.association._established.sender.drained


def test_a_sack_that_was_overtaken_is_not_taken_for_reneging() -> None:
    remote = puppet()
    send(remote.end, *[b"x" * 1100] * 8)
    remote.sack(0, 2, 2, 4, 8)
    remote.network.run(0.02)
    remote.tsns()
    remote.sack(0, 2, 2)
    remote.network.run(0.02)
    assert remote.tsns() == []


def test_a_remote_end_that_never_acknowledges_is_given_up() -> None:
    remote = puppet()
    send(remote.end, *[b"x" * 1100] * 50)
    assert remote.network.run(120, lambda: closed(remote.end) is not None)
    assert closed(remote.end) == AssociationClosed(CloseReason.UNREACHABLE, "nothing was acknowledged")
    assert 5 < remote.network.clock.now < 90
    assert len(remote.tsns()) < 60
    with pytest.raises(NotEstablished):
        remote.end.association.send(0, b"x", 0)


def test_a_silent_path_is_probed_and_given_up() -> None:
    network = Network(1, client=SctpConfig(role=Role.CLIENT, heartbeat_interval=5))
    network.connect(0)
    network.run(60)
    assert not network.client.events
    Puppet(network, network.client)
    assert network.run(120, lambda: closed(network.client) is not None)


# Windows


def test_a_window_that_is_shut_is_probed_until_it_opens() -> None:
    remote = puppet()
    send(remote.end, b"x" * 1100)
    remote.sack(1, window=0)
    remote.network.run(0.02)
    remote.chunks()
    send(remote.end, *[b"y" * 1100] * 9)
    remote.network.run(8)
    probes = remote.tsns()
    assert 1 < len(probes) < 20
    assert set(probes) == {1}
    remote.sack(1, window=0)
    remote.network.run(30)
    assert closed(remote.end) is None
    remote.sack(2, window=100_000)
    remote.network.run(0.02)
    assert set(remote.tsns()) >= {2, 3, 4}


def test_a_window_that_is_shut_for_long_is_no_sign_of_death() -> None:
    remote = puppet()
    send(remote.end, b"x" * 1100)
    remote.sack(1, window=0)
    send(remote.end, b"y")
    for _ in range(60):
        remote.network.run(10)
        remote.sack(1, window=0)
    assert closed(remote.end) is None


def test_a_window_that_shrinks_is_respected() -> None:
    remote = puppet()
    send(remote.end, *[b"x" * 1100] * 40)
    remote.network.run(0.02)
    first = len(remote.tsns())
    remote.sack(first, window=3000)
    remote.network.run(0.02)
    assert len(remote.tsns()) == 2
    remote.sack(first + 2, window=1500)
    remote.network.run(0.02)
    assert len(remote.tsns()) == 1


def held(end: End) -> int:
    established = end.association._established
    if established is None:
        return 0
    return established.inbound._unread_bytes + established.inbound.reassembly.held_bytes


def test_an_application_that_stops_reading_stops_the_sender() -> None:
    network = Network(
        1, server=SctpConfig(role=Role.SERVER, receive_window_bytes=SMALL_WINDOW, max_message_bytes=64 * 1024)
    )
    network.connect(0)
    network.server.consumes = False
    send(network.client, *[bytes([number]) * 10_000 for number in range(100)])
    network.run(60)
    assert held(network.server) <= SMALL_WINDOW + 20_000
    assert closed(network.client) is None
    read = 0
    while read < 100:
        unread = network.server.messages[read:]
        assert unread, "nothing more came"
        read += len(unread)
        size = sum(len(message.data) for message in unread)
        network.server.association.consumed(size, len(unread))
        network.server.drain()
        network.run(2)
    assert [message.data[0] for message in network.server.messages] == list(range(100))


def test_large_packets_do_not_wait_for_room_that_smaller_ones_find() -> None:
    network = Network(
        1,
        client=SctpConfig(role=Role.CLIENT, max_packet_bytes=15_000),
        server=SctpConfig(
            role=Role.SERVER, receive_window_bytes=32_768, max_message_bytes=16_384, max_packet_bytes=15_000
        ),
    )
    network.connect(0)
    network.run(5)
    assert network.client.association.stats().mtu == 15_000
    network.server.consumes = False
    send(network.client, bytes(10_000), bytes(10_000))
    network.run(1)
    # What is left of the window holds one of these, and no full packet.
    send(network.client, bytes(9000), bytes(9000))
    assert network.run(0.015, lambda: len(network.server.messages) == 3)


def test_a_sender_that_ignores_the_window_is_not_acknowledged_beyond_it() -> None:
    remote = puppet(SMALL_WINDOW)
    remote.end.consumes = False
    for number in range(1000):
        remote.say(remote.data(b"x" * 1000, number=number))
    assert held(remote.end) <= 2 * SMALL_WINDOW
    assert remote.end.association.stats().chunks_discarded > 700
    assert closed(remote.end) is None


@pytest.mark.parametrize("flags", [0, B, U, B | U])
def test_fragments_of_one_byte_hold_no_more_than_the_window(flags: int) -> None:
    remote = puppet(SMALL_WINDOW)
    for _ in range(200):
        remote.say(*[remote.data(b"x", flags=flags) for _ in range(50)])
    assert held(remote.end) <= 2 * SMALL_WINDOW


def test_a_message_that_is_too_large_ends_the_association() -> None:
    remote = puppet()
    remote.say(remote.data(b"x" * 1000, flags=B))
    while closed(remote.end) is None:
        remote.say(remote.data(b"x" * 1000, flags=0))
    assert closed(remote.end) == AssociationClosed(
        CloseReason.PROTOCOL_ERROR, "a message above 262144 bytes (cause 4)"
    )


# What it says of its own


def test_data_far_beyond_the_next_is_not_taken() -> None:
    remote = puppet()
    remote.next_tsn += 100_000
    remote.say(remote.data(b"x"))
    assert not remote.end.events
    assert remote.end.association._established.inbound.receipts.ranges == []  # type: ignore[union-attr]


def test_a_forward_tsn_far_beyond_the_next_ends_the_association() -> None:
    remote = puppet()
    remote.say(encode_forward_tsn(ForwardTsn(remote.next_tsn + 1_000_000, [])))
    assert closed(remote.end) is not None


def test_a_data_chunk_without_data_ends_the_association() -> None:
    remote = puppet()
    remote.say(remote.data(b""))
    end_of_it = closed(remote.end)
    assert end_of_it is not None
    assert end_of_it.detail.endswith("(cause 9)")


def test_a_message_that_changes_its_stream_half_way_ends_the_association() -> None:
    remote = puppet()
    remote.say(remote.data(b"x", flags=B), remote.data(b"x", flags=E, stream=3))
    assert closed(remote.end) is not None


def test_chunks_of_the_future_are_skipped_or_reported_as_their_top_bits_say() -> None:
    remote = puppet()
    for kind in (0x3F, 0x7F, 0xBF, 0xFF):
        unknown = bytes([kind, 0, 0, 5, kind, 0, 0, 0])
        remote.say(unknown, remote.data(bytes([kind]), flags=3 | IMMEDIATE))
        # 0x3F and 0x7F end the packet, so the data behind them is lost, and comes again.
        if kind < 0x80:
            remote.next_tsn -= 1
    remote.network.run(1)
    assert [event.data[0] for event in remote.end.messages] == [0xBF]
    reported = [value[4:5] for kind, value in remote.chunks() if kind == ChunkType.ERROR]
    assert reported == [b"\x7f", b"\xff"]


def test_a_flood_of_heartbeats_is_answered_within_bounds() -> None:
    remote = puppet()
    remote.end.association.receive_packets(
        [seal(encode_chunk(ChunkType.HEARTBEAT, bytes(1000)) * 10, remote.tag)] * 60, 0
    )
    remote.end.drain()
    remote.network.run(1)
    assert len(remote.chunks()) <= 65


def test_an_abort_tells_its_causes() -> None:
    remote = puppet()
    remote.say(encode_causes(ChunkType.ABORT, [Parameter(Cause.USER_INITIATED_ABORT, b"bye")]))
    assert remote.end.events == [
        AssociationClosed(CloseReason.REMOTE_ABORT, "user initiated abort: bye"),
    ]
    assert remote.end.association.deadline() is None


def test_our_abort_tells_the_reason() -> None:
    network = Network(1)
    network.connect(0)
    network.client.do(lambda association, _: association.abort("enough"))
    network.run(1)
    assert network.client.events == [AssociationClosed(CloseReason.LOCAL_ABORT, "enough")]
    assert network.server.events == [
        AssociationClosed(CloseReason.REMOTE_ABORT, "user initiated abort: enough"),
    ]


# The orderly end


@pytest.mark.parametrize("loss", [0.0, 0.2])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_a_shutdown_delivers_everything_first(loss: float, both: bool, seed: int) -> None:
    network = Network(seed, Impairments(loss=loss))
    network.connect(0)
    send(network.client, *[bytes([number]) * 5000 for number in range(60)])
    send(network.server, b"back" * 1000)
    network.client.do(lambda association, now: association.shutdown(now))
    if both:
        network.server.do(lambda association, now: association.shutdown(now))
    network.run(60)
    assert [message.data[0] for message in network.server.messages] == list(range(60))
    assert [message.data for message in network.client.messages] == [b"back" * 1000]
    for end in (network.client, network.server):
        assert closed(end) == AssociationClosed(CloseReason.SHUTDOWN)
        assert end.association.deadline() is None


def test_a_shutdown_that_nobody_answers_is_given_up() -> None:
    remote = puppet()
    remote.end.do(lambda association, now: association.shutdown(now))
    assert remote.network.run(300, lambda: closed(remote.end) is not None)
    assert closed(remote.end) == AssociationClosed(CloseReason.UNREACHABLE, "nothing was acknowledged")


def test_data_that_comes_after_our_shutdown_is_delivered_and_answered() -> None:
    remote = puppet()
    remote.end.do(lambda association, now: association.shutdown(now))
    remote.network.run(0.02)
    remote.chunks()
    remote.say(remote.data(b"late"))
    remote.network.run(0.02)
    assert [event.data for event in remote.end.messages] == [b"late"]
    assert {kind for kind, _ in remote.chunks()} >= {ChunkType.SHUTDOWN}
    remote.say(encode_chunk(ChunkType.SHUTDOWN_ACK))
    assert closed(remote.end) == AssociationClosed(CloseReason.SHUTDOWN)


def test_nothing_is_sent_after_a_shutdown_on_a_channel_that_the_other_end_opens_then() -> None:
    network = Network(1)
    network.connect(0)
    network.client.association.send(0, bytes(60_000), network.clock.now)  # the shutdown has to wait for it
    network.client.do(lambda association, now: association.shutdown(now))
    channel = network.server.association.open_channel(network.clock.now, label="late")
    network.server.drain()
    assert network.run(1, lambda: any(isinstance(event, ChannelOpened) for event in network.client.events))
    with pytest.raises(NotEstablished):
        network.client.association.send(channel, b"x", network.clock.now)
    network.run(5)
    assert closed(network.client) == closed(network.server) == AssociationClosed(CloseReason.SHUTDOWN)


def test_a_shutdown_acknowledges() -> None:
    remote = puppet()
    send(remote.end, b"x")
    remote.say(encode_tsn(ChunkType.SHUTDOWN, remote.first_tsn))
    remote.network.run(0.02)
    assert ChunkType.SHUTDOWN_ACK in [kind for kind, _ in remote.chunks()]


def test_nothing_is_sent_on_a_channel_that_was_never_opened() -> None:
    remote = puppet()
    with pytest.raises(ChannelNotOpen):
        remote.end.association.send(1, b"x", 0)
