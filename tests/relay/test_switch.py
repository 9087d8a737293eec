"""The switch: order, fairness, bounds, and no reliable frame that vanishes without a word."""

from collections import Counter, defaultdict
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtcmesh.relay.codes import GoneReason, NackReason
from rtcmesh.relay.egress import FRAME_OVERHEAD, Egress, cost
from rtcmesh.relay.errors import OlderConnection
from rtcmesh.relay.frames import (
    MAX_FRAME_BYTES,
    MAX_PAYLOAD_BYTES,
    Nack,
    PeerGone,
    PeerKey,
    Recv,
    RelayFrame,
    Send,
    Urgency,
    decode_relay,
)
from rtcmesh.relay.switch import (
    MAX_ACQUAINTANCES,
    MAX_NOTICES,
    RESERVED_BYTES,
    Seat,
    Switch,
    SwitchLimits,
)

LEAST = MAX_FRAME_BYTES + FRAME_OVERHEAD
SMALL = SwitchLimits(
    max_pair_bytes=LEAST,
    max_datagram_bytes=LEAST,
    max_queue_bytes=2 * LEAST,
    max_room_bytes=3 * LEAST,
    max_total_bytes=4 * LEAST,
)


def key(number: int) -> PeerKey:
    return PeerKey(number.to_bytes(32))


def message(
    to: int, payload: bytes = b"", urgency: Urgency = Urgency.INTERACTIVE, *, datagram: bool = False
) -> Send:
    return Send(urgency, datagram, key(to), payload)


def drained(switch: Switch, seat: Seat) -> list[RelayFrame]:
    frames: list[RelayFrame] = []
    while (frame := switch.take(seat)) is not None:
        frames.append(decode_relay(frame))
    return frames


def switch_of(*numbers: int, limits: SwitchLimits | None = None) -> tuple[Switch, list[Seat]]:
    switch = Switch(SwitchLimits() if limits is None else limits)
    return switch, [switch.join("lobby", key(number), 1)[0] for number in numbers]


class Place(NamedTuple):
    room: str
    number: int


class Join(NamedTuple):
    place: Place


class Leave(NamedTuple):
    place: Place


class Say(NamedTuple):
    place: Place
    to: int
    urgency: Urgency
    datagram: bool
    size: int


class Take(NamedTuple):
    place: Place
    frames: int


class Wait(NamedTuple):
    seconds: float


Step = Join | Leave | Say | Take | Wait


class World:
    """A switch, its peers, and what became of what they sent."""

    def __init__(self) -> None:
        self.switch = Switch(SMALL)
        self.now = 0.0
        self.seats: dict[Place, Seat] = {}
        self.connections = 0
        self.sent = 0
        self.fates: Counter[str] = Counter()
        self.order: dict[tuple[Seat, PeerKey, Urgency, bool], list[int]] = defaultdict(list)

    def run(self, steps: list[Step]) -> None:
        for step in steps:
            self.do(step)
            self.check()

    def do(self, step: Step) -> None:
        match step:
            case Wait(seconds):
                self.now += seconds
                self.switch.handle_timeout(self.now)
            case Join(place):
                self.connections += 1
                self.seats[place], _ = self.switch.join(place.room, key(place.number), self.connections)
            case Leave(place) if place in self.seats:
                self.switch.leave(self.seats.pop(place), GoneReason.LOST, self.now)
            case Say(place) if place in self.seats:
                self.sent += 1
                payload = self.sent.to_bytes(4) + bytes(step.size)
                send = message(step.to, payload, step.urgency, datagram=step.datagram)
                self.switch.send(self.seats[place], send, self.now)
            case Take(place, frames) if place in self.seats:
                for _ in range(frames):
                    if (frame := self.switch.take(self.seats[place])) is None:
                        break
                    self.note(self.seats[place], decode_relay(frame))
            case _:
                pass

    def note(self, seat: Seat, frame: RelayFrame) -> None:
        match frame:
            case Recv():
                self.fates["datagrams" if frame.datagram else "received"] += 1
                lane = (seat, frame.source, frame.urgency, frame.datagram)
                self.order[lane].append(int.from_bytes(frame.payload[:4]))
            case Nack() | PeerGone():
                self.fates["refused"] += frame.frames
            case _:
                raise AssertionError(frame)

    def check(self) -> None:
        queues = [seat.egress.queued_bytes for seat in self.seats.values()]
        assert sum(queues) == self.switch.queued_bytes
        assert self.switch.queued_bytes <= SMALL.max_total_bytes + RESERVED_BYTES * len(queues)
        assert all(size <= SMALL.max_queue_bytes for size in queues)
        for seat in self.seats.values():
            assert len(seat.notices) <= MAX_NOTICES
            assert len(seat.acquaintances) <= MAX_ACQUAINTANCES
        for numbers in self.order.values():
            assert all(first < second for first, second in pairwise(numbers))


places = st.builds(Place, st.sampled_from(["lobby", "attic"]), st.integers(1, 4))
sizes = st.sampled_from([0, 100, 6000, MAX_PAYLOAD_BYTES - 4, MAX_PAYLOAD_BYTES])
joins = st.builds(Join, places)
leaves = st.builds(Leave, places)
datagrams = st.builds(Say, places, st.integers(1, 5), st.sampled_from(Urgency), st.just(value=True), sizes)
reliable = st.builds(Say, places, st.integers(1, 5), st.sampled_from(Urgency), st.just(value=False), sizes)
takes = st.builds(Take, places, st.integers(1, 5))
waits = st.builds(Wait, st.floats(0, 2))


@settings(max_examples=150)
@given(st.lists(joins | leaves | datagrams | reliable | takes | waits, max_size=80))
def test_the_bounds_and_the_order_hold_whatever_happens(steps: list[Step]) -> None:
    World().run(steps)


@settings(max_examples=150)
@given(st.lists(reliable | takes | waits, max_size=80), st.sets(st.integers(1, 4)))
def test_a_reliable_frame_is_received_or_reported(steps: list[Step], leaving: set[int]) -> None:
    """As long as its sender stays, for a report needs somebody who reads it."""
    world = World()
    world.run([Join(Place(room, number)) for room in ("lobby", "attic") for number in range(1, 5)])
    world.run(steps)
    world.run([Leave(place) for n in leaving if not has_sent(steps, place := Place("lobby", n))])
    world.run([Wait(10.0)])
    world.run([Take(place, 10_000) for place in world.seats])
    assert world.fates["received"] + world.fates["refused"] == world.sent
    assert world.switch.queued_bytes == 0
    world.run([Wait(10.0)])
    assert world.switch.deadline() is None


def has_sent(steps: list[Step], place: Place) -> bool:
    return any(isinstance(step, Say) and step.place == place for step in steps)


def test_what_is_urgent_goes_first() -> None:
    switch, (alice, bob) = switch_of(1, 2)
    for urgency in (Urgency.BULK, Urgency.INTERACTIVE, Urgency.CONTROL):
        for number in range(3):
            switch.send(alice, message(2, bytes([number]), urgency), 0.0)
    received = drained(switch, bob)
    urgencies = [frame.urgency for frame in received if isinstance(frame, Recv)]
    assert urgencies == sorted(urgencies)
    assert len(urgencies) == 9


@settings(max_examples=20)
@given(st.lists(st.integers(500, MAX_PAYLOAD_BYTES), min_size=2, max_size=5))
def test_senders_share_a_receiver_by_bytes_whatever_the_size_of_their_frames(sizes: list[int]) -> None:
    limits = SwitchLimits(max_room_bytes=2**40, max_queue_bytes=2**40, max_total_bytes=2**40)
    switch, (receiver, *senders) = switch_of(*range(len(sizes) + 1), limits=limits)
    costs = {seat.key: LEAST - MAX_PAYLOAD_BYTES + size for seat, size in zip(senders, sizes, strict=True)}
    backlog = 20 * LEAST
    for seat, size in zip(senders, sizes, strict=True):
        for _ in range(backlog // costs[seat.key] + 1):
            switch.send(seat, message(0, bytes(size), Urgency.BULK), 0.0)
    shares: Counter[PeerKey] = Counter()
    while sum(shares.values()) < 6 * LEAST * len(senders):
        frame = switch.take(receiver)
        assert frame is not None
        recv = decode_relay(frame)
        assert isinstance(recv, Recv)
        shares[recv.source] += costs[recv.source]
    assert max(shares.values()) - min(shares.values()) <= 3 * LEAST


def test_a_slow_receiver_costs_the_others_nothing_even_in_a_full_room() -> None:
    switch, (alice, slow, quick) = switch_of(1, 2, 3, limits=SMALL)
    while not switch.stats.nacks.total():
        switch.send(alice, message(2, bytes(1000)), 0.0)
    for number in range(100):
        switch.send(alice, message(3, bytes([number])), 0.0)
        assert len(drained(switch, quick)) == 1
    assert switch.queued_bytes == slow.egress.queued_bytes


def test_each_bound_has_its_reason() -> None:
    limits = SwitchLimits(
        max_pair_bytes=2 * LEAST,
        max_queue_bytes=5 * LEAST,
        max_room_bytes=8 * LEAST,
        max_datagram_bytes=LEAST,
        max_total_bytes=9 * LEAST,
    )
    switch, seats = switch_of(*range(1, 9), limits=limits)
    full = bytes(MAX_PAYLOAD_BYTES)

    def send(sender: int, to: int) -> set[int]:
        switch.send(seats[sender - 1], message(to, full), 0.0)
        return {frame.reason for frame in drained(switch, seats[sender - 1]) if isinstance(frame, Nack)}

    assert send(1, 8) == send(1, 8) == set()
    assert send(1, 8) == {NackReason.QUEUE_FULL}
    assert send(2, 8) == send(2, 8) == send(3, 8) == set()
    assert send(3, 8) == {NackReason.RECEIVER_FULL}
    assert [send(sender, 7) for sender in (1, 1, 2)] == [set()] * 3
    assert send(3, 7) == {NackReason.RELAY_FULL}
    assert send(3, 6) == set(), "each receiver has something reserved"
    switch.send(seats[0], message(6, bytes(MAX_PAYLOAD_BYTES + 1)), 0.0)
    assert drained(switch, seats[0]) == [Nack(key(6), NackReason.TOO_LARGE, 1)]


def test_the_newest_datagrams_stay() -> None:
    switch, (alice, bob) = switch_of(1, 2)
    for number in range(1000):
        switch.send(alice, message(2, number.to_bytes(4) + bytes(1000), datagram=True), 0.0)
    received = [
        int.from_bytes(frame.payload[:4]) for frame in drained(switch, bob) if isinstance(frame, Recv)
    ]
    assert received == list(range(1000 - len(received), 1000))
    assert 50 < len(received) < 70
    assert switch.stats.datagrams_dropped == 1000 - len(received)
    assert drained(switch, alice) == []


def test_datagrams_leave_the_reliable_frames_their_room() -> None:
    switch, (alice, bob) = switch_of(1, 2, limits=SMALL)
    for _ in range(100):
        switch.send(alice, message(2, bytes(1000), datagram=True), 0.0)
    switch.send(alice, message(2, bytes(MAX_PAYLOAD_BYTES)), 0.0)
    assert drained(switch, alice) == []
    kinds = [frame.datagram for frame in drained(switch, bob) if isinstance(frame, Recv)]
    assert False in kinds


def test_an_absent_peer_is_reported_at_once_and_then_once_a_second() -> None:
    switch, (alice,) = switch_of(1)
    switch.send(alice, message(2), 0.0)
    assert drained(switch, alice) == [PeerGone(key(2), GoneReason.NOT_CONNECTED, 1)]
    for step in range(1, 40):
        now = step * 0.05
        switch.handle_timeout(now)
        switch.send(alice, message(2), now)
    reports = drained(switch, alice)
    switch.handle_timeout(5.0)
    reports += drained(switch, alice)
    assert sum(frame.frames for frame in reports if isinstance(frame, PeerGone)) == 39
    switch.handle_timeout(10.0)
    assert switch.deadline() is None


def test_whoever_has_heard_of_a_peer_is_told_when_it_goes() -> None:
    switch, (alice, bob, carol) = switch_of(1, 2, 3)
    switch.send(alice, message(2), 0.0)
    switch.send(alice, message(2), 0.0)
    drained(switch, bob)
    switch.send(alice, message(2), 1.0)
    switch.leave(bob, GoneReason.LEFT, 2.0)
    switch.leave(bob, GoneReason.LOST, 3.0)
    assert drained(switch, alice) == [PeerGone(key(2), GoneReason.LEFT, 1)]
    assert drained(switch, carol) == []


def test_a_newer_connection_takes_over_and_an_older_one_does_not() -> None:
    switch, (alice, bob) = switch_of(1, 2)
    switch.send(alice, message(2), 0.0)
    newer, replaced = switch.join("lobby", key(2), 5)
    assert replaced is bob
    assert drained(switch, alice) == [Nack(key(2), NackReason.RECEIVER_AWAY, 1)]
    for number in (1, 5):
        with pytest.raises(OlderConnection):
            switch.join("lobby", key(2), number)
    switch.leave(bob, GoneReason.LOST, 0.0)
    switch.send(alice, message(2, b"for the new one"), 0.0)
    (received,) = drained(switch, newer)
    assert isinstance(received, Recv)
    assert received.payload == b"for the new one"


def test_rooms_are_apart_and_empty_ones_are_forgotten() -> None:
    switch, (alice,) = switch_of(1)
    stranger, _ = switch.join("attic", key(2), 1)
    switch.send(alice, message(2), 0.0)
    assert drained(switch, stranger) == []
    assert switch.rooms == switch.peers == 2
    switch.leave(stranger, GoneReason.LEFT, 0.0)
    switch.leave(alice, GoneReason.LEFT, 0.0)
    assert switch.rooms == switch.peers == switch.queued_bytes == 0


def test_one_who_shouts_into_the_void_and_listens_to_nothing_is_swamped_in_bounded_memory() -> None:
    switch, (alice,) = switch_of(1)
    for number in range(10_000):
        switch.send(alice, message(number + 10), 0.0)
    assert alice.is_swamped
    assert len(alice.notices) == MAX_NOTICES
    assert len(alice.refused) <= MAX_ACQUAINTANCES


def test_a_place_is_awakened_once_until_it_has_taken_everything() -> None:
    switch, (alice, bob) = switch_of(1, 2)
    switch.send(alice, message(2), 0.0)
    switch.send(alice, message(2), 0.0)
    assert switch.awakened() == [bob]
    drained(switch, bob)
    switch.send(alice, message(2), 0.0)
    assert switch.awakened() == [bob]
    assert switch.awakened() == []


def test_a_ticket_may_give_a_peer_less_room() -> None:
    switch, (alice,) = switch_of(1)
    bob, _ = switch.join("lobby", key(2), 1, max_queue_bytes=10_000)
    for _ in range(20):
        switch.send(alice, message(2, bytes(1000)), 0.0)
    assert bob.egress.queued_bytes <= 10_000
    assert switch.stats.nacks["receiver_full"] == 20 - len(drained(switch, bob))


def test_an_empty_frame_costs_something() -> None:
    egress = Egress(max_pair_bytes=1000, max_queue_bytes=1000, max_datagram_bytes=1000)
    refused = [egress.put(key(1), Urgency.BULK, b"") for _ in range(10)]
    assert cost(b"") == FRAME_OVERHEAD
    assert refused.count(None) == 1000 // FRAME_OVERHEAD
