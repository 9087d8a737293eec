"""Two hosts in namespaces of their own, joined by an impaired link."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import msgspec

from rtcmesh.netem.link import LinkConfig

from .errors import LinkProcessFailed
from .link_protocol import Carried, Configure, Cut, Order, Report, Task
from .namespace import Namespace
from .tun import open_tun

INTERFACE = "rtcmesh0"
DEFAULT_MTU = 1500

LINE_BYTES = 64 * 1024
"""How long a line may be that a stream of a program gives."""

ANSWER_TIMEOUT = 10.0
"""How long the link process may take to answer, in seconds."""


class RealHost:
    """One end: a namespace with an interface, in which programs run."""

    def __init__(self, namespace: Namespace, address: str, address6: str) -> None:
        self.namespace = namespace
        self.address = address
        """Its IPv4 address."""
        self.address6 = address6
        """Its IPv6 address."""
        self._processes: list[asyncio.subprocess.Process] = []

    async def spawn(
        self,
        *argv: str,
        env: Mapping[str, str] | None = None,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        limit: int = LINE_BYTES,
    ) -> asyncio.subprocess.Process:
        """Start a program here, as asyncio does; it is killed with the laboratory, or with us."""
        process = await asyncio.create_subprocess_exec(
            *self.namespace.command(argv),
            env=env,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            limit=limit,
            pass_fds=(self.namespace.fd,),
        )
        self._processes.append(process)
        return process

    async def kill(self) -> None:
        """Kill what still runs of the programs started here, and wait for their end."""
        for process in self._processes:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
        for process in self._processes:
            await process.communicate()  # reads to the end: a pipe that nobody reads would stay open


class JoinedHosts:
    """Two hosts and the link between them, both ways."""

    def __init__(self, left: RealHost, right: RealHost, process: asyncio.subprocess.Process) -> None:
        self.left = left
        self.right = right
        self._process = process
        self._asking = asyncio.Lock()

    async def configure(self, rightward: LinkConfig, leftward: LinkConfig | None = None) -> None:
        """Treat packets like this from now on, also while some are in flight; one way for both, or each its own."""
        await self._order(Configure(rightward, leftward or rightward))

    async def cut(self, *, rightward: bool = True, leftward: bool = True) -> None:
        """Let no further packet pass these ways; those in flight still arrive."""
        await self._order(Cut(rightward, leftward))

    async def heal(self) -> None:
        """Carry packets both ways again."""
        await self._order(Cut(rightward=False, leftward=False))

    async def report(self) -> Carried:
        """Return what became of the packets so far, and how late the link was since the last call of any method."""
        return await self._order(Report())

    async def answer(self) -> Carried:
        """Return the next answer of the process. Raises `LinkProcessFailed`."""
        assert self._process.stdout is not None, "it was started with pipes"
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise LinkProcessFailed(f"the link process said nothing for {ANSWER_TIMEOUT:g} s") from None
        if not line:
            raise LinkProcessFailed(f"the link process ended with status {await self._process.wait()}")
        return msgspec.json.decode(line, type=Carried)

    async def _order(self, order: Order) -> Carried:
        assert self._process.stdin is not None, "it was started with pipes"
        async with self._asking:  # an answer belongs to the order before it
            with suppress(BrokenPipeError, ConnectionResetError):  # `answer` says how it ended
                self._process.stdin.write(msgspec.json.encode(order) + b"\n")
                await self._process.stdin.drain()
            return await self.answer()


@asynccontextmanager
async def joined_hosts(
    rightward: LinkConfig | None = None,
    leftward: LinkConfig | None = None,
    *,
    seed: int = 0,
    mtu: int = DEFAULT_MTU,
) -> AsyncGenerator[JoinedHosts]:
    """Run two hosts joined by a link for the block; `rightward` holds for both ways unless `leftward` is given.

    The programs started on the hosts are killed with the block. Raises `LaboratoryUnavailable`.
    """
    rightward = rightward or LinkConfig()
    async with AsyncExitStack() as stack:
        hosts: list[RealHost] = []
        devices: list[int] = []
        for number in (1, 2):
            namespace = Namespace.create()
            stack.callback(namespace.close)
            host = RealHost(namespace, f"10.77.0.{number}", f"fd77::{number}")
            devices.append(open_tun(namespace, INTERFACE, (f"{host.address}/24", f"{host.address6}/64"), mtu))
            stack.callback(os.close, devices[-1])
            # Some programs look for the interface of the default route, or take no route for no network.
            namespace.configure([f"route add default dev {INTERFACE}"])
            hosts.append(host)
        task = Task(devices[0], devices[1], seed, rightward, leftward or rightward)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "rtcmesh.netem.real.link_process", msgspec.json.encode(task).decode()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=devices,
        )
        stack.push_async_callback(_end, process)
        for host in hosts:
            stack.push_async_callback(host.kill)
        joined = JoinedHosts(hosts[0], hosts[1], process)
        await joined.answer()
        yield joined


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the link process; its standard input's end is enough, also when it is we who are killed."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
    await process.communicate()
