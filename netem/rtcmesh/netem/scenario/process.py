"""A program that is a process: reports and log from its output, and an end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from .program import read_report
from .words import Report

GRACE = 3.0
"""Seconds that a program has to end after SIGTERM before it is killed, and its output after the program."""

MAX_LOG_LINES = 10_000
"""How many lines of its output are kept, the last ones."""

MAX_LINE_BYTES = 64 * 1024
"""A longer line is taken for several."""


class Child:
    """A process whose standard output and errors come through one pipe."""

    def __init__(self, process: asyncio.subprocess.Process, report: Callable[[Report], None]) -> None:
        self._process = process
        self._report = report
        self._lines: deque[str] = deque(maxlen=MAX_LOG_LINES)
        self._reading = asyncio.create_task(self._read(), name=f"output of process {process.pid}")

    @property
    def log(self) -> str:
        """What it has said besides its reports."""
        return "".join(self._lines)

    async def ended(self) -> int:
        """Wait for its end and return its exit status: minus the signal that ended it, if one did."""
        status = await self._process.wait()
        # What it has started may hold the pipe open.
        await asyncio.wait([self._reading], timeout=GRACE)
        self._reading.cancel()
        with suppress(asyncio.CancelledError):
            await self._reading
        return status

    async def end(self) -> None:
        """Have it end with SIGTERM, or SIGKILL if that does not help."""
        for stop in (self._process.terminate, self._process.kill):
            if self._process.returncode is None:
                with suppress(ProcessLookupError):
                    stop()
            with suppress(TimeoutError):
                async with asyncio.timeout(GRACE):
                    await self._process.wait()
                    return

    async def _read(self) -> None:
        assert self._process.stdout is not None, "it was started with a pipe"
        rest = b""
        while chunk := await self._process.stdout.read(MAX_LINE_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._take(line + b"\n")
            if len(rest) > MAX_LINE_BYTES:
                self._take(rest)
                rest = b""
        if rest:
            self._take(rest)

    def _take(self, line: bytes) -> None:
        if (report := read_report(line)) is not None:
            self._report(report)
        else:
            self._lines.append(line.decode(errors="replace"))
