"""The room: whatever happens to connections, each member's view is exactly the stream, or a snapshot says so."""

from random import Random

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rtcmesh.signaling.codes import LeaveReason, NackCode, RefusalCode
from rtcmesh.signaling.errors import JoinRefused
from rtcmesh.signaling.identity import PeerId
from rtcmesh.signaling.messages import (
    Ack,
    Join,
    Nack,
    PeerJoined,
    PeerLeft,
    PeerResumed,
    PeerSuspended,
    Presence,
    PresenceChanged,
    Resume,
    RoomEvent,
    SendSignal,
    Signal,
)
from rtcmesh.signaling.prekey import Prekey
from rtcmesh.signaling.resume_token import ResumeKey
from rtcmesh.signaling.room import Admission, Deliver, Displace, Room, RoomLimits
from support.rooms import NAMES, RoomModel

PEERS = st.sampled_from(NAMES)
PRESENCES = st.dictionaries(st.sampled_from("xy"), st.integers(0, 2), max_size=2)


class RoomMachine(RuleBasedStateMachine):
    """Joins, leaves, presence, signals, cuts at any point of delivery, resumes, and time."""

    model: RoomModel

    @initialize(history_events=st.sampled_from([2, 3, 4, 8, 1000]), members=st.integers(0, 4))
    def make(self, history_events: int, members: int) -> None:
        self.model = RoomModel(history_events=history_events)
        for peer in NAMES[:members]:
            self.model.join(peer, new_prekey=False, presence=None, resume=False)
            self.model.deliver(peer, 1)

    @rule(
        peer=PEERS,
        new_prekey=st.booleans(),
        presence=st.none() | PRESENCES,
        resume=st.booleans(),
    )
    def join(self, peer: PeerId, *, new_prekey: bool, presence: Presence | None, resume: bool) -> None:
        self.model.join(peer, new_prekey=new_prekey, presence=presence, resume=resume)

    @rule(peer=PEERS)
    def resume(self, peer: PeerId) -> None:
        self.model.join(peer, new_prekey=False, presence=None, resume=True)

    @rule(peer=PEERS)
    def lose(self, peer: PeerId) -> None:
        self.model.lose(peer)

    @rule(peer=PEERS)
    def suspend(self, peer: PeerId) -> None:
        self.model.suspend(peer)

    @rule(peer=PEERS)
    def leave(self, peer: PeerId) -> None:
        self.model.leave(peer)

    @rule(peer=PEERS, presence=PRESENCES)
    def set_presence(self, peer: PeerId, presence: Presence) -> None:
        self.model.set_presence(peer, presence)

    @rule(sender=PEERS, to=PEERS, sealed=st.binary(max_size=9), repeat=st.integers(0, 3))
    def signal(self, sender: PeerId, to: PeerId, sealed: bytes, repeat: int) -> None:
        self.model.signal(sender, to, sealed, repeat=repeat)

    @rule(peer=PEERS, count=st.integers(1, 5))
    def deliver(self, peer: PeerId, count: int) -> None:
        self.model.deliver(peer, count)

    @rule(seconds=st.sampled_from([0.0, 1.0, 5.0, 10.0]))
    def pass_time(self, seconds: float) -> None:
        self.model.pass_time(seconds)

    @precondition(lambda self: hasattr(self, "model"))
    @rule()
    def use_stale_attachments(self) -> None:
        self.model.use_stale_attachments()

    @invariant()
    def every_view_is_the_stream(self) -> None:
        if hasattr(self, "model"):
            self.model.check()

    def teardown(self) -> None:
        if hasattr(self, "model"):
            self.model.converge()


TestRoomMachine = RoomMachine.TestCase
TestRoomMachine.settings = settings(max_examples=60, stateful_step_count=30)


@pytest.mark.parametrize("seed", range(100))
def test_long_random_lives_of_a_room_keep_every_view_whole(seed: int) -> None:
    random = Random(seed)
    model = RoomModel(history_events=random.choice([2, 3, 5, 10, 1000]))
    for _ in range(200):
        peer, other = random.sample(NAMES, 2)
        presence: Presence | None = {"n": random.randrange(3)} if random.random() < 0.3 else None
        step = random.choices(range(8), weights=[1, 6, 2, 4, 1, 2, 6, 6])[0]
        match step:
            case 0:
                model.join(peer, new_prekey=random.random() < 0.3, presence=presence, resume=False)
            case 1:
                model.join(peer, new_prekey=False, presence=presence, resume=True)
            case 2:
                model.lose(peer)
            case 3:
                model.suspend(peer)
            case 4:
                model.leave(peer)
            case 5:
                model.pass_time(random.choice([0.5, 4.0]))
            case 6:
                model.signal(peer, other, bytes(random.randrange(10)), repeat=random.randrange(3))
            case _:
                model.deliver(peer, random.randrange(1, 9))
        model.check()
    model.use_stale_attachments()
    model.converge()


ALICE, BOB, CAROL = NAMES[:3]
KEY = ResumeKey.create()


def make_room(limits: RoomLimits | None = None) -> Room:
    return Room("r", epoch="e", limits=RoomLimits() if limits is None else limits, key=KEY)


def join(room: Room, peer_id: PeerId, *, prekey: bytes = b"k", resume: Resume | None = None) -> Admission:
    return room.join(
        Join(room="r", peer_id=peer_id, prekey=Prekey(prekey, b""), proof=b"", resume=resume), 0.0
    )


def position(admission: Admission) -> Resume:
    return Resume(epoch=admission.epoch, offset=admission.offset, token=admission.resume_token)


def delivered(room: Room, admission: Admission) -> list[RoomEvent]:
    effects = room.effects()
    return [e.entry.event for e in effects if isinstance(e, Deliver) and e.attachment == admission.attachment]


def test_a_signal_to_a_suspended_member_waits_for_its_resume() -> None:
    room = make_room()
    alice, bob = join(room, ALICE), join(room, BOB)
    room.suspend(bob.attachment, 0.0)
    assert room.signal(alice.attachment, SendSignal(to=BOB, id=1, sealed=b"x")) == Ack(id=1)
    back = join(room, BOB, resume=position(bob))
    assert back.resumed
    assert [type(entry.event) for entry in back.replay] == [Signal]


def test_a_signal_to_nobody_is_refused_again_and_again_even_when_somebody_joins_meanwhile() -> None:
    room = make_room()
    alice = join(room, ALICE)
    signal = SendSignal(to=BOB, id=1, sealed=b"x")
    refusal = Nack(id=1, code=NackCode.UNKNOWN_PEER)
    assert room.signal(alice.attachment, signal) == refusal
    bob = join(room, BOB)
    assert room.signal(alice.attachment, signal) == refusal
    assert delivered(room, bob) == []


def test_a_half_open_connection_is_dropped_in_silence_when_its_peer_returns() -> None:
    room = make_room()
    alice, bob = join(room, ALICE), join(room, BOB)
    room.effects()
    back = join(room, ALICE, resume=position(alice))
    assert back.resumed
    assert [type(entry.event) for entry in back.replay] == [PeerJoined]
    assert room.effects() == [Displace(alice.attachment, replaced=False)]
    assert delivered(room, bob) == []


def test_the_same_identity_with_another_prekey_replaces_the_first() -> None:
    room = make_room()
    alice, bob = join(room, ALICE), join(room, BOB)
    room.effects()
    join(room, ALICE, prekey=b"other")
    effects = room.effects()
    assert effects[0] == Displace(alice.attachment, replaced=True)
    events = [e.entry.event for e in effects if isinstance(e, Deliver) and e.attachment == bob.attachment]
    assert isinstance(events[0], PeerLeft)
    assert events[0].reason is LeaveReason.REPLACED
    assert isinstance(events[1], PeerJoined)


def test_who_comes_back_to_find_another_in_its_place_gives_way() -> None:
    room = make_room()
    first = join(room, ALICE)
    second = join(room, ALICE, prekey=b"other")
    room.effects()
    for attached in (True, False):
        if not attached:
            room.suspend(second.attachment, now=0)
            room.effects()
        with pytest.raises(JoinRefused) as refused:
            join(room, ALICE, resume=position(first))
        assert refused.value.code is RefusalCode.REPLACED
        assert room.effects() == []
    assert join(room, ALICE, prekey=b"other", resume=position(second)).resumed


@pytest.mark.parametrize("out_of_turn", [66, 200, 2**40])
def test_a_signal_that_skips_a_window_gets_no_answer_that_might_be_false(out_of_turn: int) -> None:
    room = make_room()
    alice, bob = join(room, ALICE), join(room, BOB)
    room.effects()
    with pytest.raises(JoinRefused) as refused:
        room.signal(alice.attachment, SendSignal(to=BOB, id=out_of_turn, sealed=b""))
    assert refused.value.code is RefusalCode.PROTOCOL_VIOLATION
    assert delivered(room, bob) == []


def test_an_id_whose_answer_is_forgotten_gets_none() -> None:
    room = make_room(RoomLimits(max_unacknowledged_signals=4))
    alice = join(room, ALICE)
    assert isinstance(room.signal(alice.attachment, SendSignal(to=BOB, id=1, sealed=b"")), Nack)
    for id_ in range(2, 6):
        room.signal(alice.attachment, SendSignal(to=ALICE, id=id_, sealed=b""))
    with pytest.raises(JoinRefused):
        room.signal(alice.attachment, SendSignal(to=BOB, id=1, sealed=b""))


def test_a_position_that_was_never_given_out_does_not_resume() -> None:
    room = make_room()
    alice = join(room, ALICE)
    bob = join(room, BOB)
    for changes in (
        {"token": bob.resume_token},
        {"epoch": "other"},
        {"offset": alice.offset - 1},
        {"offset": 99},
    ):
        alice = join(room, ALICE, resume=msgspec.structs.replace(position(alice), **changes))
        assert not alice.resumed
        assert [member.peer_id for member in alice.members] == [BOB]


def test_the_others_see_suspended_then_resumed_and_a_suspended_member_expires() -> None:
    room = make_room(RoomLimits(resume_window=5.0))
    alice, bob = join(room, ALICE), join(room, BOB)
    room.effects()
    room.suspend(alice.attachment, 0.0)
    join(room, ALICE, resume=position(alice))
    room.suspend(alice.attachment, 1.0)
    assert [type(event) for event in delivered(room, bob)] == [PeerSuspended, PeerResumed]
    assert room.deadline() is None


def test_what_is_too_large_is_refused_and_changes_nothing() -> None:
    room = make_room(RoomLimits(max_presence_bytes=10, max_signal_bytes=2))
    alice = join(room, ALICE)
    with pytest.raises(JoinRefused) as refused:
        room.set_presence(alice.attachment, {"key": "value"})
    assert refused.value.code is RefusalCode.MESSAGE_TOO_LARGE
    signal = SendSignal(to=ALICE, id=1, sealed=b"xyz")
    assert room.signal(alice.attachment, signal) == Nack(id=1, code=NackCode.TOO_LARGE)
    nested: dict[str, object] = {}
    for _ in range(20):
        nested = {"": nested}
    with pytest.raises(JoinRefused) as refused:
        room.set_presence(alice.attachment, nested)
    assert refused.value.code is RefusalCode.PROTOCOL_VIOLATION
    assert room.offset == 1


def test_the_history_is_bounded_in_bytes_and_a_peer_that_missed_more_gets_a_snapshot() -> None:
    room = make_room(RoomLimits(history_bytes=1000))
    alice, bob = join(room, ALICE), join(room, BOB)
    room.suspend(bob.attachment, 0.0)
    for id_ in range(1, 20):
        room.signal(alice.attachment, SendSignal(to=BOB, id=id_, sealed=bytes(100)))
    back = join(room, BOB, resume=position(bob))
    assert not back.resumed
    assert back.offset == room.offset


def test_the_events_of_a_return_do_not_push_out_what_was_missed() -> None:
    room = make_room(RoomLimits(history_events=3))
    alice, bob = join(room, ALICE), join(room, BOB)
    room.suspend(bob.attachment, 0.0)
    room.signal(alice.attachment, SendSignal(to=BOB, id=1, sealed=b"x"))
    room.set_presence(alice.attachment, {})
    back = join(room, BOB, resume=position(bob))
    assert back.resumed
    assert [type(entry.event) for entry in back.replay] == [Signal, PresenceChanged]


def test_answers_of_the_last_window_are_remembered_and_no_more() -> None:
    room = make_room(RoomLimits(max_unacknowledged_signals=8))
    alice = join(room, ALICE)
    for id_ in range(1, 1000):
        room.signal(alice.attachment, SendSignal(to=CAROL, id=id_, sealed=b""))
    for id_ in range(992, 1000):
        answer = room.signal(alice.attachment, SendSignal(to=CAROL, id=id_, sealed=b""))
        assert answer == Nack(id=id_, code=NackCode.UNKNOWN_PEER)
    assert len(room._members[ALICE].nacks) == 8


@pytest.mark.parametrize(
    "limits", [{"max_members": 0}, {"history_events": 1}, {"resume_window": -1.0}, {"max_presence_bytes": 1}]
)
def test_limits_out_of_range_are_rejected(limits: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must"):
        RoomLimits(**limits)


def test_an_event_for_a_thousand_members_is_encoded_once() -> None:
    room = make_room(RoomLimits(max_members=1000))
    letters = "abcdefghijklmnop"
    ids = [PeerId(f"{x}{y}{z}".ljust(51, "b") + "a") for x in letters for y in letters for z in letters][
        :1000
    ]
    first = join(room, ids[0])
    for peer_id in ids[1:]:
        join(room, peer_id)
    room.effects()
    room.set_presence(first.attachment, {"x": 1})
    deliveries = room.effects()
    assert len(deliveries) == 999
    assert len({id(delivery.entry.frame) for delivery in deliveries if isinstance(delivery, Deliver)}) == 1
