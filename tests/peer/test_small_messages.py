"""Small messages that travel together: how many of them, what they cost, and when the word of them goes back."""

from __future__ import annotations

from itertools import cycle

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rtcmesh.peer.delivery import Delivery, Priority
from rtcmesh.peer.sctp.packet import HEADER_BYTES
from rtcmesh.peer.session import frames
from rtcmesh.peer.session.acknowledgements import URGENT_BYTES, URGENT_FRAGMENTS
from rtcmesh.peer.session.flight import ACK_DELAY
from rtcmesh.peer.session.frames import (
    FRAGMENT_BYTES,
    FRAGMENT_OVERHEAD,
    LENGTH_BYTES,
    MAX_TOGETHER,
    TOGETHER_BYTES,
    Ack,
    Header,
    Messages,
    Open,
)
from rtcmesh.peer.session.inbound import URGENT_COST
from rtcmesh.peer.session.outbound import OutboundStream
from rtcmesh.peer.session.outbound_channel import OutboundChannel
from rtcmesh.peer.session.session import Session
from rtcmesh.peer.webrtc import WebRtcConfig

WINDOW = 512 * 1024
RECEIVER = 5
I_DATA_BYTES = 20


def decoded(frame: bytes) -> Messages:
    (messages,) = frames.decode_frames(frames.encode_header(Header(1, 0)) + frame)
    assert isinstance(messages, Messages)
    return messages


SMALL = st.integers(0, 8) | st.integers(0, 300) | st.integers(0, 6000) | st.integers(0, FRAGMENT_BYTES)
SIZES = st.lists(SMALL, min_size=1, max_size=400) | st.tuples(SMALL, st.integers(1, 2000)).map(
    lambda alike: [alike[0]] * alike[1]
)


@given(SIZES, st.lists(st.integers(0, 40_000), max_size=30))
@example([FRAGMENT_BYTES // 2 + 1] * 2, [])
@example([0, FRAGMENT_BYTES], [])
@example([TOGETHER_BYTES - LENGTH_BYTES, 0], [])
@example([TOGETHER_BYTES // 2 - LENGTH_BYTES] * 3, [])
def test_as_many_travel_together_as_there_is_room_and_credit_for(sizes: list[int], grants: list[int]) -> None:
    turns: list[OutboundChannel] = []
    opening = Open(0, Delivery.RELIABLE, stored=False, label="x")
    channel = OutboundStream(opening, Priority.INTERACTIVE, turns.append, window=WINDOW)
    sent = [number.to_bytes(4, "big")[:size].ljust(size) for number, size in enumerate(sizes)]
    numbers = [channel.accept(payload) for payload in sent]
    taken = [payload for payload, number in zip(sent, numbers, strict=True) if number]
    assert turns == [channel] * len(taken), "one without a turn asks for one with each message"
    assert [number for number in numbers if number] == list(range(1, len(taken) + 1))
    received: list[bytes] = []
    limit, spent, number = frames.MIN_CHANNEL_WINDOW_BYTES, 0, 0
    for grant in [0, *grants, 1 << 30]:
        limit += grant
        channel.acknowledge(Ack(0, 0, limit, ()))
        while channel.has_frames:
            frame, fragment = channel.next_frame()
            messages = decoded(frame)
            number, count = number + 1, len(messages.payloads)
            length = sum(map(len, messages.payloads)) + count * LENGTH_BYTES
            spent += messages.cost
            received += messages.payloads
            assert fragment is not None
            assert (messages.number, messages.size) == (number, fragment.size)
            assert messages.size == length + FRAGMENT_OVERHEAD
            assert messages.cost == sum(map(frames.cost, messages.payloads))
            assert count <= MAX_TOGETHER
            assert count == 1 or length <= TOGETHER_BYTES
            assert spent <= limit
            if count < MAX_TOGETHER and len(received) < len(taken):
                following = len(taken[len(received)])
                no_room = length + following + LENGTH_BYTES > TOGETHER_BYTES
                assert no_room or spent + following + FRAGMENT_OVERHEAD > limit, (
                    "another one would have fitted"
                )
    assert received == taken
    assert channel.undelivered() == taken
    channel.acknowledge(Ack(0, number, limit, ()))
    assert (channel.unacknowledged, channel.undelivered()) == (0, [])
    assert channel.fits(bytes(WINDOW - FRAGMENT_OVERHEAD))


def test_a_small_message_behind_a_large_one_leaves_with_it() -> None:
    session = Session(1 << 32, window=WINDOW)
    session.path_opened(1, 0)
    session.channel("x").accept(bytes(2 * FRAGMENT_BYTES))
    session.channel("x").accept(b"small")
    session.channel("y", priority=Priority.BULK).accept(bytes(2 * FRAGMENT_BYTES))
    sent = [
        frame
        for packet in session.packets_to_send(1, 1 << 20, 0)
        for frame in frames.decode_frames(packet.data)
    ]
    assert [frame.payloads for frame in sent if isinstance(frame, Messages)] == [(b"small",)]
    assert session.packets_to_send(1, 1 << 20, 0) == []


def listener(channels: int) -> Session:
    session = Session(RECEIVER, window=WINDOW)
    session.path_opened(1, 0)
    for number in range(channels):
        opening = Open(number, Delivery.RELIABLE, stored=False, label=str(number))
        session.receive(frames.encode_header(Header(1, RECEIVER)) + frames.encode_open(opening), 1, 0)
    session.handle_timeout(ACK_DELAY)
    assert session.packets_to_send(1, 1 << 20, ACK_DELAY)
    return session


def acknowledged(session: Session, now: float) -> list[tuple[int, int]]:
    said = [frames.decode_frames(packet.data) for packet in session.packets_to_send(1, 1 << 20, now)]
    return [(ack.channel, ack.received) for heard in said for ack in heard if isinstance(ack, Ack)]


@pytest.mark.parametrize("size", [0, 64, 1000, TOGETHER_BYTES // 2 - LENGTH_BYTES])
def test_what_travels_together_is_one_packet_of_a_transport_that_carries_large_ones(size: int) -> None:
    session = Session(1 << 32, window=WINDOW)
    session.path_opened(1, 0)
    channel = session.channel("label")
    while channel.accept(bytes(size)):
        pass
    for packet in session.packets_to_send(1, 1 << 20, 0):
        assert len(packet.data) + I_DATA_BYTES <= WebRtcConfig().max_packet_bytes - HEADER_BYTES


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
@pytest.mark.parametrize("size", [0, 100, 4000])
def test_what_fills_a_window_is_acknowledged_at_once_on_whatever_channels_it_came(
    channels: int, size: int
) -> None:
    session = listener(channels)
    sizes = [size] * (TOGETHER_BYTES // (size + LENGTH_BYTES))
    payloads = [bytes(size) for size in sizes[:MAX_TOGETHER]]
    filling_the_path = -(-URGENT_BYTES // frames.cost(b"".join(payloads)))
    filling_a_channel = -(-URGENT_COST // sum(map(frames.cost, payloads)))
    needed = min(filling_the_path, (filling_a_channel - 1) * channels + 1)
    for index in range(needed):
        assert acknowledged(session, 1) == []
        frame = frames.encode_messages(index % channels, index // channels + 1, payloads)
        session.receive(frames.encode_header(Header(1, RECEIVER)) + frame, 1, 1)
    have = [(number, (needed - number + channels - 1) // channels) for number in range(channels)]
    assert acknowledged(session, 1) == [entry for entry in have if entry[1]]
    assert acknowledged(session, 1) == []
    frame = frames.encode_messages(0, have[0][1] + 1, [b"x"])
    session.receive(frames.encode_header(Header(1, RECEIVER)) + frame, 1, 1)
    assert acknowledged(session, 1) == [], "it begins anew"
    session.handle_timeout(1 + ACK_DELAY)
    assert acknowledged(session, 1 + ACK_DELAY) == [(0, have[0][1] + 1)]


@given(st.lists(SMALL, min_size=1, max_size=20))
@example([64])
@example([FRAGMENT_BYTES])
def test_a_sender_that_stands_still_hears_at_once(sizes: list[int]) -> None:
    sender, receiver = (
        Session(1 << 32, window=frames.MIN_CHANNEL_WINDOW_BYTES),
        Session(2 << 32, window=WINDOW),
    )
    sender.path_opened(1, 0)
    receiver.path_opened(1, 0)
    channel, pattern = sender.channel("x"), cycle(map(bytes, sizes))
    for _ in range(3):
        while channel.accept(next(pattern)):
            pass
        for packet in sender.packets_to_send(1, 1 << 20, 0):
            receiver.receive(packet.data, 1, 0)
        (answer,) = receiver.packets_to_send(1, 1 << 20, 0)
        sender.receive(answer.data, 1, 0)
        assert channel.is_drained


def test_many_fragments_are_acknowledged_at_once_however_small() -> None:
    session = listener(2)
    for index in range(URGENT_FRAGMENTS):
        assert acknowledged(session, 1) == []
        frame = frames.encode_messages(index % 2, index // 2 + 1, [b""])
        session.receive(frames.encode_header(Header(1, RECEIVER)) + frame, 1, 1)
    assert acknowledged(session, 1) == [(0, URGENT_FRAGMENTS // 2), (1, URGENT_FRAGMENTS // 2)]
