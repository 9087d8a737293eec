"""When the remote end is told what has arrived: how long an acknowledgement waits for company."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.peer.sctp.acknowledgement import (
    LEAST_DELAY_OF_OURS,
    MOST_DELAY_OF_OURS,
    PACKETS_PER_SACK,
    PACKETS_PER_SACK_OF_OURS,
    Receipts,
)
from rtcmesh.peer.sctp.round_trip import ACK_DELAY


def receive(receipts: Receipts, packets: int, now: float) -> None:
    for _ in range(packets):
        assert receipts.add(receipts.cumulative + 1)
        receipts.packets_arrived(1, now)


def delay_of_one(receipts: Receipts) -> float:
    """Receive one packet; returns how long its acknowledgement waits."""
    receive(receipts, 1, 0.0)
    assert receipts.pending
    assert not receipts.due
    at = receipts.deadline()
    receipts.handle_timeout(at)
    assert receipts.due
    return at


def test_an_end_that_has_measured_nothing_waits_no_longer_than_one_that_has() -> None:
    """Who receives alone measures no round trip."""
    receipts = Receipts(0)
    receipts.expect_ours()
    assert delay_of_one(receipts) == MOST_DELAY_OF_OURS


@given(st.floats(0, 10))
def test_ours_waits_for_a_quarter_of_a_round_trip_within_bounds(smoothed: float) -> None:
    receipts = Receipts(0)
    receipts.expect_ours()
    receipts.round_trip_measured(smoothed)
    delay = delay_of_one(receipts)
    assert LEAST_DELAY_OF_OURS <= delay <= MOST_DELAY_OF_OURS
    if LEAST_DELAY_OF_OURS < delay < MOST_DELAY_OF_OURS:
        assert delay == smoothed / 4


def test_other_stacks_get_what_they_expect() -> None:
    receipts = Receipts(0)
    receipts.round_trip_measured(0.01)
    assert delay_of_one(receipts) == ACK_DELAY


@pytest.mark.parametrize("ours", [False, True])
def test_so_many_packets_do_not_wait(ours: bool) -> None:
    receipts = Receipts(0)
    if ours:
        receipts.expect_ours()
    most = PACKETS_PER_SACK_OF_OURS if ours else PACKETS_PER_SACK
    receive(receipts, most - 1, 0.0)
    assert not receipts.due
    receive(receipts, 1, 0.0)
    assert receipts.due
