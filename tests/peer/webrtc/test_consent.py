"""Consent to send: asked for, given, and withdrawn by silence."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.peer.webrtc.binding import Bindings, transaction_id_of
from rtcmesh.peer.webrtc.consent import (
    DOUBT_INTERVAL,
    LIFETIME,
    MAX_INTERVAL,
    MIN_INTERVAL,
    STAGGER,
    TICK,
    Consent,
)

ANN, BOB = ("annu", "a" * 22), ("bobu", "b" * 22)


class Asking:
    """An end that asks, on a clock of its own, and the bindings of the end that answers."""

    def __init__(self, seed: int = 1, start: float = 1000.3) -> None:
        self.now = start
        self.asked_at: list[float] = []
        self.remote = Bindings(local=BOB, remote=ANN, priority=1, tie_breaker=2)
        bindings = Bindings(local=ANN, remote=BOB, priority=1, tie_breaker=1)
        self.consent = Consent(
            bindings, start, new_id=Random(seed).randbytes, uniform=Random(seed + 1).uniform
        )

    def ask(self) -> bytes:
        """Let time pass until a request leaves or consent has expired."""
        while not self.consent.expired:
            self.now = max(self.now, self.consent.deadline())
            request = self.consent.handle_timeout(self.now, is_controlling=True)
            if request:
                assert self.remote.is_request(request, is_controlling=False)
                self.asked_at.append(self.now)
                return request
        return b""

    def answer(self, request: bytes) -> bool:
        return self.consent.receive(answer_to(self.remote, request), self.now)


def answer_to(bindings: Bindings, request: bytes) -> bytes:
    return bindings.response(transaction_id_of(request), "10.0.0.1", 5000)


@given(st.integers(0, 2**32), st.floats(0, 1e6))
def test_requests_follow_one_another_by_chance_and_on_the_tick(seed: int, start: float) -> None:
    ann = Asking(seed, start)
    requests: list[bytes] = []
    for _ in range(30):
        requests.append(ann.ask())
        assert ann.answer(requests[-1])
    assert len({transaction_id_of(request) for request in requests}) == len(requests)
    pauses = [later - earlier for earlier, later in pairwise([start, *ann.asked_at])]
    assert all(MIN_INTERVAL - 1e-9 <= pause <= MAX_INTERVAL + 1e-9 for pause in pauses)
    assert len(set(pauses)) > 1
    assert all(at % TICK <= STAGGER + 1e-9 for at in ann.asked_at)


def test_silence_withdraws_consent_and_nothing_brings_it_back() -> None:
    ann = Asking()
    request = ann.ask()
    ann.answer(request)
    heard_at = ann.now
    late = [ann.ask() for _ in range(4)]
    while ann.ask():
        pass
    assert ann.now == heard_at + LIFETIME
    ann.answer(late[-1])
    assert ann.consent.expired
    assert not ann.consent.handle_timeout(ann.now + 5, is_controlling=True)


def test_what_is_not_answered_is_asked_more_often_until_it_is() -> None:
    ann = Asking()
    ann.answer(ann.ask())
    *_, request = [ann.ask() for _ in range(15)]
    assert not ann.consent.expired
    assert all(later - earlier <= DOUBT_INTERVAL + TICK for earlier, later in pairwise(ann.asked_at[3:]))
    ann.answer(request)
    for _ in range(2):
        ann.answer(ann.ask())
    assert ann.asked_at[-1] - ann.asked_at[-2] >= MIN_INTERVAL - 1e-9


def test_what_repeats_an_answer_proves_nothing() -> None:
    ann = Asking()
    request = ann.ask()
    assert ann.answer(request)
    heard_at = ann.now
    while ann.ask():
        assert not ann.answer(request)
    assert ann.now == heard_at + LIFETIME


def test_an_answer_of_somebody_else_proves_nothing() -> None:
    ann = Asking()
    stranger = Bindings(local=("bobu", "c" * 22), remote=ANN, priority=1, tie_breaker=2)
    request = ann.ask()
    assert not ann.consent.receive(answer_to(stranger, request), ann.now)
    assert not ann.consent.receive(answer_to(ann.remote, bytes(32)), ann.now)
    assert ann.answer(request), "the right one still counts"


def test_a_process_that_was_stopped_asks_before_it_gives_up() -> None:
    ann = Asking()
    ann.answer(ann.ask())
    ann.now += 3600
    request = ann.ask()
    assert request
    ann.now += 0.05
    assert ann.answer(request)
    assert not ann.consent.expired


@given(
    seed=st.integers(0, 2**32),
    fates=st.lists(st.one_of(st.none(), st.floats(0, 40)), min_size=1, max_size=40),
    copies=st.integers(1, 3),
)
def test_whatever_the_network_does_consent_lasts_from_the_last_new_answer(
    seed: int, fates: list[float | None], copies: int
) -> None:
    """Each request is lost, or answered after some seconds, perhaps more than once; then all are lost."""
    ann = Asking(seed)
    heard_at = ann.now
    waiting: list[tuple[float, bytes, bool]] = []
    for fate in [*fates, *[None] * 100]:
        due = min(ann.consent.deadline(), ann.now + 1e9)
        while waiting and waiting[0][0] < due and not ann.consent.expired:
            ann.now, answer, is_new = waiting.pop(0)
            counted = ann.consent.receive(answer, ann.now)
            assert not counted or is_new
            if counted:
                heard_at = ann.now
            due = ann.consent.deadline()
        request = ann.ask()
        if fate is not None and request:
            answer = answer_to(ann.remote, request)
            arrives = [ann.now + fate + 0.5 * copy for copy in range(copies)]
            waiting += [(at, answer, number == 0) for number, at in enumerate(arrives)]
            waiting.sort(key=lambda item: item[0])
    assert ann.consent.expired
    assert ann.now == pytest.approx(heard_at + LIFETIME)
