"""Programs as real processes: started, read line by line, and gone when the test is."""

import asyncio
import os
import signal
import sysconfig
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

TIMEOUT = 40.0
"""Seconds for any one thing that a process is waited for; a loaded machine takes some of them to start Python."""

TICKET_SECRET = "what servers and relays share in tests"
RTCMESH = Path(sysconfig.get_path("scripts")) / "rtcmesh"


@dataclass(frozen=True)
class Ended:
    """How a process ended, and what it had said that nobody read."""

    code: int
    output: str
    errors: str


class Program:
    """A running process. Its output is read with `expect`, its errors at the end."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.seen = ""
        """What `expect` has read."""

    @property
    def is_running(self) -> bool:
        return self._process.returncode is None

    async def expect(self, text: str, *, timeout: float = TIMEOUT) -> str:
        """Read until a line contains the text, and return that line."""
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(timeout):
                async for raw in self._process.stdout:
                    line = raw.decode()
                    self.seen += line
                    if text in line:
                        return line.rstrip("\n")
        except TimeoutError:
            raise AssertionError(f"{text!r} did not come; this did:\n{self.seen}") from None
        raise AssertionError(f"the output ended without {text!r}:\n{self.seen}")

    def say(self, line: str) -> None:
        """Type a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")

    def end_input(self) -> None:
        """Press Ctrl-D."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to this process alone."""
        self._process.send_signal(number)

    def interrupt(self) -> None:
        """Press Ctrl-C: the signal goes to the whole process group, which is the program's own."""
        os.killpg(self._process.pid, signal.SIGINT)

    async def kill(self) -> None:
        """End it as `kill -9` does."""
        self._process.kill()
        await self.ended()

    async def ended(self, *, timeout: float = TIMEOUT) -> Ended:
        """Wait for the end: of the process, and of every process it has started.

        Whatever those are, they write their errors to the same pipe, so its end is the end of them all.
        """
        async with asyncio.timeout(timeout):
            output, errors = await asyncio.gather(_rest(self._process.stdout), _rest(self._process.stderr))
            return Ended(await self._process.wait(), output, errors)

    async def stop(self) -> None:
        """End it, however it fares."""
        self.end_input()
        if self.is_running:
            self._process.kill()
        await self.ended()


@asynccontextmanager
async def running(*command: str | Path, **environment: str) -> AsyncGenerator[Program]:
    """Run a command in a process group of its own; at the end of the block it is killed if need be."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", **environment}
    process = await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment, process_group=0
    )
    program = Program(process)
    try:
        yield program
    finally:
        await program.stop()


def rtcmesh(*arguments: str, **environment: str) -> AbstractAsyncContextManager[Program]:
    """Run the command line."""
    return running(RTCMESH, *arguments, **environment)


async def run_rtcmesh(*arguments: str, timeout: float = TIMEOUT) -> Ended:
    """Run the command line to its end."""
    async with rtcmesh(*arguments) as program:
        return await program.ended(timeout=timeout)


@asynccontextmanager
async def serving(
    port: int = 0, *, within: Sequence[str | Path] = (), host: str = "127.0.0.1", options: Sequence[str] = ()
) -> AsyncGenerator[tuple[Program, str]]:
    """Run a signaling server and its relay as a process, behind a command that says where; give it and its URL."""
    command = (*within, RTCMESH, "serve", "--host", host, "--port", str(port), *options)
    async with running(*command, RTCMESH_TICKET_SECRET=TICKET_SECRET) as server:
        line = await server.expect("rtcmesh signaling on")
        yield server, line.split()[-1]


@asynccontextmanager
async def relaying(port: int = 0) -> AsyncGenerator[tuple[Program, str]]:
    """Run a relay alone as a process; give it and its URL."""
    async with rtcmesh("relay", "--port", str(port), RTCMESH_TICKET_SECRET=TICKET_SECRET) as relay:
        line = await relay.expect("rtcmesh relay on")
        yield relay, line.split()[-1]


def port_of(url: str) -> int:
    """Return the port in a URL."""
    port = urlsplit(url).port
    assert port is not None
    return port


async def _rest(stream: asyncio.StreamReader | None) -> str:
    return "" if stream is None else (await stream.read()).decode()
