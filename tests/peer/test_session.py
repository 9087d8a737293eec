from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.peer.delivery import Delivery, Priority
from rtcmesh.peer.errors import ProtocolViolation, RemoteRestarted
from rtcmesh.peer.session import frames, probes
from rtcmesh.peer.session.frames import (
    FIRST,
    FRAGMENT_BYTES,
    FRAGMENT_OVERHEAD,
    LAST,
    MAX_LATEST_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_TOGETHER,
    MIN_CHANNEL_WINDOW_BYTES,
    PACKET_BYTES,
    Ack,
    Header,
    Messages,
    Open,
)
from rtcmesh.peer.session.session import Session
from rtcmesh.peer.session.session_events import Acknowledged, MessagesReceived
from rtcmesh.relay.frames import Urgency
from support.sessions import WINDOW, Faults, Lab

SEEDS = 400
"""How many adversarial networks the property is checked on."""

INTERACTIVE, BULK = Priority.INTERACTIVE, Priority.BULK


def some_faults(random: Random) -> Faults:
    return Faults(
        drop=random.choice([0, 0, 0.02, 0.3, 0.9]),
        repeat=random.choice([0, 0.1, 0.5]),
        delay=random.choice([0.001, 0.02, 0.3]),
        jitter=random.choice([0, 0.01, 0.5]),
        late=random.choice([0, 0, 0.05]),
    )


def some_message(random: Random, number: int, delivery: Delivery) -> bytes:
    largest = {Delivery.BEST_EFFORT: 8_000, Delivery.LATEST: 60_000}.get(delivery, 90_000)
    size = random.choice([0, 5, 200, 1000]) if random.random() < 0.9 else random.randrange(largest)
    return number.to_bytes(4, "big") + bytes(size)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_whatever_the_paths_do_every_channel_keeps_its_promise(seed: int) -> None:
    lab = Lab(seed)
    random = lab.random
    lab.open(some_faults(random))
    channels = [
        (f"{delivery.value} {index}", delivery, random.choice([INTERACTIVE, BULK]))
        for delivery in Delivery
        for index in range(random.randrange(3))
    ]
    for number in range(random.randrange(150)):
        end = random.choice(lab.ends)
        match random.randrange(12):
            case 0:
                lab.open(some_faults(random), use=random.random() < 0.5)
            case 1 if len(lab.faults) > 1:
                lab.close(random.choice(list(lab.faults)))
            case 2:
                end.path = random.choice(list(lab.faults))
            case 3:
                end.session.path_doubted(end.path, lab.now)
            case 4:
                end.session.path_refused(end.path, lab.now)
            case 5:
                end.reading = not end.reading
            case 6:
                lab.lose_everything()
            case 7:
                lab.run(random.choice([0.001, 0.1, 1, 10]))
            case 8 if channels:
                label, delivery, priority = random.choice(channels)
                for index in range(random.randrange(100)):
                    payload = (number << 8 | index).to_bytes(5, "big") + bytes(random.choice([0, 60, 600]))
                    lab.offer(end, label, payload, delivery, priority)
            case _ if channels:
                label, delivery, priority = random.choice(channels)
                lab.offer(end, label, some_message(random, number, delivery), delivery, priority)
            case _:
                pass
        if random.random() < 0.5:
            lab.drain(end, budget=random.choice([1000, 50_000, 1 << 20]))
        lab.check()
    lab.open()
    for end in lab.ends:
        end.reading = True
    lab.run(60)
    lab.check_complete()
    for end in lab.ends:
        end.session.end()
    lab.run(20)
    assert all(end.ended and end.remote_ended for end in lab.ends)


def test_a_message_leaves_before_anything_was_heard_and_is_delivered_from_the_first_packet() -> None:
    lab = Lab()
    lab.open()
    lab.send(lab.ann, "chat", b"hello", Delivery.RELIABLE, INTERACTIVE)
    (packet,) = lab.ann.session.packets_to_send(1, 1 << 20, 0)
    assert frames.decode_header(packet.data).destination == 0
    lab.bob.session.receive(packet.data, 1, 0)
    (event,) = lab.bob.session.events()
    assert event == MessagesReceived("chat", 0, (b"hello",), Delivery.RELIABLE, stored=False, cost=69)


def test_the_messages_of_one_turn_share_a_packet() -> None:
    lab = Lab()
    lab.open()
    for number in range(50):
        lab.send(lab.ann, f"channel {number % 3}", b"%d" % number, Delivery.RELIABLE, INTERACTIVE)
    assert len(lab.ann.session.packets_to_send(1, 1 << 20, 0)) == 1


def test_the_messages_of_one_channel_and_turn_are_one_fragment_and_acknowledged_as_one() -> None:
    remote = Counterpart()
    for number in range(1, 101):
        assert remote.session.channel("x").accept(b"%d" % number) == number
    _, together = remote.hear()
    assert together == Messages(
        0,
        1,
        tuple(b"%d" % number for number in range(1, 101)),
        cost=100 * FRAGMENT_OVERHEAD + 192,
        size=FRAGMENT_OVERHEAD + 100 * frames.LENGTH_BYTES + 192,
    )
    remote.say(frames.encode_ack(Ack(0, 1, 1 << 40, ())))
    assert Acknowledged("x", 100) in remote.session.events()
    assert remote.session.unacknowledged == 0


def test_messages_that_are_together_keep_to_the_credit() -> None:
    remote = Counterpart(window=1 << 20)
    for _ in range(5000):
        assert remote.session.channel("x").accept(b"")
    sent = [len(frame.payloads) for frame in remote.hear() if isinstance(frame, Messages)]
    assert sent == [MAX_TOGETHER] * (MIN_CHANNEL_WINDOW_BYTES // MAX_TOGETHER // FRAGMENT_OVERHEAD)
    remote.say(frames.encode_ack(Ack(0, len(sent), MIN_CHANNEL_WINDOW_BYTES + 100 * FRAGMENT_OVERHEAD, ())))
    (more,) = [frame for frame in remote.hear() if isinstance(frame, Messages)]
    assert len(more.payloads) == 100
    assert remote.session.unacknowledged == 5000 - sum(sent)


def test_messages_that_came_together_are_credited_together() -> None:
    remote = Counterpart()
    remote.say(OPEN, frames.encode_messages(0, 1, [b"a", b"bc", b""]))
    (event,) = remote.session.events()
    assert event == MessagesReceived("x", 0, (b"a", b"bc", b""), Delivery.RELIABLE, stored=False, cost=195)
    assert isinstance(event, MessagesReceived)
    remote.session.taken(event, 0)
    remote.session.handle_timeout(1)
    (ack,) = remote.hear()
    assert ack == Ack(0, 1, WINDOW + 3 + 3 * FRAGMENT_OVERHEAD, ())


SOME_OR_ALIKE = st.lists(st.binary(max_size=300), min_size=1, max_size=50) | st.integers(0, 300).flatmap(
    lambda size: st.lists(st.binary(min_size=size, max_size=size), min_size=1, max_size=50)
)


@given(SOME_OR_ALIKE, st.integers(1, 2**64 - 1))
def test_messages_come_apart_as_they_were_put_together(payloads: list[bytes], number: int) -> None:
    packet = frames.encode_header(Header(1, 0)) + frames.encode_messages(7, number, payloads)
    size = frames.window_size(sum(map(len, payloads)), len(payloads))
    cost = sum(map(frames.cost, payloads))
    assert frames.decode_frames(packet) == [Messages(7, number, tuple(payloads), cost, size)]


def test_a_small_message_overtakes_a_bulk_transfer_within_one_fragment() -> None:
    lab = Lab()
    lab.open()
    lab.send(lab.ann, "file", bytes(1_000_000), Delivery.RELIABLE, INTERACTIVE)
    while packets := lab.ann.session.packets_to_send(1, PACKET_BYTES, 0):
        assert all(packet.urgency is not Urgency.INTERACTIVE for packet in packets)
    lab.send(lab.ann, "keys", b"x", Delivery.RELIABLE, INTERACTIVE)
    (packet,) = lab.ann.session.packets_to_send(1, PACKET_BYTES, 0)
    assert packet.urgency is Urgency.INTERACTIVE


def test_channels_of_one_urgency_take_turns_fragment_by_fragment() -> None:
    lab = Lab()
    lab.open()
    for label in ("one", "two"):
        lab.send(lab.ann, label, bytes(60_000), Delivery.RELIABLE, BULK)
    packets = lab.ann.session.packets_to_send(1, 4 * PACKET_BYTES, 0)
    channels = [
        frame.channel
        for packet in packets
        for frame in frames.decode_frames(packet.data)
        if isinstance(frame, frames.Data)
    ]
    assert channels[:4] == [0, 1, 0, 1]


@pytest.mark.parametrize("delivery", [Delivery.RELIABLE, Delivery.UNORDERED])
def test_two_messages_far_larger_than_the_window_arrive_side_by_side(delivery: Delivery) -> None:
    lab = Lab()
    lab.open(Faults(drop=0.01))
    for label in ("one", "two"):
        assert lab.send(lab.ann, label, Random(label).randbytes(3_000_000), delivery, BULK)
        assert not lab.ann.session.channel(label).fits(b"")
    lab.run(60)
    lab.check_complete()


def test_memory_for_large_messages_is_granted_to_one_channel_at_a_time() -> None:
    lab = Lab()
    lab.open()
    lab.bob.reading = False
    for number in range(5):
        lab.send(lab.ann, str(number), bytes(2_000_000), Delivery.RELIABLE, BULK)
    lab.run(60)
    assert len(lab.bob.untaken) == 1
    lab.bob.reading = True
    lab.run(60)
    lab.check_complete()


@pytest.mark.parametrize("delivery", [Delivery.RELIABLE, Delivery.UNORDERED])
def test_a_slow_reader_of_large_messages_keeps_none_from_another_channel(delivery: Delivery) -> None:
    lab = Lab()
    lab.open()
    lab.bob.reading = False
    sizes = {"slow": 600_000, "other": 300_000, "third": 300_000}
    for label, size in sizes.items():
        for number in range(60 if label == "slow" else 1):
            lab.offer(lab.ann, label, number.to_bytes(4) + bytes(size), delivery, BULK)
    for _ in range(30):
        lab.run(1)
        if lab.bob.untaken:
            lab.bob.session.taken(lab.bob.untaken.pop(0), lab.now)
    assert lab.bob.received["other"]
    assert lab.bob.received["third"]
    assert len(lab.bob.received["slow"]) > 10
    lab.bob.reading = True
    lab.run(60)
    lab.check_complete()


def test_a_reader_that_stops_stops_its_sender_and_the_window_bounds_what_waits() -> None:
    lab = Lab()
    lab.open()
    lab.bob.reading = False
    while lab.send(lab.ann, "x", bytes(1000), Delivery.RELIABLE, INTERACTIVE):
        pass
    for _ in range(100):
        lab.run(1)
        lab.send(lab.ann, "x", bytes(1000), Delivery.RELIABLE, INTERACTIVE)
    assert sum(messages.cost for messages in lab.bob.untaken) <= WINDOW
    lab.bob.reading = True
    lab.run(30)
    lab.check_complete()


def test_a_credit_that_is_lost_on_its_way_does_not_stop_a_channel_for_ever() -> None:
    lab = Lab()
    lab.open()
    lab.bob.reading = False
    while lab.send(lab.ann, "x", bytes(10_000), Delivery.RELIABLE, INTERACTIVE):
        lab.run(0.1)
    lab.run(5)
    lab.lose_everything()
    lab.faults[1].drop = 1
    lab.bob.reading = True
    lab.run(0.5)
    lab.faults[1].drop = 0
    lab.run(20)
    lab.check_complete()


def test_what_was_taken_for_lost_makes_room_when_it_turns_out_to_have_arrived() -> None:
    lab = Lab()
    lab.open(Faults(delay=1))
    while lab.send(lab.ann, "x", bytes(10_000), Delivery.RELIABLE, INTERACTIVE):
        pass
    lab.drain(lab.ann)
    lab.offer(lab.ann, "x", bytes(10_000), Delivery.RELIABLE, INTERACTIVE)
    lab.ann.session.path_doubted(1, 0)
    lab.ann.path = 0  # nothing is sent again before it is acknowledged
    lab.run(5)
    assert not lab.ann.waiting["x"]


def test_a_sender_that_waits_for_credit_asks_seldom() -> None:
    lab = Lab()
    lab.open()
    lab.bob.reading = False
    while lab.send(lab.ann, "x", bytes(10_000), Delivery.RELIABLE, INTERACTIVE):
        lab.run(0.1)
    lab.run(60)
    before = lab.packets
    lab.run(600)
    assert lab.packets - before <= 2 * 600 / 8 + 2


def test_latest_keeps_memory_at_two_values_and_delivers_the_newest() -> None:
    lab = Lab()
    lab.open(Faults(drop=0.3))
    for number in range(2000):
        payload = number.to_bytes(4, "big") + bytes(number % 7 * 9000)
        lab.send(lab.ann, "pose", payload, Delivery.LATEST, INTERACTIVE)
        if number % 10 == 0:
            lab.run(0.01)
        lab.check()
    lab.run(10)
    lab.check_complete()
    assert len(lab.bob.received["pose"]) > 20


@pytest.mark.parametrize("drop", [0, 0.5])
def test_a_value_is_confirmed_once_it_or_a_newer_one_has_arrived(drop: float) -> None:
    lab = Lab()
    lab.open(Faults(drop=drop))
    for number in range(100):
        lab.send(lab.ann, "pose", bytes(number % 4 * 9000), Delivery.LATEST, INTERACTIVE)
        lab.drain(lab.ann)
        lab.run(0.005)
    assert not lab.ann.session.channel("pose").is_acknowledged(100)
    lab.run(20)
    assert lab.ann.session.channel("pose").is_acknowledged(100)
    assert lab.ann.acknowledged["pose"] == 100


def test_best_effort_never_waits_and_drops_the_oldest() -> None:
    lab = Lab()
    lab.open()
    for number in range(1000):
        assert lab.send(
            lab.ann, "x", number.to_bytes(4, "big") + bytes(1000), Delivery.BEST_EFFORT, INTERACTIVE
        )
    lab.run(1)
    received = [int.from_bytes(payload[:4], "big") for payload in lab.bob.received["x"]]
    assert received == list(range(1000 - len(received), 1000))
    assert 50 < len(received) < 70


def test_what_need_not_arrive_travels_apart_from_what_must() -> None:
    lab = Lab()
    lab.open()
    lab.send(lab.ann, "a", b"a", Delivery.RELIABLE, INTERACTIVE)
    lab.send(lab.ann, "b", b"b", Delivery.BEST_EFFORT, INTERACTIVE)
    assert [packet.datagram for packet in lab.ann.session.packets_to_send(1, 1 << 20, 0)] == [False, True]


def test_a_path_that_goes_takes_nothing_with_it() -> None:
    lab = Lab()
    first = lab.open()
    lab.run(1)
    for number in range(20):
        lab.send(lab.ann, "x", b"%d" % number, Delivery.RELIABLE, INTERACTIVE)
    lab.drain(lab.ann)
    lab.lose_everything()
    lab.open()
    lab.close(first)
    lab.run(0.1)
    assert len(lab.bob.received["x"]) == 20


def test_a_refusal_is_followed_by_a_pause_and_then_by_everything_again() -> None:
    lab = Lab()
    lab.open()
    lab.send(lab.ann, "x", b"x", Delivery.RELIABLE, INTERACTIVE)
    lab.drain(lab.ann)
    lab.lose_everything()
    lab.ann.session.path_refused(1, lab.now)
    lab.run(0.2)
    assert not lab.bob.received
    lab.run(0.2)
    assert lab.bob.received["x"] == [b"x"]


def test_a_greeting_is_said_again_until_the_remote_session_is_heard() -> None:
    lab = Lab()
    lab.open(Faults(drop=1))
    lab.ann.session.hello()
    lab.run(10)
    lab.faults[1].drop = 0
    lab.run(10)
    assert lab.ann.session.remote_number == lab.bob.session.number
    assert lab.bob.session.remote_number == lab.ann.session.number
    before = lab.packets
    lab.run(1000)
    assert lab.packets == before


def test_the_end_is_said_again_until_it_was_heard() -> None:
    lab = Lab()
    lab.open(Faults(drop=1))
    lab.send(lab.ann, "x", b"x", Delivery.RELIABLE, INTERACTIVE)
    lab.ann.session.end()
    lab.run(10)
    assert not lab.ann.ended
    lab.faults[1].drop = 0
    lab.run(20)
    assert lab.bob.received["x"] == [b"x"]
    assert lab.ann.ended
    assert lab.bob.remote_ended
    assert lab.ann.session.ended


class Counterpart:
    """Speaks to a session packet by packet, as an honest session would not."""

    def __init__(self, number: int = 2 << 32 | 1, *, window: int = WINDOW) -> None:
        self.session = Session(1 << 32 | 5, window=window)
        self.session.path_opened(1, 0)
        self.number = number

    def say(self, *said: bytes, source: int | None = None, destination: int | None = None) -> None:
        header = Header(source or self.number, self.session.number if destination is None else destination)
        self.session.receive(frames.encode_header(header) + b"".join(said), 1, 0)

    def hear(self) -> list[frames.Frame]:
        packets = self.session.packets_to_send(1, 1 << 20, 0)
        return [frame for packet in packets for frame in frames.decode_frames(packet.data)]


OPEN = frames.encode_open(Open(0, Delivery.RELIABLE, stored=False, label="x"))


def test_a_session_that_restarted_is_noticed_before_anything_it_says_is_taken() -> None:
    remote = Counterpart()
    remote.say(OPEN)
    for source in (2 << 32 | 2, 3 << 32 | 1):
        with pytest.raises(RemoteRestarted):
            remote.say(OPEN, frames.encode_data(0, FIRST | LAST, 1, 1, b"x"), source=source)
    assert remote.session.events() == []


def test_what_a_predecessor_of_the_remote_session_said_is_ignored() -> None:
    remote = Counterpart(2 << 32 | 7)
    remote.say(OPEN)
    remote.say(frames.encode_data(0, FIRST | LAST, 1, 1, b"x"), source=2 << 32 | 6)
    assert remote.session.events() == []
    fresh = Session(1 << 32 | 6, window=WINDOW, remote_after=2 << 32 | 7)
    late = (
        frames.encode_header(Header(2 << 32 | 7, 0)) + OPEN + frames.encode_data(0, FIRST | LAST, 1, 1, b"x")
    )
    fresh.receive(late, 1, 0)
    assert fresh.events() == []
    assert fresh.remote_number == 0


def test_what_was_meant_for_a_predecessor_is_answered_and_not_taken() -> None:
    remote = Counterpart()
    remote.say(OPEN, frames.encode_data(0, FIRST | LAST, 1, 1, b"x"), destination=77)
    assert remote.session.events() == []
    (packet,) = remote.session.packets_to_send(1, 1 << 20, 0)
    assert frames.decode_header(packet.data).source == remote.session.number


@pytest.mark.parametrize(
    "said",
    [
        frames.encode_data(0, FIRST | LAST, 1, 1, b"x"),
        OPEN + frames.encode_open(Open(0, Delivery.RELIABLE, stored=False, label="y")),
        OPEN + frames.encode_open(Open(0, Delivery.LATEST, stored=False, label="x")),
        frames.encode_open(Open(64, Delivery.RELIABLE, stored=False, label="x")),
        OPEN + frames.encode_data(0, FIRST | LAST, 1, 2, b"x"),
        OPEN + frames.encode_data(0, FIRST | LAST, 0, 1, b"x"),
        OPEN + frames.encode_data(0, FIRST, 1, MAX_MESSAGE_BYTES + 1, b"x"),
        OPEN + frames.encode_data(0, FIRST, 1, 5, b"x") + frames.encode_data(0, FIRST, 2, 5, b"x"),
        OPEN + frames.encode_data(0, FIRST, 1, 5, b"x") + frames.encode_data(0, LAST, 2, 0, b"x"),
        OPEN + b"".join(frames.encode_data(0, 0, n, 0, bytes(1500)) for n in range(2, 100)),
        OPEN + frames.encode_messages(0, 0, [b"x"]),
        OPEN + frames.encode_messages(0, 1, []),
        OPEN + frames.encode_messages(0, 1, [b""] * (MAX_TOGETHER + 1)),
        OPEN + frames.encode_messages(0, 1, [b"x", b"y"])[:-1],
        OPEN + frames.encode_messages(0, 1, [b"x", b"y"])[:-3],
        OPEN + frames.encode_messages(0, 1, [bytes(FRAGMENT_BYTES), b"x"]),
        OPEN
        + frames.encode_data(0, FIRST, 1, 2 * FRAGMENT_BYTES, bytes(FRAGMENT_BYTES))
        + frames.encode_messages(0, 2, [b"x"]),
        frames.encode_open(Open(0, Delivery.LATEST, stored=False, label="x"))
        + frames.encode_messages(0, 1, [b"x"]),
        OPEN + frames.encode_datagram(0, 1, b"x"),
        frames.encode_open(Open(0, Delivery.BEST_EFFORT, stored=False, label="x"))
        + frames.encode_data(0, FIRST | LAST, 1, 1, b"x"),
        frames.encode_open(Open(0, Delivery.LATEST, stored=False, label="x"))
        + frames.encode_data(0, FIRST, 1, MAX_LATEST_BYTES + 1, b"x"),
        frames.encode_ack(Ack(0, 0, 1 << 60, ())),
        frames.encode_blocked(3),
        b"\xff",
        OPEN[:-1],
    ],
)
def test_what_an_honest_session_does_not_say_is_a_violation(said: bytes) -> None:
    remote = Counterpart()
    with pytest.raises(ProtocolViolation):
        remote.say(said)


def test_acknowledging_what_was_never_sent_is_a_violation_and_changes_nothing() -> None:
    remote = Counterpart()
    remote.session.channel("x").accept(b"x")
    remote.hear()
    for ack in (Ack(0, 2, 1 << 40, ()), Ack(0, 0, 1 << 40, ((2, 3),))):
        with pytest.raises(ProtocolViolation):
            remote.say(frames.encode_ack(ack))
    assert remote.session.unacknowledged == 1


def test_credit_without_end_lets_nobody_keep_more_than_the_window() -> None:
    remote = Counterpart()
    remote.session.channel("x").accept(b"")
    remote.hear()
    remote.say(frames.encode_ack(Ack(0, 0, 2**64 - 1, ())))
    count = 0
    while remote.session.channel("x").fits(bytes(1000)):
        remote.session.channel("x").accept(bytes(1000))
        count += 1
    assert count * 1064 <= WINDOW


def test_a_peer_that_acknowledges_nothing_is_sent_ever_less_ever_more_seldom() -> None:
    lab = Lab(window=1 << 20)
    lab.open(Faults(drop=1))
    lab.send(lab.ann, "x", bytes(1_000_000), Delivery.RELIABLE, BULK)
    lab.drain(lab.ann)
    before = lab.packets
    lab.run(100)
    assert lab.packets - before < 80


@given(st.lists(st.binary(max_size=200), max_size=20), st.booleans())
def test_any_bytes_are_a_violation_or_are_taken(packets: list[bytes], headed: bool) -> None:
    remote = Counterpart()
    remote.session.channel("x").accept(b"x")
    remote.hear()
    for body in packets:
        try:
            if headed:
                remote.say(body)
            else:
                remote.session.receive(body, 1, 0)
        except (ProtocolViolation, RemoteRestarted):
            pass
        remote.hear()


@given(
    st.lists(
        st.builds(probes.Probe, st.sampled_from(probes.ProbeType), st.integers(0, 2**64 - 1)), min_size=1
    )
)
def test_probes_share_a_packet(sent: list[probes.Probe]) -> None:
    packet = probes.probe_packet(sent).data
    assert probes.is_probe(packet)
    if len(sent) <= probes.MAX_PROBES:
        assert probes.decode_probes(packet) == sent
    else:
        with pytest.raises(ProtocolViolation):
            probes.decode_probes(packet)


@given(st.sampled_from([b"\x01", b"\x02"]), st.binary(max_size=400))
def test_any_bytes_are_probes_or_break_the_protocol(kind: bytes, rest: bytes) -> None:
    try:
        assert probes.decode_probes(kind + rest)
    except ProtocolViolation:
        return
