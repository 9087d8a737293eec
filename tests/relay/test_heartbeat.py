"""The heartbeat: neither silence nor a stuck reader goes unnoticed, and a process that stood still judges nobody."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.relay.heartbeat import GRACE, INTERVALS_UNTIL_LOST, STALL, Beat, Heartbeat

INTERVAL = 10.0


def run_until(beat: Beat, heartbeat: Heartbeat, end: float = 1000.0) -> float:
    """Call it when it is due, and return when it says so; pings are answered by nobody."""
    while (now := heartbeat.deadline()) < end:
        answer = heartbeat.handle_timeout(now)
        if answer is beat:
            return now
        if answer is Beat.PING:
            heartbeat.ping(now)
    return end


def test_silence_is_answered_with_a_ping_and_then_with_the_end() -> None:
    heartbeat = Heartbeat(now=0.0, interval=INTERVAL)
    assert run_until(Beat.PING, heartbeat) == INTERVAL
    heartbeat.ping(INTERVAL)
    assert run_until(Beat.LOST, heartbeat) == INTERVALS_UNTIL_LOST * INTERVAL


@given(st.lists(st.floats(0.0, 9.9), max_size=20))
def test_who_is_heard_is_not_lost_and_hears_something_in_every_interval(gaps: list[float]) -> None:
    heartbeat = Heartbeat(now=0.0, interval=INTERVAL)
    now = said_at = 0.0
    for gap in gaps:
        now += gap
        while heartbeat.deadline() <= now:
            due = heartbeat.deadline()
            assert heartbeat.handle_timeout(due) is Beat.PING
            heartbeat.ping(due)
            assert due - said_at == pytest.approx(INTERVAL)
            said_at = due
        heartbeat.heard(now)


def test_only_the_newest_ping_measures_the_round_trip() -> None:
    heartbeat = Heartbeat(now=0.0, interval=INTERVAL, measuring=True)
    first, second = heartbeat.ping(1.0), heartbeat.ping(2.0)
    heartbeat.pong(first, 2.5)
    assert heartbeat.rtt is None
    heartbeat.pong(second, 2.5)
    assert heartbeat.rtt == 0.5
    heartbeat.sent(5.0)
    assert heartbeat.deadline() == 2.0 + INTERVAL


def test_a_check_ends_what_does_not_answer_in_time_and_nothing_else() -> None:
    heartbeat = Heartbeat(now=0.0, interval=INTERVAL)
    heartbeat.check(2.0, 1.0)
    heartbeat.check(5.0, 1.0)
    assert heartbeat.deadline() == 3.0
    heartbeat.heard(2.0)
    assert heartbeat.deadline() == INTERVAL
    heartbeat.check(1.0, 4.0)
    assert heartbeat.handle_timeout(5.0) is Beat.LOST


def test_after_standing_still_the_other_side_has_a_moment_to_be_heard() -> None:
    heartbeat = Heartbeat(now=0.0, interval=INTERVAL)
    woken_at = 100.0
    assert woken_at - heartbeat.deadline() > STALL
    assert heartbeat.handle_timeout(woken_at) is Beat.PING
    heartbeat.ping(woken_at)
    assert run_until(Beat.LOST, heartbeat) == woken_at + GRACE


def test_a_paused_reader_judges_nobody_and_still_speaks() -> None:
    heartbeat = Heartbeat(now=0.0, interval=INTERVAL)
    heartbeat.pause()
    assert run_until(Beat.LOST, heartbeat, end=100.0) == 100.0
    heartbeat.resume(100.0)
    assert run_until(Beat.LOST, heartbeat) == 100.0 + INTERVALS_UNTIL_LOST * INTERVAL
