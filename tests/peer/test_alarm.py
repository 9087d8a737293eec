"""A timer for a deadline that moves: it rings when that has come, whatever it was before."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.netem import run_virtual
from rtcmesh.peer.alarm import Alarm


class Machine:
    """Is due at some time, and then at another one, or never."""

    def __init__(self, at: float | None = None) -> None:
        self.at = at
        self.rung: list[float] = []
        self.alarm = Alarm(lambda: self.at, self._due)

    def move(self, at: float | None) -> None:
        self.at = at
        self.alarm.set()

    def _due(self, now: float) -> None:
        assert self.at is not None
        assert self.at <= now
        self.rung.append(now)
        self.at = None
        self.alarm.set()


TIMES = st.integers(0, 50).map(float)


@given(st.lists(st.tuples(TIMES, st.none() | TIMES), max_size=20))
def test_it_rings_at_the_deadline_however_that_has_moved(moves: list[tuple[float, float | None]]) -> None:
    async def scenario() -> None:
        machine = Machine()
        loop = asyncio.get_running_loop()
        expected: list[float] = []
        for pause, delay in moves:
            at, until = machine.at, loop.time() + pause
            await asyncio.sleep(pause)
            await asyncio.sleep(0)  # what is due at this very moment comes first
            if at is not None and at <= until:
                expected.append(at)
            machine.move(None if delay is None else loop.time() + delay)
        if machine.at is not None:
            expected.append(machine.at)
        await asyncio.sleep(100)
        assert machine.rung == expected

    run_virtual(scenario())


def test_it_is_silent_once_it_is_stopped_until_it_is_set_again() -> None:
    async def scenario() -> None:
        machine = Machine()
        machine.move(1.0)
        machine.alarm.stop()
        machine.alarm.stop()
        await asyncio.sleep(2)
        assert machine.rung == []
        machine.alarm.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert machine.rung == [2.0]

    run_virtual(scenario())
