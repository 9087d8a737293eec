from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.peer.paths.liveness import FIRST_PATIENCE, MIN_PATIENCE, PONGS_PER_SECOND, Liveness
from rtcmesh.peer.session.probes import MAX_PROBES, Probe, ProbeType

PING, PONG = ProbeType.PING, ProbeType.PONG


def liveness() -> Liveness:
    return Liveness(0, interval=0.5, timeout=4, follows=False)


def run(machine: Liveness, until: float, *, rtt: float | None = None) -> list[tuple[float, int]]:
    """Call the machine at each of its deadlines, as a punctual shell does; answer after `rtt`, or never.

    Returns the pings, each with its time.
    """
    sent: list[tuple[float, int]] = []
    answers: list[tuple[float, int]] = []
    while True:
        at = min([machine.deadline(), *(due for due, _ in answers)])
        if at > until:
            return sent
        if answers and answers[0][0] == at:
            machine.receive(Probe(PONG, answers.pop(0)[1]), at)
        else:
            machine.handle_timeout(at)
        for probe in machine.probes_to_send():
            sent.append((at, probe.number))
            if rtt is not None:
                answers.append((at + rtt, probe.number))


def test_it_pings_at_every_interval_while_it_is_answered() -> None:
    assert run(liveness(), 1.6, rtt=0.05) == [(0, 1), (0.5, 2), (1.0, 3), (1.5, 4)]


def test_a_ping_is_answered_with_its_number() -> None:
    machine = liveness()
    machine.receive(Probe(PING, 77), 0.1)
    assert machine.probes_to_send() == [Probe(PONG, 77)]


def test_the_round_trip_time_is_smoothed() -> None:
    machine = liveness()
    run(machine, 0.05, rtt=None)
    assert machine.rtt is None
    machine.receive(Probe(PONG, 1), 0.1)
    assert machine.rtt == pytest.approx(0.1)
    run(machine, 0.5)
    machine.receive(Probe(PONG, 2), 0.68)
    assert machine.rtt == pytest.approx(0.875 * 0.1 + 0.125 * 0.18)


def test_a_pong_that_was_not_asked_for_proves_nothing() -> None:
    machine = liveness()
    machine.receive(Probe(PONG, 5), 0.1)
    assert machine.rtt is None
    assert not machine.verified


def test_a_missed_ping_is_followed_by_the_next_at_once() -> None:
    machine = liveness()
    run(machine, 1.05, rtt=0.05)
    pings = run(machine, 2.2)
    assert [number for _, number in pings[:2]] == [4, 5]
    assert [at for at, _ in pings[:2]] == pytest.approx([1.5, 1.5 + MIN_PATIENCE])
    assert machine.misses == 2
    assert machine.missed == 2


def test_an_answer_in_time_ends_the_misses_and_a_late_one_does_not() -> None:
    machine = liveness()
    run(machine, 0, rtt=None)
    run(machine, FIRST_PATIENCE)
    assert machine.misses == 1
    machine.receive(Probe(PONG, 1), FIRST_PATIENCE + 0.1)
    assert machine.misses == 1
    machine.receive(Probe(PONG, 2), FIRST_PATIENCE + 0.2)
    assert machine.misses == 0
    assert machine.verified


def test_patience_follows_a_path_that_becomes_slow() -> None:
    machine = liveness()
    run(machine, 3, rtt=0.05)
    run(machine, 20, rtt=0.4)
    assert machine.misses == 0


def test_silence_is_found_after_the_timeout_and_ends_with_a_word() -> None:
    machine = liveness()
    run(machine, 1)
    machine.heard()
    run(machine, 5.1)
    assert not machine.silent
    run(machine, 6.3)
    assert machine.silent
    machine.heard()
    assert not machine.silent


def test_time_in_which_the_process_slept_is_not_held_against_the_path() -> None:
    machine = liveness()
    run(machine, 1.05, rtt=0.05)
    machine.handle_timeout(600)
    assert not machine.silent
    assert machine.misses == 0
    assert machine.probes_to_send() != []


def test_a_path_that_is_asked_pings_at_once_but_not_twice() -> None:
    machine = liveness()
    run(machine, 0.05, rtt=0.05)
    machine.ping(0.1)
    assert run(machine, 0.1) == [(0.1, 2)]
    machine.ping(0.15)
    assert run(machine, 0.2) == []


def test_a_path_that_was_not_asked_for_long_is_not_silent_for_that() -> None:
    machine = liveness()
    machine.pace(30, 0)
    run(machine, 29, rtt=0.05)
    machine.handle_timeout(machine.deadline())
    assert not machine.silent
    machine.pace(0.5, 30)  # as its owner does once a ping is missed
    run(machine, 33.9)
    assert not machine.silent
    run(machine, 36)
    assert machine.silent


def converse(
    interval: float, *, delay: float, apart: float, earlier_follows: bool, until: float
) -> tuple[list[Liveness], list[tuple[float, int, list[ProbeType]]]]:
    """Let two ends ping each other, the second one from `apart` on. Returns what either sent, packet by packet."""
    ends = [
        Liveness(at, interval=interval, timeout=4, follows=follows)
        for at, follows in ((0.0, earlier_follows), (apart, not earlier_follows))
    ]
    flight: list[tuple[float, int, list[Probe]]] = []
    sent: list[tuple[float, int, list[ProbeType]]] = []
    while True:
        dues = [(end.deadline(), number) for number, end in enumerate(ends)]
        now = min([due for due, _ in dues] + [at for at, _, _ in flight])
        if now > until:
            return ends, sent
        arrived = [entry for entry in flight if entry[0] == now]
        flight = [entry for entry in flight if entry[0] != now]
        for _, number, probes in arrived:
            for probe in probes if now >= apart else []:  # before, there is nobody
                ends[number].receive(probe, now)
        for number, end in enumerate(ends):
            end.handle_timeout(now)
            if probes := end.probes_to_send():
                sent.append((now, number, [probe.type for probe in probes]))
                flight.append((now + delay, 1 - number, probes))


@given(st.sampled_from([0.5, 5.0, 30.0]), st.floats(0.001, 0.1), st.floats(0.0, 0.9), st.booleans())
def test_two_ends_fall_into_step_and_share_packets(
    interval: float, delay: float, apart: float, earlier_follows: bool
) -> None:
    ends, sent = converse(
        interval, delay=delay, apart=apart * interval, earlier_follows=earlier_follows, until=40 * interval
    )
    assert all(end.misses == 0 for end in ends)
    rounds = [kinds for at, _, kinds in sent if at > 30 * interval]
    shared = [kinds for kinds in rounds if kinds == [PONG, PING]]
    assert len(shared) >= 8
    assert len(rounds) <= 3 * len(shared) + 3
    for end in ends:
        assert end.pings <= 44


def test_one_packet_has_room_for_all_that_is_to_be_sent_at_once() -> None:
    machine = liveness()
    run(machine, 0.3, rtt=0.05)
    for number in range(1000):
        machine.receive(Probe(PING, number), 0.45)
    assert PONGS_PER_SECOND <= len(machine.probes_to_send()) <= MAX_PROBES


@given(
    st.lists(
        st.tuples(st.floats(0, 2), st.sampled_from(["timeout", "heard", "ping", "pong", "slow", "fast"])),
        max_size=60,
    ),
    st.integers(0, 20),
)
def test_memory_is_bounded_and_silence_needs_silence(steps: list[tuple[float, str]], number: int) -> None:
    machine = liveness()
    now, heard_at = 0.0, 0.0
    for pause, step in steps:
        now += pause
        match step:
            case "timeout":
                machine.handle_timeout(now)
            case "heard":
                machine.heard()
                heard_at = now
            case "ping" | "pong":
                machine.receive(Probe(PING if step == "ping" else PONG, number), now)
                heard_at = now
            case "slow":
                machine.pace(5, now)
            case _:
                machine.pace(0.5, now)
        assert len(machine._sent_at) <= 64
        assert not machine.silent or now - heard_at >= 4
        assert machine.misses <= machine.missed <= machine.pings


def test_silence_after_what_was_sent_counts_as_one_miss_and_asks_at_once() -> None:
    liveness = Liveness(0.0, interval=0.5, timeout=4.0, follows=True)
    liveness.handle_timeout(0.0)
    (ping,) = liveness.probes_to_send()
    liveness.receive(Probe(ProbeType.PONG, ping.number), 0.1)
    for _ in range(3):
        liveness.fell_silent(0.3)
        assert liveness.misses == 1
    assert liveness.deadline() == 0.3
    liveness.handle_timeout(0.3)
    liveness.handle_timeout(liveness.deadline())
    assert liveness.misses == 2
    _, ping = liveness.probes_to_send()
    liveness.receive(Probe(ProbeType.PONG, ping.number), 0.7)
    assert liveness.misses == 0
