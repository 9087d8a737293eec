"""Both ends of a contender: two processes that are told by lines, and tell by lines."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

import msgspec

from .contenders import Contender
from .networks import Place
from .orders import (
    Accept,
    Answer,
    Close,
    Closed,
    Description,
    Failed,
    Offer,
    Opened,
    Order,
    Report,
    Settle,
    Usage,
)

START_TIMEOUT = 60.0
"""All that are measured at the same time start at the same time."""

CONNECT_TIMEOUT = 15.0
CLOSE_TIMEOUT = 5.0
SLACK = 15.0
"""How much longer than asked for a piece of work may take, in seconds."""

STOP_TIMEOUT = 5.0

R = TypeVar("R", bound=Report)


class ContestFailed(Exception):
    """A contender did not do its work; the text says how."""


class StackFailed(ContestFailed):
    """A stack said so itself, at once."""


class End:
    """A process under test."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def tell(self, order: Order) -> None:
        """Give an order."""
        assert self._process.stdin is not None, "it was started with pipes"
        self._process.stdin.write(msgspec.json.encode(order) + b"\n")
        with suppress(ConnectionError):  # `hear` says how it ended
            await self._process.stdin.drain()

    async def hear(self, kind: type[R], timeout: float = SLACK) -> R:
        """Return its next report. Raises `ContestFailed` for another one, for none, and for its end."""
        assert self._process.stdout is not None, "it was started with pipes"
        try:
            async with asyncio.timeout(timeout):
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise ContestFailed(f"no {kind.__name__} within {timeout:g} s") from None
        if not line:
            raise ContestFailed("its process ended")
        try:
            report: Report = msgspec.json.decode(line, type=Report)
        except msgspec.DecodeError:
            raise ContestFailed(f"it said {line[:80]!r}") from None
        if isinstance(report, Failed):
            raise StackFailed(report.why)
        if not isinstance(report, kind):
            raise ContestFailed(f"it said {report} in place of {kind.__name__}")
        return report

    async def usage(self, timeout: float = SLACK) -> Usage:
        """Return what it has cost since the last call."""
        await self.tell(Settle())
        return await self.hear(Usage, timeout)

    async def stop(self) -> None:
        """Let it end, which the end of its input tells it to, or end it and what it has started, such as a browser."""
        assert self._process.stdin is not None, "it was started with pipes"
        self._process.stdin.close()
        try:
            async with asyncio.timeout(STOP_TIMEOUT):
                await self._process.communicate()
        except TimeoutError:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.communicate()


async def together(left: Coroutine[None, None, R], right: Coroutine[None, None, R]) -> tuple[R, R]:
    """Wait for both ends; if one fails, the other is not waited for."""
    tasks = asyncio.ensure_future(left), asyncio.ensure_future(right)
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


class Pair:
    """Both ends of a contender. They are started when they are needed, and again after a failure."""

    def __init__(self, contender: Contender, places: tuple[Place, Place]) -> None:
        self.contender = contender
        self._places = places
        self._ends: tuple[End, End] | None = None
        self._connections = 0

    async def ready(self) -> tuple[End, End]:
        """Return both ends when they are up."""
        if self._ends is None:
            command, environment = self.contender.command, self.contender.environment
            left, right = [End(await place.spawn(command, environment)) for place in self._places]
            self._ends = left, right
            self._connections = 0
            await together(left.usage(START_TIMEOUT), right.usage(START_TIMEOUT))
        return self._ends

    async def usages(self) -> tuple[Usage, Usage]:
        """Return what both have cost since the last call."""
        left, right = await self.ready()
        return await together(left.usage(), right.usage())

    async def connect(self) -> Connected:
        """Make another connection."""
        left, right = await self.ready()
        number = self._connections
        self._connections += 1
        started = time.perf_counter()
        await left.tell(Offer(number))
        await right.tell(Answer((await left.hear(Description)).sdp, number))
        await left.tell(Accept((await right.hear(Description)).sdp, number))
        await together(left.hear(Opened, CONNECT_TIMEOUT), right.hear(Opened, CONNECT_TIMEOUT))
        return Connected(left, right, number, time.perf_counter() - started)

    @asynccontextmanager
    async def connected(self) -> AsyncGenerator[Connected]:
        """Connect for the block. What fails in it ends the processes: the next connection finds new ones."""
        try:
            connected = await self.connect()
            yield connected
        except ContestFailed:
            await self.stop()
            raise
        ends = connected.left, connected.right
        for end in ends:
            await end.tell(Close(connected.number))
        try:
            await together(*(end.hear(Closed, CLOSE_TIMEOUT) for end in ends))
        except ContestFailed:  # what was measured counts all the same
            await self.stop()

    async def stop(self) -> None:
        """Let both processes end, or end them."""
        ends, self._ends = self._ends, None
        if ends is not None:
            await asyncio.gather(*(end.stop() for end in ends))


class Connected:
    """A connection between both ends."""

    def __init__(self, left: End, right: End, number: int, seconds: float) -> None:
        self.left = left
        self.right = right
        self.number = number
        self.seconds = seconds
        """How long it took from the offer until both ends were open."""
