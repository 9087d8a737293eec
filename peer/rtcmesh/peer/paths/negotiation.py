"""Negotiation of transports with one remote peer: a machine without I/O and without glare.

The peer with the smaller id offers, always; the other one asks it to. So two offers never cross, and perfect
negotiation's rollback (W3C webrtc-pc) is not needed. One instance lives as long as a pair of memberships.

States of the current attempt, at the offering peer (left) and at the answering peer (right):

    IDLE ──dial──▶ PAUSING ──pause over──▶ DESCRIBING           IDLE ──dial──▶ PAUSING ──pause over: Redial──▶ PAUSING
                      ▲                         │ offer made      (any) ──newer Offer──▶ DESCRIBING
                      │                         ▼                                            │ answer made
                      │ failed, timed out,   OFFERED                                         ▼
                      │ abandoned               │ Answer                                 CONNECTING
                      │                         ▼                                            │ transport opened
                      └──────────────────── CONNECTING                                       ▼
                                                │ transport opened                          OPEN
                                                ▼
                                              OPEN

A pause is drawn uniformly between zero and a bound that doubles with every failure in a row (full jitter), so a peer
that cannot be reached costs little and two peers never fall into step.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from random import Random
from typing import assert_never

from .signals import Abandon, Answer, Candidate, Offer, Redial, Signal

MAX_CANDIDATES = 64
"""How many remote candidates one attempt takes: each makes us send packets to the address that it names."""


class State(Enum):
    """Where the current attempt stands."""

    IDLE = auto()
    PAUSING = auto()
    DESCRIBING = auto()
    OFFERED = auto()
    CONNECTING = auto()
    OPEN = auto()


class Input(Enum):
    """What the transport of the current attempt reports, or the remote peer says about it."""

    OFFER_MADE = auto()
    ANSWER_MADE = auto()
    ANSWER_RECEIVED = auto()
    OPENED = auto()


# A missing key is a report or a message that comes too late or twice; it changes nothing. Not in the table: a newer
# offer, which replaces any attempt, and the end of an attempt, which is possible in every state.
_NEXT = {
    (State.DESCRIBING, Input.OFFER_MADE): State.OFFERED,
    (State.DESCRIBING, Input.ANSWER_MADE): State.CONNECTING,
    (State.OFFERED, Input.ANSWER_RECEIVED): State.CONNECTING,
    (State.CONNECTING, Input.OPENED): State.OPEN,
}
_UNDER_WAY = (State.DESCRIBING, State.OFFERED, State.CONNECTING, State.OPEN)


@dataclass(frozen=True, slots=True)
class MakeOffer:
    """Make a transport for this attempt and let it create an offer."""

    attempt: int


@dataclass(frozen=True, slots=True)
class MakeAnswer:
    """Make a transport for this attempt and let it answer the offer."""

    attempt: int
    offer: str


@dataclass(frozen=True, slots=True)
class AcceptAnswer:
    """Hand the remote answer to the transport of this attempt."""

    attempt: int
    answer: str


@dataclass(frozen=True, slots=True)
class AddCandidate:
    """Hand a remote candidate to the transport of this attempt."""

    attempt: int
    candidate: str


@dataclass(frozen=True, slots=True)
class Discard:
    """Close the transport of this attempt; it has no future."""

    attempt: int


@dataclass(frozen=True, slots=True)
class SendSignal:
    """Seal this and send it to the remote peer."""

    signal: Signal


Action = MakeOffer | MakeAnswer | AcceptAnswer | AddCandidate | Discard | SendSignal


class Negotiation:
    """Gets one transport after another opened with one remote peer, for as long as a path is wanted.

    Guarantees: both ends agree on the number of an attempt before its transport can open; at most one attempt is under
    way; as long as `dial` is in force and signals get through now and then, attempts follow one another without end.
    """

    def __init__(
        self, *, offers: bool, random: Random, connect_timeout: float, pause: float, max_pause: float
    ) -> None:
        self._offers = offers
        self._random = random
        self._connect_timeout = connect_timeout
        self._pause = pause
        self._max_pause = max_pause
        self._state = State.IDLE
        self._attempt = 0
        self._failures = 0
        self._opened_at = 0.0
        self._deadline: float | None = None
        self._early: list[Candidate] = []
        self._candidates = 0
        self._actions: list[Action] = []
        self.stale = 0
        """How many signals were ignored because they came too late, twice, or from the wrong side."""

    @property
    def state(self) -> State:
        """Where the current attempt stands."""
        return self._state

    @property
    def attempt(self) -> int:
        """The number of the current or last attempt; 0 before the first."""
        return self._attempt

    def deadline(self) -> float | None:
        """When `handle_timeout` is due."""
        return self._deadline

    def actions(self) -> list[Action]:
        """Return what is to be done, in order, once."""
        actions, self._actions = self._actions, []
        return actions

    # Commands

    def dial(self, now: float) -> None:
        """Want a path: start at once. Does nothing while an attempt is under way or pending."""
        if self._state is State.IDLE:
            self._state, self._deadline = State.PAUSING, now

    def hurry(self, now: float) -> None:
        """Waste no more time on what the time before has spoilt, as when signaling was away: start over at once."""
        if self._state in (State.PAUSING, State.OFFERED):
            self._failures = 0
            if self._state is State.OFFERED:
                self._actions.append(Discard(self._attempt))
            self._state, self._deadline = State.PAUSING, now + self._draw_pause()

    def hang_up(self) -> None:
        """Want no path: discard the attempt that is under way, if any. A newer offer is still answered."""
        if self._state in _UNDER_WAY:
            self._actions += [Discard(self._attempt), SendSignal(Abandon(self._attempt))]
        self._state, self._deadline = State.IDLE, None

    # Reports of the transport

    def offer_made(self, attempt: int, sdp: str, now: float) -> None:
        """Take the local description of the offering peer's transport."""
        if self._advance(attempt, Input.OFFER_MADE):
            self._deadline = now + self._connect_timeout
            self._send(Offer(attempt, sdp))

    def answer_made(self, attempt: int, sdp: str, now: float) -> None:
        """Take the local description of the answering peer's transport."""
        if self._advance(attempt, Input.ANSWER_MADE):
            self._deadline = now + self._connect_timeout
            self._send(Answer(attempt, sdp))
            self._apply_early_candidates()

    def candidate_gathered(self, attempt: int, candidate: str) -> None:
        """Take a local candidate that was found after the description."""
        if attempt == self._attempt and self._state in _UNDER_WAY:
            self._send(Candidate(attempt, candidate))

    def opened(self, attempt: int, now: float) -> None:
        """Note that the transport opened: the attempt has succeeded."""
        if self._advance(attempt, Input.OPENED):
            self._deadline, self._opened_at = None, now

    def failed(self, attempt: int, now: float) -> None:
        """Note that the transport failed, closed or fell silent: say so and try again after a pause."""
        if attempt == self._attempt and self._state in _UNDER_WAY:
            self._give_up(now)
            self._send(Abandon(attempt))

    # Inputs

    def receive(self, signal: Signal, now: float) -> None:
        """Take a signal of the remote peer. Stale, repeated and misplaced ones are counted and change nothing."""
        match signal:
            case Offer():
                self._receive_offer(signal, now)
            case Answer():
                self._receive_answer(signal)
            case Candidate():
                self._receive_candidate(signal)
            case Redial():
                self._receive_redial(signal, now)
            case Abandon():
                self._receive_abandon(signal, now)
            case _:
                assert_never(signal)

    def handle_timeout(self, now: float) -> None:
        """Act if the deadline has passed: end a pause, or an attempt that takes too long."""
        if self._deadline is None or now < self._deadline:
            return
        if self._state is State.PAUSING and self._offers:
            self._start_attempt(self._attempt + 1)
            self._actions.append(MakeOffer(self._attempt))
        elif self._state is State.PAUSING:
            self._send(Redial(self._attempt))
            self._failures += 1
            # An offer takes a while to be made: asking more often would only start attempts over.
            self._deadline = now + self._connect_timeout / 2 + self._draw_pause()
        else:
            self.failed(self._attempt, now)

    # Rules

    def _receive_offer(self, offer: Offer, now: float) -> None:
        if self._offers or offer.attempt <= self._attempt:
            self.stale += 1
            if not self._offers and self._state not in _UNDER_WAY:
                # The other end may have begun to count anew: tell it where we are.
                self._send(Redial(self._attempt))
            return
        if self._state in _UNDER_WAY:
            self._note_success(now)
            self._actions.append(Discard(self._attempt))
        early = [candidate for candidate in self._early if candidate.attempt == offer.attempt]
        self._start_attempt(offer.attempt)
        self._early = early
        self._actions.append(MakeAnswer(offer.attempt, offer.sdp))

    def _receive_answer(self, answer: Answer) -> None:
        if not self._offers or not self._advance(answer.attempt, Input.ANSWER_RECEIVED):
            self.stale += 1
            return
        self._actions.append(AcceptAnswer(answer.attempt, answer.sdp))
        self._apply_early_candidates()

    def _receive_candidate(self, candidate: Candidate) -> None:
        if candidate.attempt == self._attempt and self._state in (State.CONNECTING, State.OPEN):
            # A transport may open over a TURN server before the addresses of a better path are known.
            self._take_candidate(candidate)
        elif self._is_early(candidate.attempt) and len(self._early) < MAX_CANDIDATES:
            self._early.append(candidate)
        else:
            self.stale += 1

    def _is_early(self, attempt: int) -> bool:
        """Whether candidates of this attempt may come before what they need: its offer, its answer."""
        if attempt == self._attempt:
            return self._state in (State.DESCRIBING, State.OFFERED)
        return attempt > self._attempt and not self._offers

    def _receive_redial(self, redial: Redial, now: float) -> None:
        if not self._offers or redial.attempt < self._attempt:
            self.stale += 1  # a newer attempt is under way already, or the offer has yet to arrive over there
            return
        if self._state in _UNDER_WAY:
            self._give_up(now)
        else:
            self.dial(now)
        self._attempt = redial.attempt  # the next one is newer for both

    def _receive_abandon(self, abandon: Abandon, now: float) -> None:
        if abandon.attempt == self._attempt and self._state in _UNDER_WAY:
            self._give_up(now)
        else:
            self.stale += 1

    def _advance(self, attempt: int, event: Input) -> bool:
        following = _NEXT.get((self._state, event))
        if attempt != self._attempt or following is None:
            return False
        self._state = following
        return True

    def _start_attempt(self, attempt: int) -> None:
        # No deadline while the local transport describes itself: its owner bounds that, and it may queue for a slot.
        self._state, self._attempt, self._deadline = State.DESCRIBING, attempt, None
        self._early = []
        self._candidates = 0

    def _give_up(self, now: float) -> None:
        self._note_success(now)
        self._actions.append(Discard(self._attempt))
        self._state = State.PAUSING
        self._deadline = now + self._draw_pause()
        self._failures += 1

    def _note_success(self, now: float) -> None:
        """Let the pauses start over after a transport that lasted; one that opens and dies at once is a failure."""
        if self._state is State.OPEN and now - self._opened_at >= self._max_pause:
            self._failures = 0

    def _draw_pause(self) -> float:
        bound = min(self._max_pause, self._pause * 2 ** min(self._failures, 32))
        return self._random.uniform(0, bound)

    def _apply_early_candidates(self) -> None:
        for early in self._early:
            self._take_candidate(early)
        self._early = []

    def _take_candidate(self, candidate: Candidate) -> None:
        if self._candidates == MAX_CANDIDATES:
            self.stale += 1
            return
        self._candidates += 1
        self._actions.append(AddCandidate(candidate.attempt, candidate.candidate))

    def _send(self, signal: Signal) -> None:
        self._actions.append(SendSignal(signal))
