"""Hosts on one switch, as Linux network namespaces: for real processes on a network that can be broken. Needs root.

    ann ──veth── ┐
    bob ──veth── ┤ bridge in the namespace "switch", which has the first address and runs the servers
    ...          ┘

The namespaces have no names in the system: each lives as long as a process that dies with the tests, and takes its
devices, addresses and rules along, however the tests end.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

PREFIX_BITS = 24
TOOLS = ("ip", "nft", "nsenter", "unshare", "setpriv")
DEVICE = "eth0"
"""What a host calls its end of the cable."""

DROP_UDP = """
table inet faults {
    chain incoming { type filter hook input priority 0; meta l4proto udp drop; }
    chain outgoing { type filter hook output priority 0; meta l4proto udp drop; }
}
"""


class Namespace:
    """A network namespace, held by a process in it."""

    def __init__(self, name: str, holder: Process) -> None:
        self.name = name
        self.pid = holder.pid
        """The process that holds it."""

    def command(self, *command: str | Path) -> tuple[str | Path, ...]:
        """Return the command that runs this one in here."""
        return "nsenter", "--target", str(self.pid), "--net", "--", *command

    async def ip(self, *lines: str) -> None:
        """Run commands of `ip`, all in one process."""
        await _run(self.command("ip", "-batch", "-"), "\n".join(lines))

    async def nft(self, rules: str) -> None:
        """Load rules into the packet filter."""
        await _run(self.command("nft", "-f", "-"), rules)


class Host(Namespace):
    """A namespace with a cable to the switch."""

    def __init__(self, name: str, holder: Process, address: str) -> None:
        super().__init__(name, holder)
        self.address = address
        """Its address now."""

    async def lose_udp(self) -> None:
        """Drop every UDP packet, in and out."""
        await self.nft(DROP_UDP)

    async def pass_udp(self) -> None:
        """Let UDP through again."""
        await self.nft("delete table inet faults")

    async def pull_cable(self) -> None:
        """Take the interface down, and its routes with it."""
        await self.ip(f"link set dev {DEVICE} down")

    async def plug_cable(self) -> None:
        """Bring the interface up again."""
        await self.ip(f"link set dev {DEVICE} up")

    async def change_address(self, address: str) -> None:
        """Have another address, and the old one no more."""
        await self.ip(
            f"address delete {self.address}/{PREFIX_BITS} dev {DEVICE}",
            f"address add {address}/{PREFIX_BITS} dev {DEVICE}",
        )
        self.address = address


class Network:
    """A switch and its hosts."""

    def __init__(self, switch: Namespace, hosts: Sequence[Host]) -> None:
        self.switch = switch
        self.hosts = hosts
        self.address = "10.77.0.1"
        """The switch's own address, for servers."""


@asynccontextmanager
async def network(*names: str) -> AsyncGenerator[Network]:
    """Make a network of hosts with these names; at the end of the block nothing is left of it."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if sys.platform != "linux" or missing:
        raise RuntimeError(f"network namespaces need Linux and root; missing here: {', '.join(missing)}")
    async with AsyncExitStack() as stack:
        switch = Namespace("switch", await stack.enter_async_context(_holder()))
        hosts = [
            Host(name, await stack.enter_async_context(_holder()), f"10.77.0.{number}")
            for number, name in enumerate(names, 2)
        ]
        result = Network(switch, hosts)
        await switch.ip(
            "link set dev lo up",
            "link add name bridge0 type bridge",
            f"address add {result.address}/{PREFIX_BITS} dev bridge0",
            "link set dev bridge0 up",
        )
        for number, host in enumerate(hosts):
            port = f"port{number}"
            await switch.ip(
                f"link add name {port} type veth peer name {DEVICE} netns {host.pid}",
                f"link set dev {port} master bridge0 up",
            )
            await host.ip(
                "link set dev lo up",
                f"address add {host.address}/{PREFIX_BITS} dev {DEVICE}",
                f"link set dev {DEVICE} up",
            )
        yield result


@asynccontextmanager
async def _holder() -> AsyncGenerator[Process]:
    """Run a process in a namespace of its own, without IPv6; the kernel kills it when this process ends."""
    script = "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; echo ready; exec sleep infinity"
    holder = await asyncio.create_subprocess_exec(
        *("setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sh", "-c", script),
        stdin=DEVNULL,
        stdout=PIPE,
    )
    try:
        assert holder.stdout is not None
        if await holder.stdout.readline() != b"ready\n":
            raise RuntimeError("no network namespace can be made here: are you root?")
        yield holder
    finally:
        if holder.returncode is None:
            holder.kill()
        await holder.communicate()


async def _run(command: Sequence[str | Path], script: str) -> None:
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    output, errors = await process.communicate(script.encode())
    if process.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {(output + errors).decode()}\n{script}")
