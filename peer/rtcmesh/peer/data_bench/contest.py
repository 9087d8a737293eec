"""One contender does one piece of work on one network: two processes, connected, told, measured."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

import msgspec

from .contenders import Contender
from .networks import Network, Place
from .orders import (
    Accept,
    Answer,
    Count,
    Counted,
    Description,
    Echo,
    Failed,
    Flood,
    Offer,
    Opened,
    Order,
    Ping,
    Pinged,
    Report,
    Settle,
    Usage,
)

CONNECT_TIMEOUT = 30.0
SLACK = 30.0
"""How much longer than asked for a piece of work may take, in seconds."""

IDLE_SECONDS = 5.0

STOP_TIMEOUT = 5.0

R = TypeVar("R", bound=Report)


class ContestFailed(Exception):
    """A contender did not do its work; the text says how."""


class Bulk(msgspec.Struct, frozen=True):
    """Messages of one size, as many as there can be."""

    mbit_per_second: float
    messages_per_second: float
    longest_gap: float
    cpu_seconds_per_gb: float
    """Of both ends."""
    connect_seconds: float


class PingPong(msgspec.Struct, frozen=True):
    """One message at a time, there and back."""

    p50_ms: float
    p99_ms: float
    connect_seconds: float


class Idle(msgspec.Struct, frozen=True):
    """What open connections cost that nobody uses, at each end."""

    kb_per_connection: float
    cpu_ms_per_second: float
    """For all of them together."""


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
        report = msgspec.json.decode(line, type=Report)
        if isinstance(report, Failed):
            raise ContestFailed(report.why)
        if not isinstance(report, kind):
            raise ContestFailed(f"it said {report} in place of {kind.__name__}")
        return report

    async def usage(self) -> Usage:
        """Return what it has cost since the last call."""
        await self.tell(Settle())
        return await self.hear(Usage)

    async def stop(self) -> None:
        """Let it end, which the end of its input tells it to, or end it."""
        assert self._process.stdin is not None, "it was started with pipes"
        self._process.stdin.close()
        try:
            async with asyncio.timeout(STOP_TIMEOUT):
                await self._process.communicate()
        except TimeoutError:
            self._process.kill()
            await self._process.communicate()


@asynccontextmanager
async def ends_of(contender: Contender, places: tuple[Place, Place]) -> AsyncGenerator[tuple[End, End]]:
    """Start both ends, and stop them after the block."""
    left, right = [End(await place.spawn(contender.command, contender.environment)) for place in places]
    try:
        yield left, right
    finally:
        await asyncio.gather(left.stop(), right.stop())


async def together(left: Coroutine[None, None, R], right: Coroutine[None, None, R]) -> tuple[R, R]:
    """Wait for both ends; if one fails, the other is not waited for."""
    tasks = asyncio.ensure_future(left), asyncio.ensure_future(right)
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def connect(left: End, right: End, number: int = 0) -> float:
    """Connect both ends, and return how many seconds that took."""
    if number == 0:
        await together(left.usage(), right.usage())  # both are up: starting them is not part of it
    started = time.perf_counter()
    await left.tell(Offer(number))
    await right.tell(Answer((await left.hear(Description)).sdp, number))
    await left.tell(Accept((await right.hear(Description)).sdp, number))
    await together(left.hear(Opened, CONNECT_TIMEOUT), right.hear(Opened, CONNECT_TIMEOUT))
    return time.perf_counter() - started


async def run_bulk(
    contender: Contender, network: Network, *, size: int, settle: float, seconds: float
) -> Bulk:
    """Send one way."""
    async with network.open() as places, ends_of(contender, places) as (left, right):
        connect_seconds = await connect(left, right)
        await together(left.usage(), right.usage())
        await right.tell(Count(settle, seconds))
        await left.tell(Flood(size))
        counted = await right.hear(Counted, settle + seconds + SLACK)
        usages = await together(left.usage(), right.usage())
    cpu = sum(usage.cpu_seconds for usage in usages)
    return Bulk(
        mbit_per_second=counted.bytes * 8 / counted.seconds / 1e6,
        messages_per_second=counted.messages / counted.seconds,
        longest_gap=counted.longest_gap,
        cpu_seconds_per_gb=cpu / (counted.total_bytes / 1e9),
        connect_seconds=connect_seconds,
    )


async def run_ping(contender: Contender, network: Network, *, seconds: float) -> PingPong:
    """Send one message at a time there and back."""
    async with network.open() as places, ends_of(contender, places) as (left, right):
        connect_seconds = await connect(left, right)
        await right.tell(Echo())
        await right.usage()  # it has obeyed: what comes too early would not be sent back
        await left.tell(Ping(seconds))
        round_trips = sorted((await left.hear(Pinged, seconds + SLACK)).round_trips)
    return PingPong(
        p50_ms=round_trips[len(round_trips) // 2] * 1000,
        p99_ms=round_trips[int(len(round_trips) * 0.99)] * 1000,
        connect_seconds=connect_seconds,
    )


async def run_idle(
    contender: Contender, network: Network, *, connections: int, seconds: float = IDLE_SECONDS
) -> Idle:
    """Open connections between two processes and leave them alone."""
    async with network.open() as places, ends_of(contender, places) as (left, right):
        await connect(left, right)  # what is loaded with the first one is not part of each
        before = await together(left.usage(), right.usage())
        for number in range(1, connections + 1):
            await connect(left, right, number)
        after = await together(left.usage(), right.usage())
        await asyncio.sleep(seconds)
        usages = await together(left.usage(), right.usage())
    grown = sum(
        later.resident_bytes - earlier.resident_bytes for earlier, later in zip(before, after, strict=True)
    )
    return Idle(
        kb_per_connection=grown / 2 / connections / 1000,
        cpu_ms_per_second=sum(usage.cpu_seconds for usage in usages) / 2 / seconds * 1000,
    )
