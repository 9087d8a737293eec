from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.peer.frames import Probe, ProbeType
from rtcmesh.peer.liveness import Liveness


def liveness() -> Liveness:
    return Liveness(0, interval=0.5, timeout=4)


def run(machine: Liveness, until: float) -> list[Probe]:
    """Call the machine at each of its deadlines, as a punctual shell does."""
    sent: list[Probe] = []
    while (deadline := machine.deadline()) is not None and deadline <= until:
        machine.handle_timeout(deadline)
        sent += machine.probes_to_send()
    return sent


def test_it_pings_at_every_interval() -> None:
    assert run(liveness(), 1.6) == [Probe(ProbeType.PING, number) for number in (1, 2, 3, 4)]


def test_a_ping_is_answered_with_its_number() -> None:
    machine = liveness()
    machine.receive(Probe(ProbeType.PING, 77), 0.1)
    assert machine.probes_to_send() == [Probe(ProbeType.PONG, 77)]


def test_the_round_trip_time_is_smoothed() -> None:
    machine = liveness()
    run(machine, 0.5)
    assert machine.rtt is None
    machine.receive(Probe(ProbeType.PONG, 1), 0.1)
    assert machine.rtt == pytest.approx(0.1)
    machine.receive(Probe(ProbeType.PONG, 2), 0.68)
    assert machine.rtt == pytest.approx(0.875 * 0.1 + 0.125 * 0.18)


def test_a_pong_that_was_not_asked_for_measures_nothing() -> None:
    machine = liveness()
    machine.receive(Probe(ProbeType.PONG, 5), 0.1)
    assert machine.rtt is None


def test_silence_is_found_after_the_timeout_and_not_before() -> None:
    machine = liveness()
    run(machine, 1)
    machine.heard(1.2)
    run(machine, 5.1)
    assert not machine.silent
    run(machine, 5.6)
    assert machine.silent
    assert machine.deadline() is None


def test_time_in_which_this_process_slept_is_not_held_against_the_path() -> None:
    machine = liveness()
    run(machine, 1)
    machine.heard(1)
    machine.handle_timeout(61)
    assert not machine.silent
    machine.probes_to_send()
    run(machine, 64)
    assert not machine.silent
    run(machine, 65.5)
    assert machine.silent


@given(st.lists(st.floats(0, 0.9), max_size=50))
def test_a_path_that_is_heard_in_time_is_never_silent(gaps: list[float]) -> None:
    machine = liveness()
    now = 0.0
    for gap in gaps:
        now += gap
        run(machine, now)
        machine.heard(now)
        assert not machine.silent
