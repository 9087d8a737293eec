"""A network for one test: programs are started on its hosts, faults are done to it, and a failure is recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from .errors import CannotCarry, NetemError
from .faults import Fault
from .packet import Endpoint
from .scenario.account import Account, Ending
from .scenario.errors import RecordFailed
from .scenario.meter import Meter
from .scenario.program import EntryPoint
from .scenario.record import Capture, Run, RunDirectory
from .scenario.stage import Backend, Running, Stage
from .scenario.virtual_stage import VirtualStage
from .scenario.words import Program, Ready, Report, Scenario
from .scenario.writing import write_scenario
from .topology import Topology

T = TypeVar("T")

LONGEST_TEST = 3600.0
"""Seconds on the clock of the network after which a test on virtual time is ended."""

ProgramName = EntryPoint | str | Sequence[str]
"""A coroutine function, `module:coroutine`, or a command."""


def _is_exception(error: BaseException) -> bool:
    return isinstance(error, Exception)


class NotPerforming(NetemError):
    """The network was used while it was not up."""

    def __str__(self) -> str:
        return "the network is up only while a test runs that is `async def`, or inside `netem.perform(...)`"


class Lab:
    """A network that is up while `perform` runs."""

    def __init__(
        self, title: str, topology: Topology, backend: Backend, *, seed: int, folder: Path, parent: Path
    ) -> None:
        self.topology = topology
        self.backend = backend
        self.seed = seed
        self.account = Account()
        """What programs reported, and what was done to the network."""
        self.record: Path | None = None
        """Where everything is recorded about a test that failed."""
        self.unrecorded = ""
        """Why it could not be recorded."""
        self.complaint = ""
        """Why a failure says nothing about the test: the machine was too busy."""
        self._scenario = Scenario(title=title, topology=topology, seed=seed, duration=LONGEST_TEST)
        self._folder = folder
        self._parent = parent
        self._stage: Stage | None = None
        self._running: dict[str, Running] = {}
        self._logs: dict[str, str] = {}
        self._numbers: dict[str, int] = {}
        self.meter = Meter(self._scenario.duration)
        self.capture: Capture | None = None

    # What a test does

    @property
    def stage(self) -> Stage:
        """What carries the network. Raises `NotPerforming`."""
        if self._stage is None:
            raise NotPerforming
        return self._stage

    def time(self) -> float:
        """Return the seconds on the clock of the network."""
        return self.stage.time()

    async def sleep(self, seconds: float) -> None:
        """Let time pass: in no time where time is virtual."""
        await asyncio.sleep(seconds)

    def address(self, host: str) -> str:
        """Return the address of a host."""
        return self.stage.address_of(host)

    def endpoint(self, host: str, port: int, *, seen_from: str = "client") -> Endpoint:
        """Return where a host finds a port of another one: address and port, `address:port` as a string."""
        return Endpoint(*self.stage.endpoint_of(host, port, seen_from))

    def host(self, name: str) -> AbstractContextManager[object]:
        """Have the code of the block, and tasks started in it, stand on a host. On virtual time alone."""
        if not isinstance(self.stage, VirtualStage):
            raise CannotCarry(
                f"on {self.backend.name} the code of a test stands on no host: start programs with `run` and `start`"
            )
        return self.stage.network.host(name)

    async def apply(self, fault: Fault) -> None:
        """Do something to the network."""
        await self.stage.apply(fault)
        self.account.fault(fault, self.time())

    async def start(
        self, host: str, program: ProgramName, *arguments: object, until_ready: bool = False
    ) -> Running:
        """Start a program on a host; it is ended with the test. Arguments are handed over as strings.

        `until_ready` waits until it reports that it is, and raises RuntimeError when it ends before.
        """
        name, words = self._named(program), tuple(map(str, arguments))
        if isinstance(program, str) or callable(program):
            told = Program(host=host, run=program if isinstance(program, str) else _entry_name(program))
        else:
            told = Program(host=host, command=tuple(program))
        ready = asyncio.Event()
        running = await self.stage.start(name, told, words, partial(self._take, name, ready))
        self._running[name] = running
        self.account.note(self.time(), "program", name, f"started on {host}")
        if until_ready:
            await self._wait_until(ready, name, running)
        return running

    async def run(self, host: str, program: ProgramName, *arguments: object) -> int:
        """Run a program on a host to its end and return its exit status."""
        running = await self.start(host, program, *arguments)
        status = await running.ended()
        name = next(name for name, other in self._running.items() if other is running)
        self._end(name, status)
        return status

    # What carries it

    def perform(
        self, test: Coroutine[Any, Any, T], *, is_failure: Callable[[BaseException], bool] = _is_exception
    ) -> T:
        """Bring the network up, run a coroutine with it, and take it down; what it raises as a failure is recorded."""
        with RunDirectory(self._parent, _slug(self._scenario.title)) as directory:
            self.capture = directory.capture
            try:
                return self.backend.perform(self._scenario, self._folder, self, self._conducting(test))
            except BaseException as error:
                if is_failure(error):
                    self._keep(directory)
                raise
            finally:
                test.close()

    def _keep(self, directory: RunDirectory) -> None:
        """Record everything; what keeps that from being written is no reason to hide why the test failed."""
        scenario = write_scenario(self._scenario)
        try:
            self.record = directory.finish(self.result(), scenario, self._logs)
        except RecordFailed as failed:
            self.unrecorded = str(failed)

    def result(self) -> Run:
        """Return everything that was seen."""
        capture = self.capture
        return Run(
            title=self._scenario.title,
            backend=self.backend.name,
            seed=self.seed,
            seconds=self.account.ended_at,
            invalid=self.complaint,
            entries=self.account.entries,
            endings=self.account.endings,
            counters=self.account.counters,
            interval=self.meter.interval,
            samples=self.meter.samples(),
            captured_packets=0 if capture is None else capture.packets,
            uncaptured_packets=0 if capture is None else capture.left_out,
        )

    def _conducting(self, test: Coroutine[Any, Any, T]) -> Callable[[Stage], Coroutine[Any, Any, T]]:
        async def conduct(stage: Stage) -> T:
            self._stage = stage
            try:
                return await test
            finally:
                self.account.ended_at = stage.time()
                await self._end_all()
                self.account.counters = await stage.counters()
                self.complaint = await stage.complaint()
                self._stage = None

        return conduct

    async def _end_all(self) -> None:
        for name, running in reversed(self._running.items()):
            await running.end()
            if name not in self.account.endings:
                await running.ended()
                self._end(name, None)

    def _end(self, name: str, status: int | None) -> None:
        self._logs[name] = log = self._running[name].log
        self.account.ended(name, Ending(at=self.time(), status=status, error=log[-2_000:] if status else ""))

    def _take(self, name: str, ready: asyncio.Event, report: Report) -> None:
        self.account.report(name, report, self.time())
        if isinstance(report, Ready):
            ready.set()

    async def _wait_until(self, ready: asyncio.Event, name: str, running: Running) -> None:
        tasks: list[asyncio.Task[Any]] = [
            asyncio.create_task(ready.wait()),
            asyncio.create_task(running.ended()),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if not ready.is_set():
            raise RuntimeError(f"{name} ended before it was ready:\n{running.log}")

    def _named(self, program: ProgramName) -> str:
        """Return a name for what is started, with a number when it is not the first of its name."""
        if callable(program):
            name = program.__name__
        else:
            name = program.rpartition(":")[2] if isinstance(program, str) else Path(program[0]).name
        self._numbers[name] = self._numbers.get(name, 0) + 1
        return name if self._numbers[name] == 1 else f"{name}-{self._numbers[name]}"


def _entry_name(program: EntryPoint) -> str:
    return f"{program.__module__}:{program.__name__}"


def _slug(title: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in title)[-80:].strip("-") or "test"
