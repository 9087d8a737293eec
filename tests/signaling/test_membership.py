"""A membership as its own peer keeps it."""

import pytest

from rtcmesh.signaling.codes import LeaveReason
from rtcmesh.signaling.errors import ProtocolError
from rtcmesh.signaling.membership import Membership
from rtcmesh.signaling.messages import Challenge, Limits, PeerLeft, Resume, SendSignal, SetPresence, Welcome
from rtcmesh.signaling.prekey import verify_join
from support.members import Member
from support.rooms import NAMES

ALICE = Member(number=1)
CHALLENGE = Challenge(
    nonce=b"n" * 32,
    server_time=0.0,
    limits=Limits(
        max_message_bytes=1000,
        max_signal_bytes=100,
        max_presence_bytes=100,
        max_unacknowledged_signals=2,
        join_timeout=1.0,
    ),
)


def make_membership() -> Membership:
    return Membership(
        room=ALICE.room,
        identity=ALICE.identity,
        prekey=ALICE.prekey,
        presence={"n": 1},
        token="t",
        use_relays=True,
        window_bytes=1000,
    )


def welcome(*, resumed: bool, offset: int = 5, epoch: str = "e") -> Welcome:
    return Welcome(epoch=epoch, offset=offset, resumed=resumed, resume_token="r", heartbeat=10.0)


def left(offset: int) -> PeerLeft:
    return PeerLeft(offset=offset, peer_id=NAMES[0], reason=LeaveReason.LEFT)


def test_the_join_proves_the_identity_and_says_how_far_the_room_was_read() -> None:
    membership = make_membership()
    join = membership.join(CHALLENGE)
    verify_join(join.peer_id, join.proof, nonce=CHALLENGE.nonce, room=join.room, prekey=join.prekey)
    assert (join.resume, join.presence, join.token) == (None, {"n": 1}, "t")
    membership.welcomed(welcome(resumed=False))
    membership.advance(left(9))
    assert membership.join(CHALLENGE).resume == Resume(epoch="e", offset=9, token="r")


def test_an_event_that_was_read_before_is_a_protocol_error() -> None:
    membership = make_membership()
    membership.join(CHALLENGE)
    membership.welcomed(welcome(resumed=False))
    for offset in (5, 4):
        with pytest.raises(ProtocolError):
            membership.advance(left(offset))


def test_a_resume_of_something_else_is_a_protocol_error() -> None:
    membership = make_membership()
    membership.join(CHALLENGE)
    with pytest.raises(ProtocolError):
        membership.welcomed(welcome(resumed=True))
    membership.welcomed(welcome(resumed=False))
    membership.join(CHALLENGE)
    for other in (welcome(resumed=True, offset=6), welcome(resumed=True, epoch="f")):
        with pytest.raises(ProtocolError):
            membership.welcomed(other)


def test_a_resume_repeats_what_was_not_answered_and_a_snapshot_gives_it_up() -> None:
    membership = make_membership()
    membership.join(CHALLENGE)
    membership.welcomed(welcome(resumed=False))
    tickets = [membership.outbox.submit(NAMES[0], b"x") for _ in range(3)]
    assert len(membership.outbox.signals_to_send()) == 2
    membership.join(CHALLENGE)
    assert membership.welcomed(welcome(resumed=True)) == []
    assert membership.messages_after_welcome() == [SendSignal(to=NAMES[0], id=i, sealed=b"x") for i in (1, 2)]
    membership.join(CHALLENGE)
    assert membership.welcomed(welcome(resumed=False, epoch="f")) == tickets
    assert membership.messages_after_welcome() == []


def test_a_presence_set_while_the_join_is_under_way_is_said_after_it() -> None:
    membership = make_membership()
    membership.join(CHALLENGE)
    membership.set_presence({"n": 2})
    membership.welcomed(welcome(resumed=False))
    assert membership.messages_after_welcome() == [SetPresence(presence={"n": 2})]
    assert membership.join(CHALLENGE).presence == {"n": 2}
    assert membership.messages_after_welcome() == []
