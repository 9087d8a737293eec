"""Negotiation of two peers over a signaling service that loses, delays and reorders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtcmesh.peer.paths.negotiation import (
    MAX_CANDIDATES,
    AcceptAnswer,
    AddCandidate,
    Discard,
    MakeAnswer,
    MakeOffer,
    Negotiation,
    SendSignal,
    State,
)
from rtcmesh.peer.paths.signals import Abandon, Answer, Candidate, Offer, Redial, Signal


def negotiation(*, offers: bool, seed: int = 0) -> Negotiation:
    return Negotiation(offers=offers, random=Random(seed), connect_timeout=10, pause=0.25, max_pause=15)


def offered(now: float = 0) -> Negotiation:
    """An offering peer whose first offer is on its way."""
    machine = negotiation(offers=True)
    machine.dial(now)
    machine.handle_timeout(now)
    machine.offer_made(1, "offer 1", now)
    machine.actions()
    return machine


def answering(now: float = 0) -> Negotiation:
    """An answering peer that has answered attempt 1."""
    machine = negotiation(offers=False)
    machine.receive(Offer(1, "offer 1"), now)
    machine.answer_made(1, "answer 1", now)
    machine.actions()
    return machine


def test_the_offering_peer_starts_at_once() -> None:
    machine = negotiation(offers=True)
    machine.dial(5)
    assert machine.deadline() == 5
    machine.handle_timeout(5)
    assert machine.actions() == [MakeOffer(1)]
    machine.offer_made(1, "sdp", 5)
    assert machine.actions() == [SendSignal(Offer(1, "sdp"))]


def test_the_answering_peer_asks_and_asks_again_until_an_offer_comes() -> None:
    machine = negotiation(offers=False)
    machine.dial(0)
    for _ in range(3):
        now = machine.deadline()
        assert now is not None
        machine.handle_timeout(now)
        assert machine.actions() == [SendSignal(Redial(0))]
    machine.receive(Offer(1, "sdp"), 60)
    assert machine.actions() == [MakeAnswer(1, "sdp")]


def test_an_offer_to_the_offering_peer_changes_nothing() -> None:
    machine = offered()
    machine.receive(Offer(7, "glare"), 0)
    assert (machine.actions(), machine.stale, machine.attempt) == ([], 1, 1)


def test_candidates_before_their_offer_wait_for_it() -> None:
    machine = negotiation(offers=False)
    machine.receive(Candidate(1, "a"), 0)
    machine.receive(Candidate(1, "b"), 0)
    machine.receive(Offer(1, "sdp"), 0)
    machine.receive(Candidate(1, "c"), 0)
    assert machine.actions() == [MakeAnswer(1, "sdp")]
    machine.answer_made(1, "answer", 0)
    assert machine.actions() == [
        SendSignal(Answer(1, "answer")),
        AddCandidate(1, "a"),
        AddCandidate(1, "b"),
        AddCandidate(1, "c"),
    ]


def test_candidates_before_the_answer_wait_for_it() -> None:
    machine = offered()
    machine.receive(Candidate(1, "a"), 0)
    assert machine.actions() == []
    machine.receive(Answer(1, "answer"), 0)
    assert machine.actions() == [AcceptAnswer(1, "answer"), AddCandidate(1, "a")]


@pytest.mark.parametrize("make", [offered, answering])
def test_candidates_of_a_path_that_is_open_may_lead_to_a_better_one(make: Callable[[], Negotiation]) -> None:
    machine = make()
    if make is offered:
        machine.receive(Answer(1, "answer 1"), 1)
    machine.opened(1, 2)
    machine.actions()
    machine.receive(Candidate(1, "late"), 3)
    machine.receive(Candidate(1, ""), 3)
    assert machine.actions() == [AddCandidate(1, "late"), AddCandidate(1, "")]
    assert machine.stale == 0


def test_candidates_of_an_older_attempt_do_not_reach_a_newer_one() -> None:
    machine = negotiation(offers=False)
    machine.receive(Candidate(1, "old"), 0)
    machine.receive(Candidate(2, "new"), 0)
    machine.receive(Offer(2, "sdp"), 0)
    machine.receive(Candidate(1, "late"), 0)
    machine.answer_made(2, "answer", 0)
    assert machine.actions()[2:] == [AddCandidate(2, "new")]
    assert machine.stale == 1


def test_early_candidates_are_bounded() -> None:
    machine = negotiation(offers=False)
    for number in range(MAX_CANDIDATES + 10):
        machine.receive(Candidate(1, str(number)), 0)
    machine.receive(Offer(1, "sdp"), 0)
    machine.answer_made(1, "answer", 0)
    assert sum(isinstance(action, AddCandidate) for action in machine.actions()) == MAX_CANDIDATES
    assert machine.stale == 10


def test_an_answer_to_an_old_offer_changes_nothing() -> None:
    machine = offered()
    machine.handle_timeout(10)  # the first attempt takes too long
    machine.handle_timeout(20)
    machine.offer_made(2, "offer 2", 20)
    machine.actions()
    machine.receive(Answer(1, "late"), 20)
    assert (machine.actions(), machine.stale, machine.state) == ([], 1, State.OFFERED)


def test_a_second_answer_changes_nothing() -> None:
    machine = offered()
    machine.receive(Answer(1, "answer"), 0)
    machine.actions()
    machine.receive(Answer(1, "again"), 0)
    assert (machine.actions(), machine.stale) == ([], 1)


def test_a_newer_offer_replaces_the_attempt_under_way() -> None:
    machine = answering()
    machine.receive(Offer(2, "offer 2"), 1)
    assert machine.actions() == [Discard(1), MakeAnswer(2, "offer 2")]
    machine.receive(Offer(1, "offer 1"), 1)
    assert (machine.actions(), machine.stale) == ([], 1)


def test_an_attempt_that_takes_too_long_is_abandoned_on_both_ends() -> None:
    machine = offered()
    machine.handle_timeout(9.9)
    assert machine.actions() == []
    machine.handle_timeout(10)
    assert machine.actions() == [Discard(1), SendSignal(Abandon(1))]
    other = answering()
    other.receive(Abandon(1), 10)
    assert other.actions() == [Discard(1)]


def test_a_redial_makes_the_offering_peer_give_up_a_path_that_it_took_for_alive() -> None:
    machine = offered()
    machine.receive(Answer(1, "answer"), 0)
    machine.opened(1, 0)
    machine.actions()
    machine.receive(Redial(1), 50)
    assert machine.actions() == [Discard(1)]
    deadline = machine.deadline()
    assert deadline is not None
    machine.handle_timeout(deadline)
    assert machine.actions() == [MakeOffer(2)]


def test_a_redial_that_does_not_know_the_current_attempt_yet_does_not_disturb_it() -> None:
    machine = offered()
    machine.receive(Redial(0), 0)
    assert (machine.actions(), machine.state) == ([], State.OFFERED)


def test_an_offering_peer_that_counts_anew_is_told_how_far_the_other_has_counted() -> None:
    old, fresh = answering(), offered()
    old.receive(Offer(50, "of a forgotten instance, or shown again by a malicious server"), 0)
    old.failed(50, 0)
    old.actions()
    old.receive(Offer(1, "offer 1"), 0)
    assert old.actions() == [SendSignal(Redial(50))]
    fresh.receive(Redial(50), 0)
    assert fresh.actions() == [Discard(1)]
    fresh.handle_timeout(fresh.deadline() or 0)
    assert fresh.actions() == [MakeOffer(51)]


def test_a_late_offer_does_not_disturb_the_attempt_under_way() -> None:
    machine = answering()
    machine.receive(Offer(2, "offer 2"), 0)
    machine.actions()
    machine.receive(Offer(1, "offer 1"), 0)
    assert (machine.actions(), machine.stale) == ([], 1)


def test_reports_of_a_discarded_transport_change_nothing() -> None:
    machine = answering()
    machine.receive(Offer(2, "offer 2"), 0)
    machine.actions()
    machine.opened(1, 0)
    machine.failed(1, 0)
    machine.answer_made(1, "late", 0)
    machine.candidate_gathered(1, "late")
    assert (machine.actions(), machine.state, machine.attempt) == ([], State.DESCRIBING, 2)


def test_hanging_up_discards_the_attempt_and_still_answers_a_newer_offer() -> None:
    machine = answering()
    machine.hang_up()
    assert machine.actions() == [Discard(1), SendSignal(Abandon(1))]
    assert machine.deadline() is None
    machine.receive(Offer(2, "sdp"), 0)
    assert machine.actions() == [MakeAnswer(2, "sdp")]


@pytest.mark.parametrize("failures", [0, 1, 3, 8, 40])
def test_pauses_are_random_below_a_bound_that_doubles(failures: int) -> None:
    def pause(seed: int) -> float:
        machine = negotiation(offers=True, seed=seed)
        machine.dial(0)
        now = 0.0
        for _ in range(failures + 1):
            now = machine.deadline() or now
            machine.handle_timeout(now)
            machine.failed(machine.attempt, now)
        return (machine.deadline() or 0) - now

    pauses = [pause(seed) for seed in range(200)]
    bound = min(15, 0.25 * 2**failures)
    assert max(pauses) <= bound
    assert max(pauses) > 0.8 * bound
    assert min(pauses) < 0.2 * bound


def test_transports_that_open_and_die_at_once_do_not_make_the_peers_dial_in_a_hurry() -> None:
    machine, now = negotiation(offers=True), 0.0
    machine.dial(now)
    for attempt in range(1, 40):
        now = machine.deadline() or now
        machine.handle_timeout(now)
        machine.offer_made(attempt, "offer", now)
        machine.receive(Answer(attempt, "answer"), now)
        machine.opened(attempt, now)
        machine.failed(attempt, now)
    assert now > 100, "seconds"


def test_a_transport_that_lasted_lets_the_pauses_start_over() -> None:
    machine, now = negotiation(offers=True), 0.0
    machine.dial(now)
    for _ in range(10):
        now = machine.deadline() or now
        machine.handle_timeout(now)
        machine.failed(machine.attempt, now)
    now = machine.deadline() or now
    machine.handle_timeout(now)
    machine.offer_made(11, "offer", now)
    machine.receive(Answer(11, "answer"), now)
    machine.opened(11, now)
    machine.failed(11, now + 60)
    assert (machine.deadline() or 0) - (now + 60) <= 0.25


@pytest.mark.parametrize("waits_for", ["a pause", "an answer"])
def test_hurry_starts_over_at_once(waits_for: str) -> None:
    machine = offered()
    if waits_for == "a pause":
        for _ in range(20):
            machine.failed(machine.attempt, 100)
            machine.handle_timeout(machine.deadline() or 0)
        machine.failed(machine.attempt, 100)
    machine.actions()
    attempt = machine.attempt
    machine.hurry(200)
    assert machine.actions() == ([] if waits_for == "a pause" else [Discard(1)])
    assert 200 <= (machine.deadline() or 0) <= 200.25
    machine.handle_timeout(machine.deadline() or 0)
    assert machine.actions() == [MakeOffer(attempt + 1)]


# Two machines, a list for a signaling service, and transports that are nothing but numbers


@dataclass
class End:
    machine: Negotiation
    transport: int = 0
    described: bool = False
    candidates: int = 0
    outgoing: list[Signal] = field(default_factory=list[Signal])


class Pair:
    """Two ends. A transport opens at both ends once both have a description of one attempt, and its candidate."""

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        self.ends = [End(negotiation(offers=True, seed=seed)), End(negotiation(offers=False, seed=seed + 1))]
        for end in self.ends:
            end.machine.dial(0)

    def drain(self) -> None:
        for end in self.ends:
            while actions := end.machine.actions():
                for action in actions:
                    self.act(end, action)

    def act(self, end: End, action: object) -> None:
        machine = end.machine
        match action:
            case MakeOffer(attempt):
                assert end.transport == 0, "a second transport under way"
                end.transport, end.described, end.candidates = attempt, False, 0
                machine.offer_made(attempt, f"offer {attempt}", self.now)
                machine.candidate_gathered(attempt, f"candidate {attempt}")
            case MakeAnswer(attempt, offer):
                assert end.transport == 0, "a second transport under way"
                assert offer == f"offer {attempt}"
                end.transport, end.described, end.candidates = attempt, True, 0
                machine.answer_made(attempt, f"answer {attempt}", self.now)
                machine.candidate_gathered(attempt, f"candidate {attempt}")
            case AcceptAnswer(attempt, answer):
                assert (attempt, answer) == (end.transport, f"answer {end.transport}")
                end.described = True
            case AddCandidate(attempt, candidate):
                assert end.described, "a candidate before its description"
                assert (attempt, candidate) == (end.transport, f"candidate {end.transport}")
                end.candidates += 1
            case Discard(attempt):
                assert attempt == end.transport
                end.transport = 0
            case SendSignal(signal):
                end.outgoing.append(signal)
            case _:
                raise AssertionError(action)

    def deliver(self, receiver: int, index: int) -> None:
        queue = self.ends[1 - receiver].outgoing
        if queue:
            self.ends[receiver].machine.receive(queue.pop(index % len(queue)), self.now)
            self.drain()

    def drop(self, sender: int, index: int) -> None:
        queue = self.ends[sender].outgoing
        if queue:
            queue.pop(index % len(queue))

    def let_time_pass(self, seconds: float) -> None:
        self.now += seconds
        for end in self.ends:
            end.machine.handle_timeout(self.now)
        self.drain()

    def open_what_can_open(self) -> None:
        left, right = self.ends
        if left.transport and left.transport == right.transport and left.candidates and right.candidates:
            left.machine.opened(left.transport, self.now)
            right.machine.opened(right.transport, self.now)

    def kill(self, index: int) -> None:
        end = self.ends[index]
        if end.transport:
            end.machine.failed(end.transport, self.now)
            self.drain()

    @property
    def connected(self) -> bool:
        left, right = self.ends
        both_open = left.machine.state is right.machine.state is State.OPEN
        return both_open and left.transport == right.transport != 0


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("deliver"), st.integers(0, 1), st.integers(0, 5)),
        st.tuples(st.just("drop"), st.integers(0, 1), st.integers(0, 5)),
        st.tuples(st.just("kill"), st.integers(0, 1), st.just(0)),
        st.tuples(st.just("open"), st.just(0), st.just(0)),
        st.tuples(st.just("wait"), st.integers(0, 12), st.just(0)),
    ),
    max_size=60,
)


@settings(max_examples=300)
@given(seed=st.integers(0, 2**16), steps=STEPS)
def test_negotiation_converges_once_signals_get_through(seed: int, steps: list[tuple[str, int, int]]) -> None:
    pair = Pair(seed)
    pair.let_time_pass(0)
    for step, which, index in steps:
        match step:
            case "deliver":
                pair.deliver(which, index)
            case "drop":
                pair.drop(which, index)
            case "kill":
                pair.kill(which)
            case "open":
                pair.open_what_can_open()
            case _:
                pair.let_time_pass(which)
    for _ in range(200):  # the service recovers: in order, nothing lost
        for receiver in (0, 1):
            while pair.ends[1 - receiver].outgoing:
                pair.deliver(receiver, 0)
        pair.open_what_can_open()
        if pair.connected:
            return
        # One end may think that its transport is open while the other gave it up: liveness tells it so.
        for end, other in (pair.ends, pair.ends[::-1]):
            if end.machine.state is State.OPEN and other.transport != end.transport:
                end.machine.failed(end.transport, pair.now)
        pair.let_time_pass(1)
    pytest.fail(f"not connected: {[end.machine.state for end in pair.ends]}")
