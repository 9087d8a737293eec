"""Data channels: opening, closing, sharing (RFC 8831, RFC 8832, RFC 6525, RFC 8260)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtcmesh.peer.sctp import (
    BufferFull,
    ChannelClosed,
    ChannelIdTaken,
    ChannelNotOpen,
    ChannelOpened,
    ChannelWritable,
    MessagesReceived,
    MessageTooLarge,
    NoChannelIdLeft,
    NotEstablished,
    Role,
    SctpConfig,
    dcep,
)
from rtcmesh.peer.sctp.chunks import ChunkType
from rtcmesh.peer.sctp.dcep import Open
from rtcmesh.peer.sctp.errors import ProtocolError
from support.sctp import End, Heard, Impairments, Network, Puppet


def send(end: End, channel: int, *messages: bytes | str) -> None:
    for message in messages:
        end.association.send(channel, message, end._clock.now)
    end.drain()


def connected(seed: int = 1, loss: float = 0.0, **both: int | bool) -> Network:
    network = Network(
        seed,
        Impairments(loss=loss),
        client=SctpConfig(role=Role.CLIENT, **both),  # type: ignore[arg-type]
        server=SctpConfig(role=Role.SERVER, **both),  # type: ignore[arg-type]
    )
    network.connect()
    return network


# Opening


def test_both_ends_learn_what_a_channel_is() -> None:
    network = connected()
    channel = network.client.association.open_channel(
        0, label="chat", protocol="v1", ordered=False, max_lifetime=1.5, priority=512
    )
    network.client.drain()
    network.run(1)
    told = ("chat", "v1", False, None, 1.5, 512)
    assert network.client.events == [ChannelOpened(channel, *told, remote=False)]
    assert network.server.events == [ChannelOpened(channel, *told, remote=True)]


def test_each_role_has_its_own_ids() -> None:
    network = connected()
    ids = [[end.association.open_channel(0) for _ in range(3)] for end in (network.client, network.server)]
    assert ids == [[0, 2, 4], [1, 3, 5]]
    with pytest.raises(ChannelIdTaken):
        network.client.association.open_channel(0, negotiated_id=4)
    assert network.client.association.open_channel(0, negotiated_id=6) == 6
    assert network.client.association.open_channel(0) == 8


def test_messages_keep_their_order_until_the_other_end_knows_the_channel() -> None:
    network = connected(3, loss=0.3)
    channel = network.client.association.open_channel(0, ordered=False)
    send(network.client, channel, b"first")
    network.run(30)
    assert [type(event) for event in network.server.events] == [ChannelOpened, MessagesReceived]


def test_every_stream_can_be_a_channel() -> None:
    network = connected()
    for _ in range(32_767):
        network.client.association.open_channel(0)
    network.client.drain()
    network.run(60)
    for _ in range(32_767):
        network.server.association.open_channel(0)
    network.server.association.open_channel(0, negotiated_id=65_534)
    with pytest.raises(NoChannelIdLeft):
        network.server.association.open_channel(0)
    network.client.association.open_channel(0, negotiated_id=65_534)
    network.server.drain()
    network.run(60)
    opened = {event.channel_id for event in network.client.events if isinstance(event, ChannelOpened)}
    assert opened == set(range(65_535))
    send(network.client, 65_534, b"the last one")
    network.run(1)
    assert network.server.messages[-1] == Heard(65_534, b"the last one", text=False)


def test_what_comes_before_a_channel_is_opened_here_is_kept() -> None:
    network = connected()
    network.client.association.open_channel(0, negotiated_id=0)
    send(network.client, 0, b"early", "text")
    network.run(1)
    assert not network.server.messages
    network.server.association.open_channel(0, negotiated_id=0)
    network.server.drain()
    assert [message.data for message in network.server.messages] == [b"early", b"text"]


def test_what_comes_for_no_channel_is_kept_within_bounds() -> None:
    network = connected(receive_window_bytes=128 * 1024, max_message_bytes=64 * 1024)
    network.client.association.open_channel(0, negotiated_id=0)
    send(network.client, 0, *[b"x" * 10_000] * 100)
    network.run(10)
    assert network.client.association.buffered_amount(0) == 0
    established = network.server.association._established
    assert established is not None
    assert established.inbound.window > 60_000


@pytest.mark.parametrize(
    "message", [b"", b"\x00", b"\x03", dcep.encode_open(Open("a", "b", True, None, None, 1))[:-1]]
)
def test_an_opening_that_makes_no_sense_closes_the_channel_alone(message: bytes) -> None:
    network = connected(interleaving=False)
    remote = Puppet(network, network.client)
    remote.say(remote.data(message or b"\t", stream=5, ppid=50))
    network.run(0.02)
    assert ChunkType.RE_CONFIG in [kind for kind, _ in remote.chunks()]
    remote.say(remote.data(dcep.encode_open(Open("a", "b", True, None, None, 1)), stream=7, ppid=50))
    assert [type(event) for event in network.client.events] == [ChannelOpened]


@given(st.binary(max_size=40))
def test_any_bytes_are_an_opening_or_an_error(message: bytes) -> None:
    try:
        opening = dcep.decode(message)
    except ProtocolError:
        return
    if opening is not None and "\ufffd" not in opening.label + opening.protocol:
        assert dcep.decode(dcep.encode_open(opening)) == opening


# Messages


def test_messages_of_every_size_and_kind() -> None:
    network = connected()
    channel = network.client.association.open_channel(0)
    messages: list[bytes | str] = [
        b"",
        b"\0",
        "",
        "ü",
        b"x" * 1143,
        b"x" * 1160,
        b"x" * 1176,
        b"x" * 16_384,
        b"x" * 262_144,
        "y" * 65_536,
    ]
    for message in messages:
        send(network.client, channel, message)
    send(network.client, channel, bytearray(b"array"), memoryview(b"view"))  # type: ignore[arg-type]
    network.run(10)
    assert [message.data for message in network.server.messages] == [
        *[message.encode() if isinstance(message, str) else message for message in messages],
        b"array",
        b"view",
    ]
    assert [message.text for message in network.server.messages[:10]] == [
        isinstance(message, str) for message in messages
    ]


def test_what_is_too_much_is_refused_and_changes_nothing() -> None:
    network = connected(max_buffered_bytes=100_000)
    association = network.client.association
    channel = association.open_channel(0)
    network.client.drain()
    association.remote_max_message_bytes = 1000
    with pytest.raises(MessageTooLarge):
        association.send(channel, b"x" * 1001, 0)
    association.remote_max_message_bytes = 0
    association.send(channel, b"x" * 90_000, 0)
    with pytest.raises(BufferFull):
        association.send(channel, b"x" * 20_000, 0)
    assert association.buffered_amount(channel) == 90_000
    for _ in range(75):
        association.send(channel, b"x", 0)
    with pytest.raises(BufferFull):
        association.send(channel, b"x" * 500, 0)
    with pytest.raises(ChannelNotOpen):
        association.send(channel + 2, b"x", 0)
    with pytest.raises(ChannelNotOpen):
        association.close_channel(channel + 2, 0)
    association.shutdown(0)
    with pytest.raises(NotEstablished):
        association.send(channel, b"x", 0)
    with pytest.raises(NotEstablished):
        association.open_channel(0)


def test_a_sender_is_told_when_to_wait_and_when_to_go_on() -> None:
    network = connected()
    association = network.client.association
    channel = association.open_channel(0, negotiated_id=0)
    network.server.association.open_channel(0, negotiated_id=0)
    association.set_water_marks(channel, low_bytes=5000, high_bytes=50_000)
    assert association.send(channel, b"x" * 49_999, 0)
    assert not association.send(channel, b"x", 0)
    assert not association.send(channel, b"x", 0)
    network.client.drain()
    network.run(5)
    assert network.client.events.count(ChannelWritable(channel)) == 1
    assert association.send(channel, b"x", 0)


def test_statistics_tell_what_went_through_a_channel() -> None:
    network = connected()
    channel = network.client.association.open_channel(0, label="l")
    send(network.client, channel, b"12345", b"", "", b"\0", "text")
    network.run(1)
    here, there = (end.association.channel_stats(channel) for end in (network.client, network.server))
    assert (here.messages_sent, here.bytes_sent) == (there.messages_received, there.bytes_received) == (5, 10)
    stats = network.client.association.stats()
    assert stats.packets_sent == 5  # a second copy of what opened the channel is one of them
    assert stats.smoothed_round_trip_time == pytest.approx(0.02, rel=0.3)


@pytest.mark.parametrize(
    ("channels", "size", "window"),
    [(40, 256 * 1024, 4 << 20), (8, 16_000, 32_768), (30, 250_000, 1 << 20), (3, 32_768, 65_536)],
)
@pytest.mark.parametrize("loss", [0.0, 0.05])
def test_large_messages_on_many_channels_do_not_fill_the_window_with_parts(
    channels: int, size: int, window: int, loss: float
) -> None:
    network = connected(loss=loss, receive_window_bytes=window, max_message_bytes=window // 2)
    for end in (network.client, network.server):
        for channel in range(channels):
            end.association.open_channel(0, negotiated_id=channel)
    for channel in range(channels):
        network.client.association.send(channel, b"small")
        network.client.association.send(channel, bytes(size))
    network.client.drain()
    assert network.run(120, lambda: len(network.server.messages) == 2 * channels)


@pytest.mark.parametrize("message", [b"", "", b"x"])
def test_what_the_application_has_taken_is_out_of_the_window(message: bytes | str) -> None:
    network = connected(receive_window_bytes=65_536, max_message_bytes=32_768)
    network.client.association.open_channel(0, negotiated_id=0)
    network.server.association.open_channel(0, negotiated_id=0)
    for _ in range(70):
        send(network.client, 0, *[message] * 1000)
        network.run(1)
    assert len(network.server.messages) == 70_000
    assert network.client.association.stats().receive_window == 65_536


def test_a_message_with_a_lifetime_needs_the_time_and_others_do_not() -> None:
    association = connected().client.association
    limited, reliable = association.open_channel(0, max_lifetime=1.0), association.open_channel(0)
    buffered = association.buffered_amount(limited)
    with pytest.raises(ValueError, match="lifetime"):
        association.send(limited, b"x")
    assert association.buffered_amount(limited) == buffered
    assert association.send(reliable, b"x")
    assert association.channel_stats(limited).messages_sent == 0


# Closing


@pytest.mark.parametrize("loss", [0.0, 0.2])
@pytest.mark.parametrize("seed", range(5))
def test_what_was_sent_before_the_closing_is_delivered(seed: int, loss: float) -> None:
    network = connected(seed, loss)
    for _ in range(3):
        channel = network.client.association.open_channel(0)
        network.client.drain()
        network.run(2)
        send(network.client, channel, *[bytes([number]) * 3000 for number in range(60)])
        network.client.association.close_channel(channel, 0)
        network.client.drain()
        with pytest.raises(ChannelNotOpen):
            network.client.association.send(channel, b"late", 0)
        network.run(30)
        assert [message.data[0] for message in network.server.messages] == list(range(60))
        assert network.server.events[-1] == network.client.events[-1] == ChannelClosed(channel)
        network.server.events.clear()


def test_the_end_that_did_not_close_still_delivers_what_it_had_queued() -> None:
    network = connected()
    channel = network.client.association.open_channel(0)
    network.client.drain()
    network.run(1)
    send(network.server, channel, *[bytes([number]) * 20_000 for number in range(30)])
    network.client.do(lambda association, now: association.close_channel(channel, now))
    network.run(30)
    assert [message.data[0] for message in network.client.messages] == list(range(30))
    assert network.client.events[-1] == network.server.events[-1] == ChannelClosed(channel)


def test_an_id_is_used_again_from_the_first_number_on() -> None:
    network = connected(interleaving=False)
    for round_number in range(3):
        channel = network.client.association.open_channel(0, negotiated_id=8)
        network.server.association.open_channel(0, negotiated_id=8)
        send(network.client, channel, *[bytes([round_number, number]) for number in range(5)])
        network.run(1)
        network.client.do(lambda association, now: association.close_channel(8, now))
        network.run(1)
        assert network.client.events[-1] == network.server.events[-1] == ChannelClosed(8)
    assert [message.data for message in network.server.messages] == [
        bytes([round_number, number]) for round_number in range(3) for number in range(5)
    ]


def test_both_may_close_at_once() -> None:
    network = connected()
    channel = network.client.association.open_channel(0)
    network.client.drain()
    network.run(1)
    for end in (network.client, network.server):
        end.do(lambda association, now: association.close_channel(channel, now))
    network.run(5)
    for end in (network.client, network.server):
        assert end.events.count(ChannelClosed(channel)) == 1
        with pytest.raises(ChannelNotOpen):
            end.association.buffered_amount(channel)


def test_many_channels_close_together() -> None:
    network = connected(loss=0.1)
    channels = [network.client.association.open_channel(0) for _ in range(2000)]
    network.client.drain()
    network.run(20)
    for channel in channels:
        network.client.association.close_channel(channel, 0)
    network.client.drain()
    network.run(60)
    closed = [event.channel_id for event in network.server.events if isinstance(event, ChannelClosed)]
    assert sorted(closed) == channels


# Sharing


def test_a_large_message_delays_no_other_where_messages_interleave() -> None:
    network = connected()
    for channel in (0, 1):
        for end in (network.client, network.server):
            end.association.open_channel(0, negotiated_id=channel)
    network.client.association.send(0, b"x" * 250_000, 0)
    network.client.association.send(1, b"key press", 0)
    network.client.drain()
    network.run(10)
    assert [message.channel_id for message in network.server.messages] == [1, 0]


@settings(max_examples=20, deadline=None)
@given(interleaving=st.booleans(), priorities=st.tuples(st.sampled_from([128, 256, 1024]), st.just(256)))
def test_channels_share_by_their_priority(interleaving: bool, priorities: tuple[int, int]) -> None:
    network = connected(interleaving=interleaving)
    for channel, priority in enumerate(priorities):
        for end in (network.client, network.server):
            end.association.open_channel(0, negotiated_id=channel, priority=priority)
        for _ in range(4000):
            network.client.association.send(channel, b"x" * 500, 0)
    network.client.drain()
    network.run(60, lambda: len(network.server.messages) > 3000)
    counts = [sum(m.channel_id == channel for m in network.server.messages) for channel in range(2)]
    assert counts[0] / counts[1] == pytest.approx(priorities[0] / priorities[1], rel=0.15)
