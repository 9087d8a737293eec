"""One end of a contest, as a process: `python -m rtcmesh.peer.data_bench.worker MODULE[:FUNCTION]`."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import msgspec

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
from .stack import HIGH_WATER_BYTES, Stack, StackListener

PING_BYTES = 64

SENDS_PER_TURN = 256
"""After so many messages the loop has its turn, so that stacks which flush once a turn can."""


class Tally:
    """Counts what comes."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self._messages = self._bytes = self._earlier_bytes = 0
        self._started_at = self._last_at = self._longest_gap = 0.0

    def begin(self, data: bytes) -> None:
        """Take the first message."""
        self.take(data)
        self.begun.set()

    def take(self, data: bytes) -> None:
        """Take a message."""
        self._messages += 1
        self._bytes += len(data)
        now = time.perf_counter()
        self._longest_gap = max(self._longest_gap, now - self._last_at)
        self._last_at = now

    def start(self, now: float) -> None:
        """Begin to measure."""
        self._earlier_bytes = self._bytes
        self._messages = 0
        self._started_at = self._last_at = now
        self._longest_gap = 0.0

    def result(self, now: float) -> Counted:
        """Return what was measured up to now."""
        longest_gap = max(self._longest_gap, now - self._last_at)
        measured = self._bytes - self._earlier_bytes
        return Counted(self._messages, measured, now - self._started_at, longest_gap, self._bytes)


class Worker:
    """Does what it is told with its connections; all work is done on the one of number 0."""

    def __init__(self, make: Callable[[StackListener], Stack], report: Callable[[Report], None]) -> None:
        self._make = make
        self._report = report
        self._stacks: dict[int, Stack] = {}
        self._listener = StackListener()
        self._cpu_before = _cpu_seconds()
        self._working: set[asyncio.Task[None]] = set()

    def obey(self, order: Order) -> None:
        """Begin what an order asks for."""
        task = asyncio.get_running_loop().create_task(self._carry_out(order))
        self._working.add(task)
        task.add_done_callback(self._working.discard)

    async def _carry_out(self, order: Order) -> None:
        try:
            await self._do(order)
        except Exception as error:  # noqa: BLE001  (whatever a foreign stack raises, the bench is to know)
            self._report(Failed(f"{type(error).__name__}: {error}"))

    async def _do(self, order: Order) -> None:
        match order:
            case Offer(number):
                self._report(Description(await self._connection(number).offer(), number))
            case Answer(sdp, number):
                self._report(Description(await self._connection(number).answer(sdp), number))
            case Accept(sdp, number):
                await self._stacks[number].accept(sdp)
            case Flood():
                await self._flood(bytes(order.size))
            case Count():
                self._report(await self._count(order))
            case Echo():
                self._listener.message = self._stacks[0].send
            case Ping():
                self._report(Pinged(await self._ping(order.seconds)))
            case Settle():
                before, self._cpu_before = self._cpu_before, _cpu_seconds()
                self._report(Usage(self._cpu_before - before, _resident_bytes()))

    def _connection(self, number: int) -> Stack:
        listener = StackListener()
        listener.opened = lambda: self._report(Opened(number))
        if number == 0:
            self._listener = listener
        stack = self._stacks[number] = self._make(listener)
        return stack

    async def _flood(self, data: bytes) -> None:
        writable = asyncio.Event()
        self._listener.writable = writable.set
        stack = self._stacks[0]
        while True:
            writable.clear()
            for _ in range(SENDS_PER_TURN):
                if stack.buffered_amount >= HIGH_WATER_BYTES:
                    await writable.wait()
                    break
                stack.send(data)
            else:
                await asyncio.sleep(0)

    async def _count(self, order: Count) -> Counted:
        tally = Tally()
        self._listener.message = tally.begin
        await tally.begun.wait()
        self._listener.message = tally.take
        await asyncio.sleep(order.settle)
        tally.start(time.perf_counter())
        await asyncio.sleep(order.seconds)
        return tally.result(time.perf_counter())

    async def _ping(self, seconds: float) -> list[float]:
        round_trips: list[float] = []
        answered = asyncio.Event()
        self._listener.message = lambda _: answered.set()
        until = time.perf_counter() + seconds
        while (sent_at := time.perf_counter()) < until:
            answered.clear()
            self._stacks[0].send(bytes(PING_BYTES))
            await answered.wait()
            round_trips.append(time.perf_counter() - sent_at)
        return round_trips


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _resident_bytes() -> int:
    try:
        with Path("/proc/self/statm").open() as statm:
            return int(statm.read().split()[1]) * resource.getpagesize()
    except FileNotFoundError:  # no Linux: the largest it ever was, in bytes on macOS
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


async def _serve(stack: str) -> None:
    def report(line: Report) -> None:
        os.write(sys.stdout.fileno(), msgspec.json.encode(line) + b"\n")

    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=2**20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    module, _, function = stack.partition(":")
    worker = Worker(getattr(import_module(f".stacks.{module}", __package__), function or "make"), report)
    while line := await reader.readline():
        worker.obey(msgspec.json.decode(line, type=Order))


def main() -> None:
    """Serve until standard input ends; what is open then ends with the process."""
    try:
        asyncio.run(_serve(sys.argv[1]))
    finally:
        os._exit(0)  # some stacks have threads that do not end by themselves


if __name__ == "__main__":
    main()
