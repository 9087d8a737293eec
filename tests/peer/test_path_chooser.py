from __future__ import annotations

import heapq
from random import Random

import pytest

from rtcmesh.peer.events import PathChangeReason, PathKind
from rtcmesh.peer.paths.path_chooser import (
    Change,
    Doubt,
    Expire,
    GiveUp,
    PathChooser,
    SendProbes,
)
from rtcmesh.peer.session.probes import Probe, ProbeType

RELAY, DIRECT = 1, 2
KINDS = {RELAY: PathKind.RELAYED, DIRECT: PathKind.DIRECT}


def chooser() -> PathChooser:
    return PathChooser(
        0, follows=False, ping_interval=0.5, standby_ping_interval=5, path_timeout=4, session_timeout=120
    )


class Lab:
    """One chooser, and a remote end that answers pings on the paths that are not cut."""

    def __init__(self, *, delay: float = 0.05) -> None:
        self.machine = chooser()
        self.now = 0.0
        self.delay = delay
        self.cut: set[int] = set()
        self.log: list[tuple[float, object]] = []
        self._due: list[tuple[float, int, int, tuple[Probe, ...]]] = []
        self._count = 0

    def open(self, path: int, kind: PathKind | None = None) -> None:
        self.machine.opened(path, kind or KINDS[path], self.now)
        self._take()

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            deadline = self.machine.deadline()
            at = min(x for x in (deadline, self._due[0][0] if self._due else None, end) if x is not None)
            self.now = max(self.now, min(at, end))
            if self._due and self._due[0][0] <= self.now:
                _, _, path, probes = heapq.heappop(self._due)
                if path not in self.cut:
                    self.machine.receive(path, probes, self.now)
            elif deadline is not None and deadline <= self.now:
                self.machine.handle_timeout(self.now)
            if at >= end:
                self._take()
                return
            self._take()

    def _take(self) -> None:
        for decision in self.machine.decisions():
            if not isinstance(decision, SendProbes):
                self.log.append((self.now, decision))
            elif decision.path not in self.cut:
                self._count += 1
                pongs = tuple(Probe(ProbeType.PONG, probe.number) for probe in decision.probes)
                heapq.heappush(self._due, (self.now + 2 * self.delay, self._count, decision.path, pongs))

    def carriers(self) -> tuple[int, ...]:
        return self.machine.carriers

    def changes(self) -> list[tuple[PathKind | None, PathChangeReason]]:
        return [(d.kind, d.reason) for _, d in self.log if isinstance(d, Change)]

    def when(self, kind: type[object]) -> list[float]:
        return [at for at, decision in self.log if isinstance(decision, kind)]


def upgraded() -> Lab:
    lab = Lab()
    lab.open(RELAY)
    lab.run(1)
    lab.open(DIRECT)
    lab.run(1)
    assert lab.carriers() == (DIRECT,)
    lab.log.clear()
    return lab


def test_the_relay_carries_before_anything_proves_that_the_peer_is_there() -> None:
    lab = Lab()
    lab.cut.add(RELAY)
    lab.open(RELAY)
    assert lab.carriers() == (RELAY,)
    assert lab.machine.kind is None
    lab.machine.heard(RELAY, 0.1)
    assert lab.machine.kind is PathKind.RELAYED


def test_a_direct_path_takes_over_only_after_a_probe_went_both_ways() -> None:
    lab = Lab()
    lab.open(RELAY)
    lab.run(1)
    lab.open(DIRECT)
    lab.run(0.09)
    assert lab.carriers() == (RELAY,)
    lab.run(0.02)
    assert lab.carriers() == (DIRECT,)
    assert lab.changes() == [
        (PathKind.RELAYED, PathChangeReason.OPENED),
        (PathKind.DIRECT, PathChangeReason.UPGRADED),
    ]


def test_a_direct_path_carries_at_once_when_there_is_nothing_else() -> None:
    lab = Lab()
    lab.open(DIRECT)
    assert lab.carriers() == (DIRECT,)
    assert lab.machine.kind is PathKind.DIRECT


@pytest.mark.parametrize("phase", [0.0, 0.13, 0.26, 0.39, 0.49])
def test_a_dead_direct_path_is_doubted_within_a_second_and_given_up_later(phase: float) -> None:
    lab = upgraded()
    lab.machine.used(lab.now)
    lab.run(phase)
    died_at = lab.now
    lab.cut.add(DIRECT)
    lab.run(10)
    assert lab.when(Doubt)[0] - died_at < 1.1
    assert 3.5 <= lab.when(GiveUp)[0] - died_at <= 5.1
    assert lab.changes() == [(PathKind.RELAYED, PathChangeReason.DOUBTED)]
    assert lab.carriers() == (RELAY,)


def test_in_doubt_both_paths_carry_and_an_answer_ends_it() -> None:
    lab = upgraded()
    lab.cut.add(DIRECT)
    lab.run(2)
    assert lab.carriers() == (RELAY, DIRECT)
    lab.cut.clear()
    lab.run(1.5)
    assert lab.carriers() == (DIRECT,)
    assert lab.changes()[-1] == (PathKind.DIRECT, PathChangeReason.RECOVERED)


def test_losing_the_relay_moves_nothing_that_is_direct() -> None:
    lab = upgraded()
    lab.machine.closed(RELAY, PathChangeReason.RELAY_LOST, lab.now)
    lab.run(5)
    assert lab.changes() == []
    assert lab.carriers() == (DIRECT,)


def test_without_a_relay_a_doubtful_direct_path_goes_on_carrying_until_it_is_silent() -> None:
    lab = Lab()
    lab.open(DIRECT)
    lab.run(2)
    lab.cut.add(DIRECT)
    lab.run(2)
    assert lab.carriers() == (DIRECT,)
    lab.run(4)
    assert lab.carriers() == ()
    assert lab.changes()[-1] == (None, PathChangeReason.SILENT)


def test_a_peer_that_is_not_at_its_relay_is_asked_for_until_it_is_heard() -> None:
    lab = Lab()
    lab.open(RELAY)
    lab.run(1)
    lab.cut.add(RELAY)
    lab.machine.unreachable(RELAY, lab.now)
    lab.run(3)
    assert lab.carriers() == ()
    assert lab.machine.kind is None
    lab.cut.clear()
    lab.run(3)
    assert lab.carriers() == (RELAY,)
    assert lab.changes()[-2:] == [
        (None, PathChangeReason.PEER_GONE),
        (PathKind.RELAYED, PathChangeReason.OPENED),
    ]


def test_a_newer_direct_path_replaces_the_older_one_once_it_is_proven() -> None:
    lab = upgraded()
    lab.open(3, PathKind.DIRECT)
    assert lab.carriers() == (DIRECT,)
    lab.run(0.2)
    assert lab.carriers() == (3,)
    assert [d for _, d in lab.log] == [
        GiveUp(DIRECT, PathChangeReason.SUPERSEDED),
        Change(PathKind.DIRECT, PathChangeReason.SUPERSEDED, lab.machine.rtt),
    ]


def test_being_without_a_path_for_too_long_is_told_and_counted_from_anew() -> None:
    lab = Lab()
    lab.run(250)
    assert lab.when(Expire) == [120, 240]
    lab.open(DIRECT)
    lab.run(250)
    assert len(lab.when(Expire)) == 2


def test_a_peer_that_is_heard_and_never_answers_is_waited_for_no_longer_than_a_silent_one() -> None:
    lab = Lab()
    lab.open(RELAY)
    lab.run(1)
    lab.cut.add(RELAY)
    lab.log.clear()
    for _ in range(260):
        lab.run(1)
        lab.machine.heard(RELAY, lab.now)
        lab.machine.used(lab.now)
    assert not lab.changes()
    first, second = lab.when(Expire)
    assert 115 < first < 125
    assert 115 < second - first < 125
    lab.cut.clear()
    lab.run(250)
    assert len(lab.when(Expire)) == 2


def test_a_peer_whose_answers_take_longer_than_a_path_may_be_silent_is_not_given_up() -> None:
    lab = Lab(delay=3)
    lab.open(RELAY)
    lab.run(300)
    assert not lab.when(Expire)


def test_an_idle_path_is_pinged_seldom_and_asked_at_once_when_it_is_needed() -> None:
    lab = upgraded()
    lab.run(60)
    liveness = lab.machine.liveness(DIRECT)
    assert liveness is not None
    before = liveness.pings
    lab.run(20)
    assert liveness.pings - before == 4
    lab.cut.add(DIRECT)
    lab.run(0.1)
    used_at = lab.now
    lab.machine.used(lab.now)
    lab.run(3)
    assert lab.when(Doubt)[0] - used_at < 0.6


def test_a_path_that_rests_is_doubted_as_soon_as_a_ping_is_missed_twice() -> None:
    lab = upgraded()
    lab.run(60)
    lab.cut.add(DIRECT)
    died_at = lab.now
    lab.run(15)
    assert lab.when(Doubt)[0] - died_at < 5.6
    assert 4 <= lab.when(GiveUp)[0] - died_at < 10


def test_a_relay_in_reserve_is_asked_seldom_and_at_once_when_it_takes_over() -> None:
    lab = upgraded()
    lab.run(60)
    relay = lab.machine.liveness(RELAY)
    assert relay is not None
    before = relay.pings
    lab.run(60)
    assert relay.pings - before == 12
    lab.cut |= {RELAY, DIRECT}
    lab.machine.used(lab.now)
    lab.run(3)
    assert relay.misses >= 2


def test_after_sleep_nothing_is_held_against_the_paths() -> None:
    lab = upgraded()
    lab.now += 3600
    lab.machine.handle_timeout(lab.now)
    lab.run(2)
    assert lab.changes() == []


@pytest.mark.parametrize("seed", range(150))
def test_whatever_the_paths_do_one_that_lives_carries_in_the_end(seed: int) -> None:
    random = Random(seed)
    lab = Lab(delay=random.uniform(0.001, 0.3))
    number, opened = 0, dict[int, PathKind]()
    for _ in range(random.randrange(40)):
        match random.randrange(6):
            case 0:
                relays = [p for p, kind in opened.items() if kind is PathKind.RELAYED]
                for path in relays:
                    lab.machine.closed(path, PathChangeReason.RELAY_LOST, lab.now)
                    del opened[path]
                number += 1
                opened[number] = PathKind.RELAYED
                lab.open(number, PathKind.RELAYED)
            case 1:
                number += 1
                opened[number] = PathKind.DIRECT
                lab.open(number, PathKind.DIRECT)
            case 2 if opened:
                lab.cut ^= {random.choice(list(opened))}
            case 3 if opened:
                path = random.choice(list(opened))
                lab.machine.closed(path, PathChangeReason.TRANSPORT_CLOSED, lab.now)
                del opened[path]
            case 4 if opened:
                lab.machine.unreachable(random.choice(list(opened)), lab.now)
            case _:
                lab.machine.used(lab.now)
        lab.run(random.choice([0, 0.05, 0.5, 3]))
        for _, decision in lab.log:
            if isinstance(decision, GiveUp):
                opened.pop(decision.path, None)
        carriers = lab.machine.carriers
        assert set(carriers) <= set(opened)
        assert len(set(carriers)) == len(carriers)
        kinds = [c.kind for _, c in lab.log if isinstance(c, Change)]
        assert (kinds[-1] if kinds else None) is lab.machine.kind
    lab.cut.clear()
    lab.run(15)
    for _, decision in lab.log:
        if isinstance(decision, GiveUp):
            opened.pop(decision.path, None)
    direct = [path for path, kind in opened.items() if kind is PathKind.DIRECT]
    best = max(direct, default=max(opened, default=None))
    assert lab.carriers() == (() if best is None else (best,))
    assert lab.machine.kind is (None if best is None else opened[best])


def test_silence_and_one_missed_ping_are_reason_for_doubt() -> None:
    lab = upgraded()
    lab.run(0.02)
    lab.cut.add(DIRECT)
    lab.machine.fell_silent([DIRECT], lab.now)
    began = lab.now
    lab.run(1)
    assert lab.carriers()[0] == RELAY
    assert lab.when(Doubt)[0] - began < 0.3


def test_silence_on_a_path_that_answers_changes_nothing() -> None:
    lab = upgraded()
    for _ in range(20):
        lab.machine.fell_silent([DIRECT], lab.now)
        lab.run(0.3)
    assert lab.carriers() == (DIRECT,)
    assert lab.changes() == []


def test_silence_on_a_path_that_is_not_known_is_nobodys_concern() -> None:
    lab = upgraded()
    lab.machine.fell_silent([99], lab.now)
    assert lab.carriers() == (DIRECT,)
