"""Scenarios on virtual time: programs are tasks on the hosts of a virtual network."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from rtcmesh.netem.faults import Fault, Signal
from rtcmesh.netem.topology import Topology, Uplink
from rtcmesh.netem.virtual.laboratory import VirtualNetwork, run_virtual, virtual_aiortc, virtual_webrtc
from rtcmesh.netem.virtual.network import Network

from .account import Counters
from .presence import missing_programs
from .program import find_entry_point, reporting_to, run_to_status
from .stage import Conduct, Running, Watch
from .tap import PacketTap
from .words import Program, Report, Scenario

T = TypeVar("T")

SLACK = 10.0
"""Seconds of virtual time for the end of a run, after which something must be wrong."""


class VirtualBackend:
    """Any machine, no privileges, no waiting; for programs of asyncio."""

    name = "virtual"

    def objections(self, scenario: Scenario, folder: Path) -> list[str]:
        """Return what of a scenario it cannot carry."""
        found = [
            f"the program {name!r} is a command: only coroutines (`run`) can be run on virtual time"
            for name, program in scenario.programs.items()
            if program.command
        ]
        found += [
            f"event {number} signals {event.fault.process!r}: on virtual time programs are tasks, not processes"
            for number, event in enumerate(scenario.events, start=1)
            if isinstance(event.fault, Signal)
        ]
        return found + missing_programs(scenario, folder)

    def perform(self, scenario: Scenario, folder: Path, watch: Watch, conduct: Conduct[T]) -> T:
        """Run a coroutine on virtual time, with the network of the scenario."""
        limit = 2 * scenario.duration + SLACK
        return run_virtual(
            _perform(scenario.topology, folder, watch, conduct), seed=scenario.seed, limit=limit
        )


async def _perform(topology: Topology, folder: Path, watch: Watch, conduct: Conduct[T]) -> T:
    stage = VirtualStage(VirtualNetwork(topology), folder)
    stage.network.machine.tap = PacketTap(watch).note
    with _webrtc_where_it_is_used():
        return await conduct(stage)


@contextmanager
def _webrtc_where_it_is_used() -> Generator[None]:
    """Let WebRTC see the virtual network if the programs have imported it; importing it takes long."""
    if "aiortc" in sys.modules:
        with virtual_aiortc():
            yield
    elif {"aioice", "rtcmesh.peer"} & sys.modules.keys():
        with virtual_webrtc():
            yield
    else:
        yield


class VirtualStage:
    """The hosts of a virtual network, and the tasks on them."""

    def __init__(self, network: VirtualNetwork, folder: Path) -> None:
        self.network = network
        self._folder = folder

    def time(self) -> float:
        """Return the virtual time."""
        return asyncio.get_running_loop().time()

    def address_of(self, host: str) -> str:
        """Return the address that a host has now."""
        return self.network.host(host).address

    def endpoint_of(self, host: str, port: int, seen_from: str) -> tuple[str, int]:
        """Return the same for everybody: its address and the port."""
        return self.address_of(host), port

    async def apply(self, fault: Fault) -> None:
        """See `Faultable`."""
        await self.network.apply(fault)

    async def start(
        self, name: str, program: Program, arguments: tuple[str, ...], report: Callable[[Report], None]
    ) -> Running:
        """Start a task on its host."""
        entry = find_entry_point(program.run, self._folder)
        with self.network.host(program.host), reporting_to(report):
            return _Task(name, run_to_status(entry, arguments))

    async def counters(self) -> Counters:
        """Return what became of packets so far."""
        return counters_of(self.network.machine, self.network.topology)

    async def complaint(self) -> str:
        """Return nothing: no machine is too slow for virtual time."""
        return ""


class _Task:
    """A program that is a task."""

    def __init__(self, name: str, run: Coroutine[object, object, int]) -> None:
        self.log = ""
        self._task = asyncio.create_task(run, name=f"program {name}")

    async def ended(self) -> int:
        """Wait for its end; an exception is the status 1, and in the log."""
        await asyncio.wait([self._task])
        if self._task.cancelled():
            return 1
        if (error := self._task.exception()) is not None:
            self.log += "".join(traceback.format_exception(error))
            return 1
        return self._task.result()

    async def end(self) -> None:
        """Cancel it."""
        self._task.cancel()
        await asyncio.wait([self._task])


def counters_of(network: Network, topology: Topology) -> Counters:
    """Return what became of packets on the uplinks of every node, at its gateways, and between them."""
    nodes: list[tuple[str, tuple[Uplink, ...]]] = [(host.name, host.uplinks) for host in topology.hosts]
    nodes += [(gateway.name, (gateway.uplink,)) for gateway in topology.gateways]
    counters: dict[str, dict[str, dict[str, int]]] = {}
    for name, uplinks in nodes:
        sums: dict[str, dict[str, int]] = {"up": {}, "down": {}}
        for (source, destination), link in network.links().items():
            way = "up" if source == name else "down"
            if name in (source, destination) and {source, destination} & {uplink.to for uplink in uplinks}:
                for fate, count in asdict(link.counters).items():
                    sums[way][fate] = sums[way].get(fate, 0) + count
        counters[name] = sums
    for name, gateway in network.gateways().items():
        counters[name]["nat"] = {**asdict(gateway.nat.counters), "down": gateway.dropped}
    counters["internet"] = {"across": {"unroutable": network.unroutable, "unreachable": network.unreachable}}
    return counters
