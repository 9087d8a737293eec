"""The machines of an outbox: what is kept and handed over, what the application has, and both ends with crashes."""

from __future__ import annotations

from collections import defaultdict, deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from rtcmesh.peer.errors import NotDecodable
from rtcmesh.peer.outbox.outbox import ENTRY_OVERHEAD_BYTES, Entry, Line, Outbox, message_cost
from rtcmesh.peer.outbox.receipts import MAX_MARKS, Receipts
from rtcmesh.peer.outbox.stamps import (
    MAX_RECEIPTS,
    STAMP_BYTES,
    Receipt,
    Stamp,
    decode_receipts,
    encode_receipts,
    split,
    stamped,
)
from rtcmesh.signaling.identity import PeerId

ANN, BOB = PeerId("ann"), PeerId("bob")
LABELS = ("a", "b")
OUTBOX = 7
SIZE = 100
MAX_BYTES = 40 * message_cost(SIZE, 1)


class Receiver:
    """One life after another of a receiver."""

    def __init__(self, peer_id: PeerId, *, durable: bool) -> None:
        self.peer_id = peer_id
        self.durable = durable
        self.file: dict[str, int] = {}
        self.taken: defaultdict[str, list[int]] = defaultdict(list)
        """What the applications of all lives were given."""
        self.restart()

    def restart(self) -> None:
        self.receipts = Receipts()
        for label, through in self.file.items():
            self.receipts.restore(ANN, Receipt(label, OUTBOX, through))
        self.inbox: deque[tuple[str, int]] = deque()
        self.this_life: defaultdict[str, list[int]] = defaultdict(list)
        self.connect()

    def connect(self) -> None:
        """Begin a session; what was on its way is lost, what has arrived is not."""
        self.to_receiver: deque[tuple[str, int]] = deque()
        self.to_sender: list[Receipt] = list(self.receipts.of(ANN))

    def take(self) -> None:
        label, number = self.inbox.popleft()
        if self.receipts.take(ANN, label, Stamp(OUTBOX, number)):
            self.taken[label].append(number)
            self.this_life[label].append(number)

    def commit(self) -> None:
        receipts = list(self.receipts.of(ANN))
        if self.durable:
            self.file = {receipt.label: receipt.through for receipt in receipts}
        self.to_sender = receipts


class BothEnds(RuleBasedStateMachine):
    """A sender, its file, two receivers of which one has a file, and crashes at any point."""

    @initialize()
    def begin(self) -> None:
        self.outbox = Outbox(max_bytes=MAX_BYTES)
        self.fresh: list[tuple[int, tuple[Line, ...]]] = []
        self.file: dict[tuple[Line, int], int] = {}
        self.last_number = 0
        self.promised: defaultdict[Line, list[int]] = defaultdict(list)
        self.receivers = [Receiver(BOB, durable=True), Receiver(PeerId("cat"), durable=False)]

    receivers_strategy = st.lists(st.integers(0, 1), min_size=1, max_size=2, unique=True)

    @rule(to=receivers_strategy, label=st.sampled_from(LABELS))
    def send(self, to: list[int], label: str) -> None:
        if not self.outbox.fits(SIZE, len(to)):
            assert self.outbox.cost_bytes + message_cost(SIZE, len(to)) > MAX_BYTES
            return
        lines = tuple(Line(self.receivers[index].peer_id, label) for index in to)
        self.fresh.append((self.outbox.accept(SIZE, lines, at_least=0), lines))

    @rule()
    def commit(self) -> None:
        self.last_number = self.outbox.last_number
        for number, lines in self.fresh:
            assert self.outbox.stored(number) == lines
            for line in lines:
                self.file[line, number] = SIZE
                self.promised[line].append(number)
        self.fresh.clear()

    @rule()
    def fail_to_commit(self) -> None:
        for number, _ in self.fresh:
            self.outbox.withdraw(number)
        self.fresh.clear()

    @rule(index=st.integers(0, 1), label=st.sampled_from(LABELS), count=st.integers(1, 9))
    def hand_over(self, index: int, label: str, count: int) -> None:
        receiver = self.receivers[index]
        for _ in range(count):
            number = self.outbox.hand_over(Line(receiver.peer_id, label))
            if number is not None:
                assert (Line(receiver.peer_id, label), number) in self.file, "sent before it was stored"
                receiver.to_receiver.append((label, number))

    @rule(index=st.integers(0, 1), count=st.integers(1, 9))
    def arrive(self, index: int, count: int) -> None:
        receiver = self.receivers[index]
        for _ in range(min(count, len(receiver.to_receiver))):
            receiver.inbox.append(receiver.to_receiver.popleft())

    @rule(index=st.integers(0, 1), count=st.integers(1, 9))
    def take(self, index: int, count: int) -> None:
        receiver = self.receivers[index]
        for _ in range(min(count, len(receiver.inbox))):
            receiver.take()

    @rule(index=st.integers(0, 1))
    def commit_receipts(self, index: int) -> None:
        self.receivers[index].commit()

    @rule(index=st.integers(0, 1))
    def receipts_arrive(self, index: int) -> None:
        receiver = self.receivers[index]
        for receipt in receiver.to_sender:
            settled = self.outbox.settle(Line(receiver.peer_id, receipt.label), receipt.through)
            if settled is not None:
                for line, number in list(self.file):
                    if line == settled.line and number <= settled.through:
                        del self.file[line, number]
                        self_unneeded = not any(kept == number for _, kept in self.file)
                        assert (number in settled.unneeded) is self_unneeded
        receiver.to_sender = []

    @rule(index=st.integers(0, 1))
    def lose_the_session(self, index: int) -> None:
        self.outbox.begin(self.receivers[index].peer_id)
        self.receivers[index].connect()

    @rule(index=st.integers(0, 1))
    def crash_a_receiver(self, index: int) -> None:
        self.outbox.begin(self.receivers[index].peer_id)
        self.receivers[index].restart()

    @rule()
    def crash_the_sender(self) -> None:
        entries = [Entry(line, number, size) for (line, number), size in self.file.items()]
        entries.sort(key=lambda entry: entry.number)
        self.outbox = Outbox(max_bytes=MAX_BYTES, last_number=self.last_number, entries=entries)
        self.fresh.clear()
        for receiver in self.receivers:
            receiver.connect()

    @invariant()
    def every_life_is_given_each_message_once_and_in_order(self) -> None:
        for receiver in getattr(self, "receivers", ()):
            for label in LABELS:
                this_life = receiver.this_life[label]
                assert this_life == sorted(set(this_life))
                assert set(this_life) <= set(self.promised[Line(receiver.peer_id, label)])

    @invariant()
    def what_is_kept_is_in_the_file_and_within_bounds(self) -> None:
        if hasattr(self, "outbox"):
            assert self.outbox.cost_bytes <= MAX_BYTES
            waiting = sum(self.outbox.waiting(line) for line in self.outbox.lines())
            assert waiting == len(self.file)

    def teardown(self) -> None:
        if not hasattr(self, "outbox"):
            return
        self.commit()
        for index, receiver in enumerate(self.receivers):
            self.lose_the_session(index)
            for label in LABELS:
                self.hand_over(index, label, 1000)
            self.arrive(index, 1000)
            self.take(index, 1000)
            self.commit_receipts(index)
            self.receipts_arrive(index)
            for label in LABELS:
                taken = receiver.taken[label]
                assert list(dict.fromkeys(taken)) == self.promised[Line(receiver.peer_id, label)], (
                    "lost or reordered"
                )
        assert self.outbox.cost_bytes == 0
        assert not self.file


BothEndsTest = BothEnds.TestCase
BothEndsTest.settings = settings(max_examples=300, stateful_step_count=60, deadline=None)


def line(receiver: str, label: str = "a") -> Line:
    return Line(PeerId(receiver), label)


def test_a_receiver_with_a_file_is_given_again_only_what_it_had_not_noted() -> None:
    receiver = Receiver(BOB, durable=True)
    receiver.inbox.extend(("a", number) for number in range(1, 6))
    for _ in range(3):
        receiver.take()
    receiver.commit()
    receiver.take()
    receiver.restart()
    receiver.inbox.extend(("a", number) for number in range(1, 6))
    for _ in range(5):
        receiver.take()
    assert receiver.taken["a"] == [1, 2, 3, 4, 4, 5]


def test_numbers_ascend_even_when_the_clock_does_not() -> None:
    outbox = Outbox(max_bytes=MAX_BYTES)
    numbers = [outbox.accept(SIZE, [line("bob")], at_least=clock) for clock in (1000, 1000, 500, 2000)]
    assert numbers == [1000, 1001, 1002, 2000]
    assert Outbox(max_bytes=MAX_BYTES, last_number=2000).accept(SIZE, [line("bob")], at_least=1) == 2001


def test_a_message_to_many_is_kept_once_and_until_the_last_has_it() -> None:
    outbox = Outbox(max_bytes=10_000)
    number = outbox.accept(5_000, [line("bob"), line("cat")], at_least=0)
    outbox.stored(number)
    assert outbox.cost_bytes == 5_000 + 2 * ENTRY_OVERHEAD_BYTES
    settled = outbox.settle(line("bob"), number)
    assert settled is not None
    assert settled.unneeded == []
    assert outbox.cost_bytes == 5_000 + ENTRY_OVERHEAD_BYTES
    settled = outbox.settle(line("cat"), number)
    assert settled is not None
    assert settled.unneeded == [number]
    assert outbox.cost_bytes == 0


def test_a_receipt_for_what_was_never_sent_touches_the_receivers_own_line_alone() -> None:
    outbox = Outbox(max_bytes=MAX_BYTES)
    for receiver in ("bob", "cat"):
        outbox.stored(outbox.accept(SIZE, [line(receiver)], at_least=0))
    assert outbox.settle(line("mallory"), 2**70) is None
    assert outbox.settle(line("bob"), 2**70) is not None
    assert list(outbox.lines()) == [line("cat")]


def test_receipts_of_one_sender_cannot_push_out_those_of_others_but_all_together_are_bounded() -> None:
    receipts = Receipts()
    assert receipts.take(ANN, "a", Stamp(1, 5))
    for outbox in range(MAX_RECEIPTS + 10):
        assert receipts.take(BOB, "a", Stamp(outbox, 1))
    assert not receipts.take(ANN, "a", Stamp(1, 5))
    assert len(list(receipts.of(BOB))) == MAX_RECEIPTS
    assert receipts.forgotten() == [(BOB, "a", outbox) for outbox in range(10)]
    for number in range(MAX_MARKS):
        receipts.take(PeerId(str(number)), "a", Stamp(1, 1))
    assert len(receipts) == MAX_MARKS
    assert list(receipts.of(ANN)) == []


@given(st.binary(max_size=40))
def test_any_bytes_are_a_stamped_message_or_are_refused(payload: bytes) -> None:
    try:
        stamp, rest = split(payload)
    except NotDecodable:
        return
    assert stamped(stamp, rest) == payload


@given(st.binary(max_size=40))
def test_any_bytes_are_receipts_or_are_refused(payload: bytes) -> None:
    try:
        receipts = decode_receipts(payload)
    except NotDecodable:
        return
    assert all(isinstance(receipt, Receipt) for receipt in receipts)


def test_receipts_survive_their_encoding_and_the_largest_fit_into_one_value() -> None:
    receipts = [Receipt("x" * 255, 2**63 - 1, 2**63 - 1 - number) for number in range(MAX_RECEIPTS)]
    encoded = encode_receipts(receipts)
    assert decode_receipts(encoded) == receipts
    assert len(encoded) < 64 * 1024


def test_a_stamp_that_no_file_can_hold_is_refused() -> None:
    with pytest.raises(NotDecodable):
        split(b"\xff" * (STAMP_BYTES + 5))
