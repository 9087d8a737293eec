from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.peer.events import LeaveReason
from rtcmesh.peer.members.roster import Admit, Decision, Dismiss, Rekey, Roster
from rtcmesh.signaling.identity import PeerId
from rtcmesh.signaling.messages import Member
from rtcmesh.signaling.prekey import Prekey

GRACE = 30.0
ANN, BOB = PeerId("a" * 52), PeerId("b" * 52)


def member(peer_id: PeerId, prekey: bytes = b"1") -> Member:
    return Member(peer_id=peer_id, prekey=Prekey(prekey, b""))


def roster(*, reachable: bool) -> Roster:
    machine = Roster(GRACE)
    machine.joined(member(ANN))
    machine.path_changed(ANN, reachable=reachable, now=0)
    return machine


def test_a_new_peer_is_admitted_once() -> None:
    machine = Roster(GRACE)
    assert machine.joined(member(ANN)) == [Admit(member(ANN))]
    assert machine.joined(member(ANN)) == []


def test_a_new_membership_of_a_known_peer_is_a_rekey() -> None:
    machine = roster(reachable=True)
    machine.replaced(ANN, 0)
    assert machine.joined(member(ANN, b"2")) == [Rekey(member(ANN, b"2"))]
    assert machine.deadline() is None


def test_who_says_that_it_leaves_is_dismissed_once_its_path_is_closed() -> None:
    assert roster(reachable=False).left(ANN, orderly=True) == [Dismiss(ANN, LeaveReason.LEFT)]
    machine = roster(reachable=True)
    assert machine.left(ANN, orderly=True) == []
    assert machine.path_changed(ANN, reachable=False, now=1) == [Dismiss(ANN, LeaveReason.LEFT)]


def test_whom_the_server_gives_up_stays_as_long_as_its_path() -> None:
    machine = roster(reachable=True)
    assert machine.left(ANN, orderly=False) == []
    assert machine.deadline() is None
    assert machine.timed_out(ANN) == []
    machine.path_changed(ANN, reachable=False, now=100)
    assert machine.timed_out(ANN) == [Dismiss(ANN, LeaveReason.EXPIRED)]


def test_whom_the_server_gives_up_has_the_session_timeout_to_return() -> None:
    machine = roster(reachable=False)
    assert machine.left(ANN, orderly=False) == []
    assert machine.deadline() is None
    assert machine.joined(member(ANN)) == []
    assert machine.timed_out(ANN) == []
    machine.left(ANN, orderly=False)
    assert machine.timed_out(ANN) == [Dismiss(ANN, LeaveReason.EXPIRED)]


def test_whom_the_server_knows_is_not_dismissed_however_long_it_is_out_of_reach() -> None:
    assert roster(reachable=False).timed_out(ANN) == []


def test_a_restarted_server_that_knows_nobody_disturbs_nobody() -> None:
    machine = roster(reachable=True)
    assert machine.snapshot([], 0) == []
    assert machine.deadline() is None
    assert machine.snapshot([member(ANN), member(BOB)], 5) == [Admit(member(BOB))]


def test_who_is_missing_from_a_restarted_server_has_a_grace_to_return() -> None:
    machine = roster(reachable=False)
    assert machine.snapshot([], 10) == []
    assert machine.handle_timeout(39) == []
    assert machine.joined(member(ANN)) == []
    assert machine.handle_timeout(1000) == []


def test_who_does_not_return_is_dismissed() -> None:
    machine = roster(reachable=False)
    machine.snapshot([], 10)
    assert machine.handle_timeout(40) == [Dismiss(ANN, LeaveReason.EXPIRED)]
    assert machine.joined(member(ANN)) == [Admit(member(ANN))]


def test_news_of_strangers_changes_nothing() -> None:
    machine = Roster(GRACE)
    assert machine.left(BOB, orderly=True) == []
    machine.replaced(BOB, 0)
    machine.path_changed(BOB, reachable=True, now=0)
    machine.gone(BOB)
    assert machine.timed_out(BOB) == []
    assert machine.deadline() is None


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *("joined", "rejoined", "left", "expired", "replaced", "up", "down"),
                *("snapshot", "empty", "timed out", "wait"),
            ]
        ),
        st.sampled_from([ANN, BOB]),
    ),
    max_size=40,
)


@given(STEPS)
def test_decisions_always_fit_what_was_decided_before(steps: list[tuple[str, PeerId]]) -> None:
    machine, now = Roster(GRACE), 0.0
    admitted: set[PeerId] = set()
    reachable: set[PeerId] = set()

    def carry_out(decisions: list[Decision]) -> None:
        for decision in decisions:
            match decision:
                case Admit():
                    assert decision.member.peer_id not in admitted
                    admitted.add(decision.member.peer_id)
                case Rekey():
                    assert decision.member.peer_id in admitted
                case Dismiss():
                    assert decision.peer_id not in reachable
                    admitted.remove(decision.peer_id)
                    reachable.discard(decision.peer_id)

    for step, peer_id in steps:
        match step:
            case "joined":
                carry_out(machine.joined(member(peer_id)))
            case "rejoined":
                carry_out(machine.joined(member(peer_id, b"2")))
            case "left" | "expired":
                carry_out(machine.left(peer_id, orderly=step == "left"))
            case "replaced":
                machine.replaced(peer_id, now)
            case "up" | "down" if peer_id in admitted:
                (reachable.add if step == "up" else reachable.discard)(peer_id)
                carry_out(machine.path_changed(peer_id, reachable=step == "up", now=now))
            case "timed out" if peer_id not in reachable:
                carry_out(machine.timed_out(peer_id))
            case "snapshot":
                carry_out(machine.snapshot([member(peer_id)], now))
            case "empty":
                carry_out(machine.snapshot([], now))
            case _:
                now += GRACE / 2
                carry_out(machine.handle_timeout(now))
    # In the end, all paths die and a fresh server lists nobody: nobody may stay for ever.
    carry_out(machine.snapshot([], now))
    for peer_id in list(admitted):
        reachable.discard(peer_id)
        carry_out(machine.path_changed(peer_id, reachable=False, now=now))
    carry_out(machine.handle_timeout(now + GRACE))
    assert not admitted
    assert machine.deadline() is None
