"""One end of a contest, as a process: `python -m rtcmesh.peer.bench.data.worker MODULE[:FUNCTION]`."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import msgspec

from .line import Line
from .orders import (
    Accept,
    Answer,
    Close,
    Closed,
    Count,
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
from .stack import Stack, StackListener


class Worker:
    """Does what it is told with its connections."""

    def __init__(self, make: Callable[[StackListener], Stack], report: Callable[[Report], None]) -> None:
        self._make = make
        self._report = report
        self._lines: dict[int, Line] = {}
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
                self._report(Description(await self._open(number).stack.offer(), number))
            case Answer(sdp, number):
                self._report(Description(await self._open(number).stack.answer(sdp), number))
            case Accept(sdp, number):
                await self._lines[number].stack.accept(sdp)
            case Flood():
                self._lines[order.connection].flood(order)
            case Count():
                self._report(await self._lines[order.connection].count(order))
            case Echo(number):
                self._lines[number].echo()
            case Ping(seconds, number):
                self._report(Pinged(await self._lines[number].ping(seconds)))
            case Close(number):
                await self._lines.pop(number).close()
                self._report(Closed(number))
            case Settle():
                before, self._cpu_before = self._cpu_before, _cpu_seconds()
                self._report(Usage(self._cpu_before - before, _resident_bytes()))

    def _open(self, number: int) -> Line:
        line = self._lines[number] = Line(self._make, lambda: self._report(Opened(number)))
        return line


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
