"""Scenarios through proxies: programs are on this machine itself, and find each other through proxies on loopback."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from rtcmesh.netem.errors import CannotCarry
from rtcmesh.netem.faults import Fault, Signal
from rtcmesh.netem.packet import Endpoint
from rtcmesh.netem.proxy.network import ProxyNetwork, objection_to, objections_to

from .account import Counters
from .checks import HOST_PLACEHOLDER
from .presence import missing_programs
from .process import Children
from .stage import Conduct, Running, Watch
from .tap import PacketTap
from .words import Program, Report, Scenario

T = TypeVar("T")

LOOPBACK = "127.0.0.1"


class ProxyBackend:
    """Any program, in real time, without privileges; what it sends crosses links only where a proxy stands."""

    name = "proxy"

    def objections(self, scenario: Scenario, folder: Path) -> list[str]:
        """Return what of a scenario it cannot carry."""
        found = objections_to(scenario.topology) + missing_programs(scenario, folder)
        for number, event in enumerate(scenario.events, start=1):
            if (objection := objection_to(event.fault)) is not None:
                found.append(f"event {number}: {objection}")
        for name, program in scenario.programs.items():
            for word in program.arguments:
                found += [
                    f"the program {name!r} is told {{{host}}}: on a proxy hosts have no address; say {{{host}:PORT}}, "
                    "which every backend understands, where PORT is the one at which it listens"
                    for host, port in HOST_PLACEHOLDER.findall(word)
                    if not port
                ]
        return found

    def perform(self, scenario: Scenario, folder: Path, watch: Watch, conduct: Conduct[T]) -> T:
        """Run a coroutine in real time, with the network of the scenario."""
        return asyncio.run(_perform(scenario, folder, watch, conduct))


async def _perform(scenario: Scenario, folder: Path, watch: Watch, conduct: Conduct[T]) -> T:
    tap = PacketTap(watch, began_at=asyncio.get_running_loop().time())
    async with ProxyNetwork(scenario.topology, seed=scenario.seed, tap=tap.note) as network:
        stage = ProxyStage(network, folder)
        try:
            return await conduct(stage)
        finally:
            await stage.children.end()


class ProxyStage:
    """Proxies for hosts that are all this machine, and processes."""

    def __init__(self, network: ProxyNetwork, folder: Path) -> None:
        self.children = Children()
        self._network = network
        self._folder = folder
        self._loop = asyncio.get_running_loop()
        self._began_at = self._loop.time()

    def time(self) -> float:
        """Return the seconds since the network is up."""
        return self._loop.time() - self._began_at

    def address_of(self, host: str) -> str:
        """Raise `CannotCarry`: a proxy stands for a port, and not for a host."""
        raise CannotCarry(f"on a proxy {host!r} has no address of its own: ask for the endpoint of a port")

    def endpoint_of(self, host: str, port: int, seen_from: str) -> tuple[str, int]:
        """Return the proxy through which a host finds a port of another one, for UDP and TCP."""
        return self._network.both(seen_from, host, Endpoint(LOOPBACK, port))

    async def apply(self, fault: Fault) -> None:
        """See `Faultable`."""
        if isinstance(fault, Signal):
            self.children.signal(fault)
        else:
            await self._network.apply(fault)

    async def start(
        self, name: str, program: Program, arguments: tuple[str, ...], report: Callable[[Report], None]
    ) -> Running:
        """Start a process on this machine."""
        own = (sys.executable, "-m", "rtcmesh.netem.scenario.play", str(self._folder), program.run)
        command = (*(program.command or own), *arguments)
        return await self.children.start(name, command, report, folder=self._folder)

    async def counters(self) -> Counters:
        """Return what became of packets so far."""
        return self._network.counters()

    async def complaint(self) -> str:
        """Return nothing: a proxy does not look at how late it is."""
        return ""
