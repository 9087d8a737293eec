"""Two sessions over paths that die at any moment."""

from __future__ import annotations

from collections import defaultdict, deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtcmesh.peer import frames
from rtcmesh.peer.errors import ProtocolViolation
from rtcmesh.peer.frames import Progress, Resume
from rtcmesh.peer.session import (
    ACK_DELAY,
    PACKET_BYTES,
    CreditGrew,
    MessageReceived,
    RemoteEnded,
    RemoteRestarted,
    Session,
)

WINDOW = 1000
GRANT = 128 * 1024


class End:
    """A session, what its application got, and what it has not taken yet."""

    def __init__(self, number: int) -> None:
        self.session = Session(number, window=WINDOW)
        self.outgoing: deque[bytes] = deque()
        self.unread: deque[MessageReceived] = deque()
        self.read: defaultdict[str, list[bytes]] = defaultdict(list)
        self.sent: defaultdict[str, list[bytes]] = defaultdict(list)
        self.ended = False

    def send(self, label: str, payload: bytes) -> bool:
        if not self.session.fits(label, payload):
            return False
        self.session.send(label, payload)
        self.sent[label].append(payload)
        return True

    def collect(self) -> None:
        for event in self.session.events():
            match event:
                case MessageReceived():
                    self.unread.append(event)
                case RemoteEnded():
                    self.ended = True
                case CreditGrew():
                    pass

    def take(self, now: float) -> None:
        if self.unread:
            message = self.unread.popleft()
            self.read[message.label].append(message.payload)
            self.session.taken(message, now)


class Pair:
    """Two ends and one path between them, ordered and reliable until it is killed with what is under way."""

    def __init__(self) -> None:
        self.now = 0.0
        self.ends = [End(11), End(22)]

    def open_path(self) -> None:
        for end in self.ends:
            end.outgoing.clear()
            end.session.path_opened()

    def kill_path(self) -> None:
        for end in self.ends:
            end.outgoing.clear()
            end.session.path_lost()

    def flush(self, sender: int, budget: int = 10**6) -> None:
        self.ends[sender].outgoing.extend(self.ends[sender].session.packets_to_send(budget))

    def deliver(self, receiver: int) -> None:
        queue = self.ends[1 - receiver].outgoing
        if queue:
            self.ends[receiver].session.receive(queue.popleft(), self.now)
            self.ends[receiver].collect()

    def let_time_pass(self, seconds: float) -> None:
        self.now += seconds
        for end in self.ends:
            end.session.handle_timeout(self.now)

    def settle(self) -> None:
        """Deliver and read until nothing moves."""
        for _ in range(400):
            self.let_time_pass(ACK_DELAY)
            for index, end in enumerate(self.ends):
                self.flush(index)
                while self.ends[1 - index].outgoing:
                    self.deliver(index)
                while end.unread:
                    end.take(self.now)


def connected() -> Pair:
    pair = Pair()
    pair.open_path()
    pair.settle()
    return pair


def test_what_was_sent_before_there_was_a_path_goes_over_the_first_one() -> None:
    pair = Pair()
    for number in range(5):
        assert pair.ends[0].send("chat", b"%d" % number)
    assert pair.ends[0].session.packets_to_send(10**6) == []
    pair.open_path()
    pair.settle()
    assert pair.ends[1].read["chat"] == [b"0", b"1", b"2", b"3", b"4"]
    assert pair.ends[0].session.unacknowledged == 0


def roomy_session() -> Session:
    """A session with a synchronised path and a megabyte of credit."""
    session = Session(1, window=10**6)
    session.path_opened()
    session.receive(frames.encode_resume(Resume(2, 1, 10**6, ())), 0)
    return session


def test_small_messages_share_packets_and_large_ones_do_not() -> None:
    session = roomy_session()
    for _ in range(100):
        session.send("small", bytes(100))
    session.send("large", bytes(40_000))
    packets = session.packets_to_send(10**6)
    assert sum(len(packet) > PACKET_BYTES for packet in packets) == 1
    assert len(packets) == 3


def test_channels_take_turns() -> None:
    pair = connected()
    for number in range(5):
        pair.ends[0].send("a", b"a%d" % number)
    pair.ends[0].send("b", b"b")
    pair.flush(0)
    pair.deliver(1)
    assert [message.payload for message in pair.ends[1].unread][:3] == [b"a0", b"b", b"a1"]


def test_the_budget_holds_data_back_for_a_later_call() -> None:
    session = roomy_session()
    for _ in range(90):
        session.send("bulk", bytes(10_000))
    first = session.packets_to_send(30_000)
    assert 30_000 <= sum(map(len, first)) < 30_000 + PACKET_BYTES
    assert sum(map(len, session.packets_to_send(10**7))) > 850_000


def test_a_reader_that_stops_stops_its_sender_on_that_channel_only() -> None:
    pair = connected()
    while pair.ends[0].send("stuck", bytes(100)):
        pair.flush(0)
        pair.deliver(1)
        pair.let_time_pass(ACK_DELAY)
        pair.flush(1)
        pair.deliver(0)
    assert 0 < len(pair.ends[0].sent["stuck"]) * (100 + frames.MESSAGE_OVERHEAD) <= WINDOW
    assert pair.ends[0].send("other", b"still goes")
    pair.settle()
    assert pair.ends[0].send("stuck", bytes(100)), "reading gives credit again"


def test_the_end_comes_after_everything_was_acknowledged() -> None:
    pair = connected()
    pair.ends[0].send("chat", b"last words")
    pair.ends[0].session.end()
    assert not pair.ends[0].session.ended
    pair.settle()
    assert pair.ends[0].session.ended
    assert pair.ends[1].ended
    assert pair.ends[1].read["chat"] == [b"last words"]


def test_the_end_is_said_again_on_the_next_path() -> None:
    pair = connected()
    pair.ends[0].session.end()
    pair.flush(0)
    pair.kill_path()
    pair.open_path()
    pair.settle()
    assert pair.ends[1].ended


def test_another_session_at_the_other_end_is_noticed_and_never_taken_for_the_old_one() -> None:
    pair = connected()
    pair.ends[0].send("chat", b"lost")
    pair.kill_path()
    pair.ends[1] = End(33)
    pair.open_path()
    pair.flush(1)
    with pytest.raises(RemoteRestarted):
        pair.deliver(0)
    assert pair.ends[0].session.unacknowledged == 1


def test_a_new_session_ignores_what_is_meant_for_the_one_before() -> None:
    fresh = Session(33, window=WINDOW)
    fresh.path_opened()
    fresh.receive(frames.encode_resume(Resume(11, 22, GRANT, (Progress(0, 7, 100),))), 0)
    fresh.send("chat", b"hello")
    assert b"hello" not in b"".join(fresh.packets_to_send(10**6)), "not synchronised yet"
    fresh.receive(frames.encode_resume(Resume(44, 33, GRANT, ())), 0)
    assert b"hello" in b"".join(fresh.packets_to_send(10**6))


def resume(*progress: Progress) -> bytes:
    return frames.encode_resume(Resume(22, 11, GRANT, progress))


@pytest.mark.parametrize(
    ("packets", "code"),
    [
        ([resume(), frames.encode_data(0, 1, b"x")], "unknown_channel"),
        ([resume(), frames.encode_open(0, "a") + frames.encode_data(0, 2, b"x")], "gap"),
        ([resume(), frames.encode_open(0, "a") + frames.encode_data(0, 1, bytes(WINDOW))], "beyond_credit"),
        ([resume(), frames.encode_open(1, "a")], "bad_open"),
        ([resume(), frames.encode_open(0, "a") + frames.encode_open(0, "b")], "bad_open"),
        (
            [resume(), *(frames.encode_open(n, f"{n}") for n in range(frames.MAX_CHANNELS + 1))],
            "too_many_channels",
        ),
        ([resume(), frames.encode_ack(Progress(3, 1, 1))], "bad_ack"),
        ([resume(), frames.encode_ack(Progress(0, 2, WINDOW))], "bad_ack"),
        ([resume(), resume()], "bad_resume"),
        ([resume(Progress(0, 9, WINDOW))], "bad_resume"),
        ([resume(Progress(3, 0, WINDOW))], "bad_resume"),
        ([b"\x09" + bytes(14)], "bad_frame"),
    ],
)
def test_what_the_protocol_does_not_allow_has_a_code(packets: list[bytes], code: str) -> None:
    session = Session(11, window=WINDOW)
    session.path_opened()
    session.send("chat", b"one message")
    session.packets_to_send(10**6)
    with pytest.raises(ProtocolViolation) as caught:  # noqa: PT012
        for packet in packets:
            session.receive(packet, 0)
            session.packets_to_send(10**6)
    assert caught.value.code == code


def test_a_peer_that_grants_too_much_cannot_make_us_keep_more_than_a_window() -> None:
    session = Session(11, window=WINDOW)
    session.path_opened()
    session.send("chat", b"x")
    session.receive(resume(), 0)
    session.packets_to_send(10**6)
    session.receive(frames.encode_ack(Progress(0, 0, 2**63)), 0)
    kept = 0
    while session.fits("chat", bytes(100)):
        session.send("chat", bytes(100))
        kept += 100 + frames.MESSAGE_OVERHEAD
        assert kept <= WINDOW


def test_windows_of_different_size_bound_what_either_end_holds() -> None:
    pair = Pair()
    pair.ends[1].session = Session(22, window=400)
    for number in range(12):
        pair.ends[0].send("chat", b"%d" % number)
    pair.open_path()
    for _ in range(3):
        pair.let_time_pass(ACK_DELAY)
        for index in (0, 1):
            pair.flush(index)
            while pair.ends[1 - index].outgoing:
                pair.deliver(index)
    assert len(pair.ends[1].unread) == 400 // (1 + frames.MESSAGE_OVERHEAD)
    assert not pair.ends[0].session.fits("chat", b"beyond the credit")
    pair.settle()
    assert pair.ends[1].read["chat"] == [b"%d" % number for number in range(12)]


def test_what_was_taken_before_the_remote_resume_came_is_reported_after_it() -> None:
    pair = connected()
    pair.ends[0].send("chat", b"unread")
    pair.flush(0)
    pair.deliver(1)
    pair.kill_path()
    pair.open_path()
    pair.flush(1)
    pair.ends[1].take(pair.now)
    pair.let_time_pass(ACK_DELAY)
    assert pair.ends[1].session.packets_to_send(10**6) == [], "nothing but RESUME before the remote RESUME"
    pair.settle()
    assert pair.ends[0].session.unacknowledged == 0


def test_a_session_that_changes_on_one_path_is_a_violation_and_not_a_restart() -> None:
    pair = connected()
    with pytest.raises(ProtocolViolation):
        pair.ends[0].session.receive(frames.encode_resume(Resume(99, 11, GRANT, ())), 0)


def test_a_peer_that_has_lost_what_it_acknowledged_is_found_out() -> None:
    session = Session(11, window=WINDOW)
    session.path_opened()
    session.send("chat", b"x")
    session.receive(resume(), 0)
    session.packets_to_send(10**6)
    session.receive(frames.encode_ack(Progress(0, 1, WINDOW)), 0)
    session.path_lost()
    session.path_opened()
    with pytest.raises(ProtocolViolation):
        session.receive(resume(), 0)


@settings(max_examples=300)
@given(packets=st.lists(st.binary(max_size=60), max_size=8))
def test_any_bytes_are_taken_or_refused_with_a_code(packets: list[bytes]) -> None:
    session = Session(11, window=WINDOW)
    session.path_opened()
    try:
        for packet in packets:
            session.receive(packet, 0)
    except (ProtocolViolation, RemoteRestarted):
        pass


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(0, 1), st.integers(0, 2), st.integers(0, 400)),
        st.tuples(st.just("flush"), st.integers(0, 1), st.integers(1, 2000), st.just(0)),
        st.tuples(st.just("deliver"), st.integers(0, 1), st.just(0), st.just(0)),
        st.tuples(st.just("take"), st.integers(0, 1), st.just(0), st.just(0)),
        st.tuples(st.just("kill"), st.just(0), st.just(0), st.just(0)),
        st.tuples(st.just("open"), st.just(0), st.just(0), st.just(0)),
        st.tuples(st.just("wait"), st.just(0), st.just(0), st.just(0)),
    ),
    max_size=120,
)


@settings(max_examples=400)
@given(steps=STEPS)
def test_every_message_arrives_once_and_in_order_whatever_the_paths_do(
    steps: list[tuple[str, int, int, int]],
) -> None:
    pair = Pair()
    for step, which, number, size in steps:
        match step:
            case "send":
                end = pair.ends[which]
                label = "abc"[number]
                end.send(label, b"%d " % len(end.sent[label]) + bytes(size))
            case "flush":
                pair.flush(which, number)
            case "deliver":
                pair.deliver(which)
            case "take":
                pair.ends[which].take(pair.now)
            case "kill":
                pair.kill_path()
            case "open":
                pair.open_path()
            case _:
                pair.let_time_pass(ACK_DELAY)
        for end, other in (pair.ends, pair.ends[::-1]):
            for label in "abc":
                arrived = end.read[label] + [m.payload for m in end.unread if m.label == label]
                assert arrived == other.sent[label][: len(arrived)]
    pair.kill_path()
    pair.open_path()
    pair.settle()
    for end, other in (pair.ends, pair.ends[::-1]):
        assert other.session.unacknowledged == 0
        for label in "abc":
            assert end.read[label] == other.sent[label]


def test_a_resume_cannot_claim_what_was_never_handed_out() -> None:
    session = Session(11, window=WINDOW)
    for _ in range(3):
        session.send("chat", b"never handed out")
    session.path_opened()
    with pytest.raises(ProtocolViolation):
        session.receive(resume(Progress(0, 3, WINDOW)), 0)
    assert session.unacknowledged == 3
