"""A program that is a process: reports and log from its output, and an end."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import cast

from rtcmesh.netem.faults import Signal
from rtcmesh.netem.starting import start_process

from .program import read_report
from .words import Report

GRACE = 3.0
"""Seconds that a program has to end after SIGTERM before it is killed."""

LAST_WORDS = 1.0
"""Seconds that its output has to end after the program; what it has started may hold that open for ever."""

MAX_LOG_LINES = 10_000
"""How many lines of its output are kept, the last ones."""

MAX_LINE_BYTES = 64 * 1024
"""A longer line is taken for several."""

SIGNALS = {"pause": "SIGSTOP", "resume": "SIGCONT", "kill": "SIGKILL"}


class Child(asyncio.SubprocessProtocol):
    """A process whose standard output and errors come through one pipe, and which leads a process group.

    `end` must be called, also when it has ended by itself: what it has started may not have.
    """

    def __init__(self, report: Callable[[Report], None]) -> None:
        self._report = report
        self._lines: deque[str] = deque(maxlen=MAX_LOG_LINES)
        self._rest = b""
        self._heard = asyncio.Event()
        self._exited = asyncio.Event()
        self._is_silent = asyncio.Event()
        self._has_group = True

    @classmethod
    async def start(cls, command: Sequence[str], report: Callable[[Report], None], *, folder: Path) -> Child:
        """Start a command in a folder; its reports are handed over as they come. Raises OSError."""
        _, child = await start_process(
            partial(cls, report),
            *command,
            undo=lambda _, child: child.kill(),
            cwd=folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            process_group=0,
        )
        return child

    @property
    def log(self) -> str:
        """What it has said besides its reports."""
        return "".join(self._lines)

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return not self._exited.is_set()

    def signal(self, number: int) -> None:
        """Send it a signal; in vain if it has just ended."""
        with suppress(ProcessLookupError):
            self._transport.send_signal(number)

    async def heard(self) -> None:
        """Wait until it says something more, or can say nothing more."""
        self._heard.clear()
        await self._heard.wait()

    async def ended(self) -> int:
        """Wait for its end and return its exit status: minus the signal that ended it, if one did."""
        await self._exited.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS):
                await self._is_silent.wait()
        status = self._transport.get_returncode()
        return -signal.SIGKILL if status is None else status

    async def kill(self) -> None:
        """Kill it at once, with its process group, and wait for its end."""
        self._signal_group(signal.SIGKILL)
        self._transport.close()
        await self._exited.wait()

    async def end(self) -> None:
        """Have it end with SIGTERM, or SIGKILL if that does not help, and its process group with it. Idempotent."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            self._signal_group(number)
            with suppress(TimeoutError):
                async with asyncio.timeout(GRACE):
                    await self._exited.wait()
                    break
        self._signal_group(signal.SIGKILL)
        self._exited.set()  # if the kernel cannot end it, nothing can
        await self.ended()
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Take in what it says."""
        del fd
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._take(line + b"\n")
        if len(self._rest) > MAX_LINE_BYTES:
            self._flush()
        self._heard.set()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """Know that it says nothing more."""
        del fd, exc
        self._flush()
        self._is_silent.set()
        self._heard.set()

    def process_exited(self) -> None:
        """Know that it has ended. A number of a group without members may become another one's: then forget it."""
        self._exited.set()
        self._signal_group(0)

    def _signal_group(self, number: int) -> None:
        if self._has_group:
            try:
                os.killpg(self._transport.get_pid(), number)
            except ProcessLookupError:
                self._has_group = False
            except PermissionError:  # macOS says so of a group of zombies
                pass

    def _flush(self) -> None:
        if self._rest:
            self._take(self._rest)
        self._rest = b""

    def _take(self, line: bytes) -> None:
        if (report := read_report(line)) is not None:
            self._report(report)
        else:
            self._lines.append(line.decode(errors="replace"))


class Children:
    """The processes of one run, by their names."""

    def __init__(self) -> None:
        self._children: dict[str, Child] = {}

    async def start(
        self, name: str, command: Sequence[str], report: Callable[[Report], None], *, folder: Path
    ) -> Child:
        """See `Child.start`."""
        self._children[name] = child = await Child.start(command, report, folder=folder)
        return child

    def signal(self, fault: Signal) -> None:
        """Pause, resume or kill one. Raises ValueError when none of this name is running."""
        child = self._children.get(fault.process)
        if child is None or not child.is_running:
            raise ValueError(f"no program called {fault.process!r} is running")
        child.signal(getattr(signal, SIGNALS[fault.signal]))

    async def end(self) -> None:
        """End them all."""
        await asyncio.gather(*(child.end() for child in self._children.values()))
