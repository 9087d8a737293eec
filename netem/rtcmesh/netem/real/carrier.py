"""The owner's side of a laboratory's process: starts it, gives it orders, ends it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

import msgspec

from .errors import LaboratoryUnavailable, LinkProcessFailed
from .inhabitants import kill_inhabitants
from .link_protocol import Built, Carried, Order, Outcome, Task, Unavailable
from .namespace import Namespace
from .nat_probe import Observed
from .spawned import Spawned

ANSWER_TIMEOUT = 20.0
"""How long the process may take to answer, in seconds."""

START_TIMEOUT = 60.0
"""How long it may take to make everything."""

END_TIMEOUT = 5.0
"""How long it may take to end what is left in its namespaces, and programs to vanish that were killed."""

LINE_BYTES = 16 * 1024 * 1024

T = TypeVar("T")


class Carrier:
    """A running process, and the namespaces that it made."""

    def __init__(self, process: Spawned) -> None:
        self.namespaces: tuple[Namespace, ...] = ()
        self.boxes: tuple[Observed, ...] = ()
        """How the gateways were found to behave, in the order of the task."""
        self.in_user_namespace = False
        """Whether it all is in a user namespace, because the user may not make other ones elsewhere."""
        self.runs_ahead = False
        """Whether the process goes before all others, so that a busy machine does not delay packets."""
        self.process = process
        self.programs: list[Spawned] = []
        """What was started in the namespaces, to be killed at the end."""
        self._asking = asyncio.Lock()

    async def build(self, task: Task) -> None:
        """Have it make what the task says. Raises `LaboratoryUnavailable` and `LinkProcessFailed`."""
        # Two steps, as an `Outcome` is a union and its type no class.
        line = await self._ask(task, START_TIMEOUT)
        outcome: Outcome = msgspec.json.decode(line, type=Outcome)
        match outcome:
            case Unavailable(reason):
                raise LaboratoryUnavailable(reason)
            case Built(namespaces, boxes, in_user_namespace, runs_ahead):
                self.boxes, self.in_user_namespace, self.runs_ahead = boxes, in_user_namespace, runs_ahead
                self.namespaces = tuple(self._open(fd) for fd in namespaces)

    async def obey(self, orders: Sequence[Order] = ()) -> Carried:
        """Have all of these orders carried out, with no packet between them; return what became of the packets so far.

        Raises `LinkProcessFailed`.
        """
        return msgspec.json.decode(await self._ask(orders, ANSWER_TIMEOUT), type=Carried)

    async def end(self) -> None:
        """Kill the programs, and whatever they have started, and end the process. What holds their pipes is let be."""
        for program in self.programs:
            program.abandon()
        assert self.process.stdin is not None, "it was started with pipes"
        assert self.process.stdout is not None, "it was started with pipes"
        self.process.stdin.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(END_TIMEOUT):
                # Its undertaker holds that open until all in the namespaces is killed.
                while await self.process.stdout.read(LINE_BYTES):
                    pass
                await self.process.wait()
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)  # with what it was just waiting for
        self.process.abandon()
        if self.process.returncode != 0:
            kill_inhabitants([namespace.fd for namespace in self.namespaces])
        with suppress(TimeoutError):
            async with asyncio.timeout(END_TIMEOUT):
                await asyncio.gather(*(each.wait() for each in (self.process, *self.programs)))
        for namespace in self.namespaces:
            namespace.close()

    async def _ask(self, what: object, seconds: float) -> bytes:
        assert self.process.stdin is not None, "it was started with pipes"
        assert self.process.stdout is not None, "it was started with pipes"
        async with self._asking:  # an answer belongs to what was said before it
            with suppress(BrokenPipeError, ConnectionResetError):  # how it ended is said below
                self.process.stdin.write(msgspec.json.encode(what) + b"\n")
                await self.process.stdin.drain()
            try:
                async with asyncio.timeout(seconds):
                    line = await self.process.stdout.readline()
            except TimeoutError:
                raise LinkProcessFailed(f"the link process said nothing for {seconds:g} s") from None
        if not line:
            raise LinkProcessFailed(f"the link process ended with status {await self.process.wait()}")
        return line

    def _open(self, fd: int) -> Namespace:
        """Hold a namespace ourselves: it does not end with the process."""
        place = f"/proc/{self.process.pid}"
        opened = os.open(f"{place}/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
        return Namespace(opened, user=f"{place}/ns/user" if self.in_user_namespace else "")


@asynccontextmanager
async def carrying(task: Task) -> AsyncGenerator[Carrier]:
    """Run a laboratory's process for the block. Raises `LaboratoryUnavailable`.

    When the process ends before the block does, whatever the block raises is put down to that: `LinkProcessFailed`.
    """
    process = await Spawned.start(
        *(sys.executable, "-m", "rtcmesh.netem.real.link_process"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LINE_BYTES,
        process_group=0,
        pass_fds=() if task.losses is None else (task.losses,),
    )
    carrier = Carrier(process)
    try:
        await carrier.build(task)
        yield carrier
        _check(process)
    except Exception as error:
        if not isinstance(error, LaboratoryUnavailable | LinkProcessFailed):
            _check(process, error)
        raise
    finally:
        await carrier.end()


def _check(process: Spawned, cause: Exception | None = None) -> None:
    if process.returncode is not None:
        raise LinkProcessFailed(f"the link process ended early, with status {process.returncode}") from cause
