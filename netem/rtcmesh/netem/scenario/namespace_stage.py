"""Scenarios in Linux network namespaces: programs are processes, in real time."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from rtcmesh.netem.faults import Fault, Signal
from rtcmesh.netem.link import LinkCounters
from rtcmesh.netem.real import LostPacket, RealTopology, real_topology
from rtcmesh.netem.topology import Topology

from .account import Counters
from .lateness import Punctuality
from .meter import Meter
from .presence import missing_programs
from .process import Children
from .record import Capture
from .sniffer import Sniffer, may_sniff
from .stage import LOST, Conduct, Running, Watch
from .words import Program, Report, Scenario

T = TypeVar("T")

LOOK_INTERVAL = 1.0
"""Seconds between two looks at the counters of the links."""

Links = dict[str, tuple[LinkCounters, LinkCounters]]


class NamespaceBackend:
    """Any program, in real time, on Linux."""

    name = "namespaces"

    def objections(self, scenario: Scenario, folder: Path) -> list[str]:
        """Return what of a scenario it cannot carry."""
        if not sys.platform.startswith("linux"):
            return ["network namespaces exist on Linux only"]
        return missing_programs(scenario, folder)

    def perform(self, scenario: Scenario, folder: Path, watch: Watch, conduct: Conduct[T]) -> T:
        """Run a coroutine in real time, with the network of the scenario."""
        return asyncio.run(_perform(scenario, folder, watch, conduct))


async def _perform(scenario: Scenario, folder: Path, watch: Watch, conduct: Conduct[T]) -> T:
    losses = None if watch.capture is None else _Losses(watch.capture)
    lost = None if losses is None else losses.take
    topology, seed = scenario.topology, scenario.seed
    async with real_topology(topology, seed=seed, lost=lost) as network, AsyncExitStack() as stack:
        punctuality = Punctuality(_shortest_delay(scenario.topology))
        stage = NamespaceStage(network, folder, watch.meter, punctuality)
        if losses is not None:
            losses.began_at = stage.began_at
        if may_sniff():
            for host in network.hosts.values():
                sniffer = Sniffer(host.name, host.namespace, watch, stage.time)
                stack.callback(sniffer.close)
        looking = asyncio.create_task(stage.look_on(), name="look at the links")
        try:
            return await conduct(stage)
        finally:
            await stage.children.end()
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking


class _Losses:
    """Shows the packets that links took out to the capture of a run."""

    def __init__(self, capture: Capture) -> None:
        self.began_at = time.monotonic()
        self._capture = capture

    def take(self, lost: LostPacket) -> None:
        """Show a packet, with what became of it."""
        comment = f"{lost.fate}; on the way {lost.way} at {lost.node}"
        self._capture.add(LOST, max(0.0, lost.at - self.began_at), lost.packet, comment)
        self._capture.left_out += lost.untold


class NamespaceStage:
    """The hosts of a topology in namespaces, and the processes on them."""

    def __init__(self, network: RealTopology, folder: Path, meter: Meter, punctuality: Punctuality) -> None:
        self.children = Children()
        self._network = network
        self._folder = folder
        self._meter = meter
        self._punctuality = punctuality
        self._seen: Links = {}
        self._looked_at = 0.0
        self.began_at = time.monotonic()

    def time(self) -> float:
        """Return the seconds since the network is up."""
        return time.monotonic() - self.began_at

    def address_of(self, host: str) -> str:
        """Return the IPv4 address that a host has now."""
        return self._network.host(host).address

    def endpoint_of(self, host: str, port: int, seen_from: str) -> tuple[str, int]:
        """Return the same for everybody: its address and the port."""
        return self.address_of(host), port

    async def apply(self, fault: Fault) -> None:
        """See `Faultable`."""
        await self._look()
        if isinstance(fault, Signal):
            self.children.signal(fault)
        else:
            await self._network.apply(fault)

    async def start(
        self, name: str, program: Program, arguments: tuple[str, ...], report: Callable[[Report], None]
    ) -> Running:
        """Start a process on its host."""
        own = ("-m", "rtcmesh.netem.scenario.play", str(self._folder), program.run)
        command = program.command or (sys.executable, *own)
        inside = self._network.host(program.host).command("env", *command, *arguments)
        return await self.children.start(name, inside, report, folder=self._folder)

    async def counters(self) -> Counters:
        """Return what became of packets so far."""
        links = await self._look()
        return {node: {"up": asdict(up), "down": asdict(down)} for node, (up, down) in links.items()}

    async def complaint(self) -> str:
        """Return whether the machine was too busy for the links to be what they should."""
        await self._look()
        return self._punctuality.complaint()

    async def look_on(self) -> None:
        """Look at the links now and then, for ever."""
        while True:
            await asyncio.sleep(LOOK_INTERVAL)
            await self._look()

    async def _look(self) -> Links:
        links, audit = await self._network.report()
        self._punctuality.note(audit)
        now = self.time()
        for node, (up, down) in links.items():
            up_before, down_before = self._seen.get(node, (LinkCounters(), LinkCounters()))
            self._meter.counted(
                node,
                self._looked_at,
                now,
                sent=up.sent - up_before.sent,
                lost=up.gone + down.gone - up_before.gone - down_before.gone,
                received=down.delivered - down_before.delivered,
            )
        self._seen, self._looked_at = links, now
        return links


def _shortest_delay(topology: Topology) -> float:
    uplinks = [uplink for host in topology.hosts for uplink in host.uplinks]
    return min(link.delay for uplink in uplinks for link in (uplink.up, uplink.down))
