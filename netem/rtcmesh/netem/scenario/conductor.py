"""Runs the programs and the timeline of a scenario on a stage."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from functools import partial

from .account import Account, Ending
from .checks import HOST_PLACEHOLDER
from .stage import Running, Stage
from .timeline import timeline
from .words import Program, Ready, Report, Scenario

MAX_ERROR_CHARACTERS = 2_000
"""How much of the last words of a program that failed is told with its end."""

NOT_STARTED = 127
"""The exit status of a program that cannot be started, as shells have it."""


class Conductor:
    """One performance of one scenario.

    Time starts when every program that others come `after` is ready. It is over when every program that does not serve
    in the background has ended, or after the duration; where there is none, after the duration. Programs that still
    run are ended then, and when this is cancelled.
    """

    def __init__(self, scenario: Scenario, stage: Stage, account: Account) -> None:
        self.logs: dict[str, str] = {}
        """What the programs said besides their reports."""
        self._scenario = scenario
        self._stage = stage
        self._account = account
        self._started_at: float | None = None
        self._decided = {name: asyncio.Event() for name in scenario.programs}
        """Set when a program is ready, or will never be."""
        self._running: dict[str, Running] = {}
        self._is_over = False

    async def run(self) -> None:
        """Run it to its end."""
        plays = {name: asyncio.create_task(self._play(name), name=name) for name in self._scenario.programs}
        try:
            with suppress(TimeoutError):
                await self._ready()
                await self._perform(plays)
        finally:
            self._account.ended_at = self._now()
            self._is_over = True
            await self._end(plays)

    async def _ready(self) -> None:
        """Wait for the programs that others come after; time starts then."""
        needed = {before for program in self._scenario.programs.values() for before in program.after}
        try:
            async with asyncio.timeout(self._scenario.duration):
                for name in needed:
                    await self._decided[name].wait()
        except TimeoutError:
            waited_for = ", ".join(sorted(name for name in needed if not self._decided[name].is_set()))
            self._account.note(self._now(), "problem", waited_for, "was not ready within the duration")
            raise
        self._started_at = self._stage.time()

    async def _perform(self, plays: dict[str, asyncio.Task[None]]) -> None:
        """Wait until it is over, or something has gone wrong, which is raised."""
        foreground = {play for name, play in plays.items() if not self._scenario.programs[name].background}
        happening = asyncio.create_task(self._happen(), name="timeline")
        pending: set[asyncio.Task[None]] = {happening, *plays.values()}
        try:
            async with asyncio.timeout(self._scenario.duration):
                while foreground & pending or not foreground:
                    # With nothing left to wait for, the duration alone ends it.
                    pending = pending or {asyncio.create_task(_for_ever())}
                    done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        task.result()
        finally:
            for task in {happening, *pending}.difference(plays.values()):
                task.cancel()
            await asyncio.gather(happening, return_exceptions=True)

    async def _happen(self) -> None:
        """Carry out the timeline."""
        for moment in timeline(self._scenario):
            await asyncio.sleep(moment.at - self._now())
            try:
                await self._stage.apply(moment.fault)
            except ValueError as error:  # a signal to a program that has ended, for instance
                self._account.note(self._now(), "problem", "timeline", f"did not happen: {error}")
            else:
                self._account.fault(moment.fault, self._now())

    async def _end(self, plays: dict[str, asyncio.Task[None]]) -> None:
        """End the programs that still run, the last one first, and hold back those that have not started."""
        for name, play in plays.items():
            if name not in self._running:
                play.cancel()
        for running in reversed(self._running.values()):
            await running.end()
        await asyncio.gather(*plays.values(), return_exceptions=True)

    async def _play(self, name: str) -> None:
        """Run one program to its end."""
        program = self._scenario.programs[name]
        try:
            for before in program.after:
                await self._decided[before].wait()
                if before not in self._account.ready:
                    self._account.note(self._now(), "problem", name, f"not started: {before} was never ready")
                    return
            self._account.ended(name, await self._run(name, program))
        finally:
            self._decided[name].set()

    async def _run(self, name: str, program: Program) -> Ending:
        words = tuple(self._filled(word, program.host) for word in program.arguments)
        try:
            running = await self._stage.start(name, program, words, partial(self._report, name))
        except OSError as refused:
            self.logs[name] = f"{refused}\n"
            return Ending(at=self._now(), status=NOT_STARTED, error=str(refused))
        self._running[name] = running
        self._account.note(self._now(), "program", name, f"started on {program.host}")
        try:
            status = await running.ended()
        finally:
            self.logs[name] = running.log
        error = running.log[-MAX_ERROR_CHARACTERS:].strip() if status else ""
        return Ending(at=self._now(), status=None if self._is_over else status, error=error)

    def _filled(self, word: str, seen_from: str) -> str:
        """Put addresses in the place of hosts."""

        def found(match: re.Match[str]) -> str:
            host, port = match.groups()
            if port is None:
                return self._stage.address_of(host)
            return "{}:{}".format(*self._stage.endpoint_of(host, int(port), seen_from))

        return HOST_PLACEHOLDER.sub(found, word)

    def _report(self, name: str, report: Report) -> None:
        self._account.report(name, report, self._now())
        if isinstance(report, Ready):
            self._decided[name].set()

    def _now(self) -> float:
        """Return the seconds since the start; 0 before it."""
        return 0.0 if self._started_at is None else self._stage.time() - self._started_at


async def _for_ever() -> None:
    await asyncio.Event().wait()
