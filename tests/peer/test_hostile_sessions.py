"""A session whose remote session is malicious: what it holds stays bounded, and what it does stays proportional."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.peer.delivery import Delivery
from rtcmesh.peer.errors import ProtocolViolation, RemoteRestarted
from rtcmesh.peer.session import frames
from rtcmesh.peer.session.frames import (
    END,
    FIRST,
    FRAGMENT_BYTES,
    HEADER_BYTES,
    HELLO,
    LAST,
    MAX_CHANNELS,
    MAX_FRAMES,
    MAX_LATEST_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_TOGETHER,
    MIN_CHANNEL_WINDOW_BYTES,
    PACKET_BYTES,
    Ack,
    Header,
    Open,
    encode_ack,
    encode_blocked,
    encode_data,
    encode_datagram,
    encode_messages,
    encode_open,
)
from rtcmesh.peer.session.session import Session
from rtcmesh.peer.session.session_events import CreditGrew, MessagesReceived

WINDOW = MIN_CHANNEL_WINDOW_BYTES
PIECE = bytes(FRAGMENT_BYTES)
KINDS = (Delivery.RELIABLE, Delivery.UNORDERED, Delivery.LATEST, Delivery.BEST_EFFORT)


class Attacker:
    """Says to a session whatever it likes."""

    def __init__(self, window: int = WINDOW) -> None:
        self.session = Session(1 << 32 | 1, window=window)
        self.session.path_opened(1, 0)
        self.header = frames.encode_header(Header(2 << 32 | 1, 0))

    def say(self, *said: bytes) -> None:
        """Say frames; a violation changes nothing, as on a relayed path."""
        with suppress(ProtocolViolation):
            self.session.receive(self.header + b"".join(said), 1, 0)

    def open(self, channel: int = 0, delivery: Delivery = Delivery.RELIABLE) -> None:
        self.say(encode_open(Open(channel, delivery, stored=False, label=f"{channel}")))

    def flood(self, said: bytes) -> float:
        """Fill a packet with one frame, send it several times, and return the seconds that a byte costs."""
        count = min(MAX_FRAMES, (PACKET_BYTES - HEADER_BYTES) // len(said))
        packet = self.header + said * count
        best = float("inf")
        for _ in range(5):
            began = time.thread_time()
            for _ in range(3):
                with suppress(ProtocolViolation):
                    self.session.receive(packet, 1, 0)
                self.session.events()
                self.session.packets_to_send(1, 1 << 20, 0)
            best = min(best, time.thread_time() - began)
        return best / 3 / len(packet)

    def acknowledge(self, received: int, *ranges: tuple[int, int], limit: int = 2**60) -> None:
        self.say(encode_ack(Ack(0, received, limit, ranges)))

    def hear(self) -> list[frames.Frame]:
        packets = self.session.packets_to_send(1, 1 << 20, 0)
        return [frame for packet in packets for frame in frames.decode_frames(packet.data)]


def received(session: Session) -> list[MessagesReceived]:
    return [event for event in session.events() if isinstance(event, MessagesReceived)]


@pytest.mark.parametrize(
    "size", [0, 1, FRAGMENT_BYTES - 1, FRAGMENT_BYTES, FRAGMENT_BYTES + 1, PACKET_BYTES - 60]
)
@pytest.mark.parametrize("flags", [0, FIRST, LAST, FIRST | LAST])
def test_a_fragment_that_no_honest_sender_cuts_is_refused(flags: int, size: int) -> None:
    """Messages cut otherwise would cost more or less credit than is given back for them."""
    attacker = Attacker()
    attacker.open()
    attacker.say(encode_data(0, flags, 1, size if flags & LAST else size + 1, bytes(size)))
    for messages in received(attacker.session):
        attacker.session.taken(messages, 0)
    whole, end = flags == FIRST | LAST, flags == LAST
    taken = size <= FRAGMENT_BYTES and (whole or size > 0) if whole or end else size == FRAGMENT_BYTES
    attacker.session.handle_timeout(1)
    acks = [frame for frame in attacker.hear() if isinstance(frame, Ack)]
    assert [ack.received for ack in acks] == [1 if taken else 0]


def begin_large(channel: int) -> Iterator[bytes]:
    yield encode_open(Open(channel, Delivery.RELIABLE, stored=False, label=f"{channel}"))
    yield encode_data(channel, FIRST, 1, MAX_MESSAGE_BYTES, PIECE)
    for number in range(2, 1200):
        yield encode_data(channel, 0, number, 0, PIECE)


def end_without_beginning(channel: int) -> Iterator[bytes]:
    yield encode_open(Open(channel, Delivery.UNORDERED, stored=False, label=f"{channel}"))
    for number in range(2, 6000, 2):
        yield encode_data(channel, LAST, number, 0, b"x")


def whole_ones_with_a_gap(channel: int) -> Iterator[bytes]:
    yield encode_open(Open(channel, Delivery.RELIABLE, stored=False, label=f"{channel}"))
    for number in range(2, 6000):
        yield encode_data(channel, FIRST | LAST, number, 0, b"")


def messages_with_a_gap(channel: int) -> Iterator[bytes]:
    yield encode_open(Open(channel, Delivery.RELIABLE, stored=False, label=f"{channel}"))
    for number in range(2, 60):
        yield encode_messages(channel, number, [b"xy"] * MAX_TOGETHER)


def beginnings_backwards(channel: int) -> Iterator[bytes]:
    """Each is a violation, as it begins right before another message that has begun."""
    yield encode_open(Open(channel, Delivery.RELIABLE, stored=False, label=f"{channel}"))
    for number in range(200, 0, -1):
        yield encode_data(channel, FIRST, number, 2 * FRAGMENT_BYTES, PIECE)


def newest_beginnings_backwards(channel: int) -> Iterator[bytes]:
    yield encode_open(Open(channel, Delivery.LATEST, stored=False, label=f"{channel}"))
    for number in range(200, 0, -1):
        yield encode_data(channel, FIRST, number, 2 * FRAGMENT_BYTES, PIECE)


def newest_ends(channel: int) -> Iterator[bytes]:
    yield encode_open(Open(channel, Delivery.LATEST, stored=False, label=f"{channel}"))
    for number in range(6000):
        yield encode_data(channel, LAST, number * 2 + 2, 0, b"x")


PYTHON_OVERHEAD = 10
"""By how much Python's objects may exceed what their bytes cost, with the smallest fragments: measured, about 7."""


@pytest.mark.parametrize(
    "attack",
    [
        begin_large,
        end_without_beginning,
        whole_ones_with_a_gap,
        messages_with_a_gap,
        beginnings_backwards,
        newest_beginnings_backwards,
        newest_ends,
    ],
)
def test_what_never_makes_a_message_is_bounded_on_all_channels_together(
    attack: Callable[[int], Iterator[bytes]],
) -> None:
    channels = 4
    attacker = Attacker()
    tracemalloc.start()
    try:
        for channel in range(channels):
            for said in attack(channel):
                attacker.say(said)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    fine_grained = attack in {end_without_beginning, whole_ones_with_a_gap, messages_with_a_gap, newest_ends}
    factor = PYTHON_OVERHEAD if fine_grained else 1.2
    one_large_message = MAX_MESSAGE_BYTES if attack is begin_large else 0
    assert held < factor * channels * max(WINDOW, 2 * MAX_LATEST_BYTES) + 1.1 * one_large_message


def test_a_message_whose_end_is_wrong_can_still_be_ended_right() -> None:
    attacker = Attacker()
    attacker.open()
    attacker.say(encode_data(0, FIRST, 1, FRAGMENT_BYTES + 5, PIECE))
    for _ in range(100):
        attacker.say(encode_data(0, LAST, 2, 0, b"wrong length"))
    assert received(attacker.session) == []
    attacker.say(encode_data(0, LAST, 2, 0, b"right"))
    (messages,) = received(attacker.session)
    assert messages.payloads == (PIECE + b"right",)


def test_a_peer_that_acknowledges_all_but_the_first_makes_nobody_keep_more_than_the_window() -> None:
    attacker = Attacker()
    attacker.session.channel("x").accept(b"")
    attacker.hear()
    sent = 1
    for _ in range(50):
        while attacker.session.channel("x").fits(bytes(1000)):
            attacker.session.channel("x").accept(bytes(1000))
            attacker.hear()
            sent += 1
        while any(isinstance(frame, frames.Messages) for frame in attacker.hear()):
            pass
        attacker.acknowledge(0, (3, sent))
    assert sum(frames.cost(payload) for _, payload in attacker.session.undelivered()) <= WINDOW
    assert sent * 1064 <= WINDOW + 1064
    attacker.acknowledge(sent)
    assert attacker.session.unacknowledged == 0
    assert attacker.session.channel("x").fits(bytes(WINDOW - 2000))


def test_room_that_comes_while_nothing_is_on_its_way_is_told() -> None:
    """As when a relay says that it refused what it has forwarded."""
    attacker = Attacker()
    while attacker.session.channel("0").fits(bytes(10_000)):
        attacker.session.channel("0").accept(bytes(10_000))
    handed_out = sum(isinstance(frame, frames.Messages) for frame in attacker.hear())
    attacker.session.path_refused(1, 0)
    attacker.acknowledge(handed_out)
    assert CreditGrew("0") in attacker.session.events()


def test_an_acknowledgement_that_is_taken_back_changes_nothing() -> None:
    attacker = Attacker()
    for _ in range(5):
        attacker.session.channel("x").accept(b"x")
        attacker.hear()
    attacker.acknowledge(3, (5, 5), limit=2**40)
    attacker.acknowledge(0, limit=0)
    attacker.acknowledge(1, (3, 3), limit=5)
    assert attacker.session.unacknowledged == 2
    attacker.session.channel("x").accept(bytes(FRAGMENT_BYTES))
    assert any(isinstance(frame, frames.Messages) for frame in attacker.hear()), (
        "credit that was granted stays granted"
    )


class Claim(NamedTuple):
    """What is acknowledged: all through a number, and ranges with these ends."""

    through: int
    ends: list[int]

    def ranges(self) -> tuple[tuple[int, int], ...]:
        ends = sorted(end for end in self.ends if end > self.through + 1)
        spans = tuple(zip(ends[::2], ends[1::2], strict=False))
        return spans if all(before[1] + 1 < after[0] for before, after in pairwise(spans)) else ()


CLAIMS = st.builds(Claim, st.integers(0, 30), st.lists(st.integers(0, 30), max_size=6, unique=True))


@given(st.lists(CLAIMS | st.sampled_from(["send", "doubt"]), max_size=60))
def test_whatever_is_acknowledged_in_whatever_order_everything_ends_well(steps: list[Claim | str]) -> None:
    attacker = Attacker()
    sent = 0
    for step in steps:
        match step:
            case Claim():
                attacker.acknowledge(step.through, *step.ranges())
            case "send":
                sent += 1
                attacker.session.channel("x").accept(b"%d" % sent)
                attacker.hear()
            case _:
                attacker.session.path_doubted(1, 0)
    attacker.hear()
    attacker.acknowledge(sent)
    assert attacker.session.unacknowledged == 0
    assert attacker.session.in_flight_bytes == 0


def test_a_packet_of_more_frames_than_a_packet_has_is_a_violation() -> None:
    attacker = Attacker()
    with pytest.raises(ProtocolViolation):
        attacker.session.receive(attacker.header + HELLO * (MAX_FRAMES + 1), 1, 0)
    smallest = (encode_datagram(0, 1, b""), encode_messages(0, 1, [b""]))
    assert all((PACKET_BYTES - HEADER_BYTES) // len(frame) + MAX_CHANNELS < MAX_FRAMES for frame in smallest)


FLOODS = {
    "hello": HELLO,
    "end": END,
    "blocked": encode_blocked(0),
    "open": encode_open(Open(0, Delivery.RELIABLE, stored=False, label="0")),
    "old data": encode_data(0, FIRST | LAST, 1, 0, b""),
    "old messages": encode_messages(0, 1, [b""] * 100),
    "old ack": encode_ack(Ack(0, 0, 0, ())),
    "wide ack": encode_ack(Ack(0, 1, 0, ((3, 1500),))),
    "many acks": encode_ack(Ack(0, 1, 0, tuple((n, n) for n in range(3, 67, 2)))),
    "newest ends": encode_data(1, LAST, 7, 0, b"x"),
    "datagram": encode_datagram(2, 1, b""),
    "wrong end": encode_data(3, LAST, 9, 0, b"x"),
    "unknown channel": encode_blocked(60),
}


@pytest.mark.parametrize("said", FLOODS.values(), ids=FLOODS.keys())
def test_a_flood_costs_time_in_proportion_to_its_bytes(said: bytes) -> None:
    """However much is outstanding, a byte of it costs no more than some times what it does in a quiet session."""

    def prepared(*, busy: bool) -> Attacker:
        attacker = Attacker(window=1 << 20)
        for channel, delivery in enumerate([*KINDS, Delivery.RELIABLE]):
            attacker.open(channel, delivery)
        attacker.say(encode_data(0, FIRST | LAST, 1, 0, b""))
        attacker.say(encode_data(3, FIRST, 1, 9 * FRAGMENT_BYTES, PIECE))
        if busy:
            for number in range(2, 9):
                attacker.say(encode_data(3, 0, number, 0, PIECE))
            for number in range(2, 2000):
                attacker.say(encode_data(0, FIRST | LAST, 2 * number, 0, b""))
                attacker.say(encode_data(1, LAST, 2 * number, 0, b"x"))
        attacker.say(encode_ack(Ack(0, 0, 2**60, ())))
        for label in (str(n) for n in range(MAX_CHANNELS - 1 if busy else 1)):
            attacker.session.channel(label).accept(b"")
        for _ in range(1998):
            attacker.session.channel("0").accept(b"")
            attacker.hear()
        attacker.session.channel("latest", delivery=Delivery.LATEST).accept(bytes(60_000))
        attacker.hear()
        return attacker

    quiet = prepared(busy=False).flood(said)
    assert prepared(busy=True).flood(said) < 8 * quiet + 2e-7


@given(st.lists(st.sampled_from([1, 2, 3, 4]), max_size=30), st.sampled_from([0, 3]))
def test_session_numbers_that_go_up_and_down_never_bring_an_old_session_back(
    numbers: list[int], remote_after: int
) -> None:
    process = 7 << 32
    session = Session(1 << 32 | 1, window=WINDOW, remote_after=process | remote_after if remote_after else 0)
    current = remote_after
    for number in numbers:
        packet = frames.encode_header(Header(process | number, 0))
        try:
            taken = session.receive(packet, 1, 0)
        except RemoteRestarted:
            assert number > current
            session = Session(session.number + 1, window=WINDOW, remote_after=process | current)
            taken = session.receive(packet, 1, 0)
        assert taken == (number > current or (number == current == session.remote_number & 0xFFFFFFFF))
        current = max(current, number)
    if numbers:
        with pytest.raises(RemoteRestarted):
            session.receive(frames.encode_header(Header(8 << 32 | 1, 0)), 1, 0)


def test_two_sessions_that_each_take_the_other_for_its_predecessor_find_out() -> None:
    """As when both ends began anew, and a packet of the time before came late."""
    ann, bob = Session(1 << 32 | 2, window=WINDOW), Session(2 << 32 | 2, window=WINDOW)
    ann.receive(frames.encode_header(Header(2 << 32 | 1, 0)), 1, 0)
    bob.receive(frames.encode_header(Header(1 << 32 | 1, 0)), 1, 0)
    for one, other in ((ann, bob), (bob, ann)):
        one.path_opened(1, 0)
        one.hello()
        (packet,) = one.packets_to_send(1, 1 << 20, 0)
        with pytest.raises(RemoteRestarted):
            other.receive(packet.data, 1, 0)


def test_a_session_that_is_released_holds_nothing_and_gives_back_what_was_not_acknowledged() -> None:
    attacker = Attacker(window=1 << 22)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for said in begin_large(0):
            attacker.say(said)
        attacker.session.channel("x").accept(bytes(3_000_000))
        attacker.hear()
        given_back = attacker.session.release()
        assert [label for label, _ in given_back] == ["x"]
        del given_back
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held - before < 100_000
