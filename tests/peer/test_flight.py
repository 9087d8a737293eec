from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.peer.session.flight import (
    ACK_DELAY,
    INITIAL_PROBE_TIMEOUT,
    INITIAL_WINDOW_BYTES,
    MIN_PROBE_TIMEOUT,
    Flight,
    Fragment,
)
from rtcmesh.peer.session.frames import FRAGMENT_OVERHEAD
from rtcmesh.relay.frames import Urgency


def fragment(number: int) -> Fragment:
    return Fragment(0, number, FRAGMENT_OVERHEAD, Urgency.INTERACTIVE, bytes)


def measured(*, rtt: float, until: float) -> Flight:
    """Return a flight on which every fragment was acknowledged after `rtt`, and nothing is on its way."""
    flight, now, number = Flight(0.0), 0.0, 1
    while now < until:
        sent = fragment(number)
        flight.sent(sent, now)
        now, number = now + rtt, number + 1
        flight.acknowledged([sent], now, 0.0)
        assert flight.find_lost(now) == []
    return flight


@given(
    rtt=st.floats(0.001, 1.0),
    gaps=st.lists(st.floats(0.001, 0.1), min_size=1, max_size=200),
)
def test_silence_is_noticed_once_however_often_something_is_sent_meanwhile(
    rtt: float, gaps: list[float]
) -> None:
    flight = measured(rtt=rtt, until=20 * rtt)
    began = now = 30 * rtt
    noticed: list[float] = []
    for number, gap in enumerate(gaps, 1000):
        flight.sent(fragment(number), now)
        now += gap
        deadline = flight.deadline()
        if not noticed:
            assert deadline is not None
            assert deadline - began <= max(MIN_PROBE_TIMEOUT, 2.5 * rtt + 0.03) + 1e-9
        if flight.has_fallen_silent(now):
            noticed.append(now)
    assert all(at - began >= max(MIN_PROBE_TIMEOUT, rtt + 0.02) - 1e-9 for at in noticed)
    assert len(noticed) <= 1
    if now - began > max(MIN_PROBE_TIMEOUT, 2.5 * rtt + 0.03):
        assert len(noticed) == 1


def test_what_is_acknowledged_ends_the_silence() -> None:
    flight = Flight(0.0)
    first, second = fragment(1), fragment(2)
    flight.sent(first, 0.0)
    flight.sent(second, 0.5)
    assert flight.has_fallen_silent(INITIAL_PROBE_TIMEOUT)
    assert not flight.has_fallen_silent(INITIAL_PROBE_TIMEOUT + 1)
    flight.acknowledged([first], 3.0, 0.0)
    assert not flight.has_fallen_silent(3.1)
    patience = 3.0 + 4 * 1.5 + ACK_DELAY
    assert flight.has_fallen_silent(3.0 + patience + 0.001)


def test_what_is_acknowledged_together_is_not_lost_in_whatever_order_the_word_of_it_comes() -> None:
    flight = Flight(0.0)
    first, second, third = fragment(1), fragment(2), fragment(3)
    for sent, at in ((first, 0.0), (second, 0.005), (third, 0.018)):
        flight.sent(sent, at)
    flight.acknowledged([first, third], 0.025, 0.0)  # of one channel
    flight.acknowledged([second], 0.025, 0.0)  # of another one
    assert flight.find_lost(0.025) == []
    assert flight.window >= INITIAL_WINDOW_BYTES


def test_what_is_missing_when_what_was_sent_later_has_arrived_is_lost() -> None:
    flight = Flight(0.0)
    first, second = fragment(1), fragment(2)
    flight.sent(first, 0.0)
    flight.sent(second, 0.05)
    flight.acknowledged([second], 0.07, 0.0)
    assert flight.find_lost(0.07) == [first]
    assert flight.bytes == 0


def test_nothing_on_its_way_is_no_silence() -> None:
    flight = measured(rtt=0.05, until=1.0)
    assert not flight.has_fallen_silent(100.0)
    flight.sent(fragment(7), 100.0)
    assert not flight.has_fallen_silent(100.1)


def test_time_in_which_nobody_was_here_to_take_acknowledgements_is_no_silence() -> None:
    flight = measured(rtt=0.02, until=1.0)
    flight.sent(fragment(1000), 2.0)
    for now in (62.0, 62.1):
        assert not flight.has_fallen_silent(now)
    assert flight.has_fallen_silent(62.0 + MIN_PROBE_TIMEOUT)
