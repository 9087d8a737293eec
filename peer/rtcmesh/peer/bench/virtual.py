"""How fast virtual time passes: a mesh behind NATs on lossy lines, and the longest outage that tests have."""

from __future__ import annotations

import asyncio
import time
from itertools import cycle, islice

import msgspec
from rich.table import Table

from rtcmesh.netem import LinkConfig, run_virtual
from rtcmesh.netem.faults import Cut, Heal
from rtcmesh.netem.topology import NATS, GatewaySpec, HostSpec, Topology, Uplink
from rtcmesh.peer.events import PathKind
from rtcmesh.peer.mesh import Mesh
from rtcmesh.peer.testing.virtual_room import VirtualRoom, virtual_room

LOSS = 0.01
DELAY = 0.02
OUTAGE = 40.0
KINDS = ("full-cone", "address-restricted", "port-restricted")
"""Those that all let one another through: so every pair has a direct connection."""


class VirtualFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What one run took."""

    what: str
    peers: int
    virtual_seconds: float
    connected_after: float
    """Virtual seconds until every pair had a direct path."""
    packets: int
    """How many hosts sent, of all kinds."""
    cpu_seconds: float
    """Of this process."""
    cpu_seconds_to_connect: float


def run_virtual_bench(peers: int = 20, seconds: float = 60.0) -> list[VirtualFigures]:
    """Measure a mesh that stands idle once everybody has greeted all, and two peers that live through an outage."""
    return [
        _measure("a mesh behind NATs at 1 % loss", peers, seconds, outage=0.0),
        _measure(f"an outage of {OUTAGE:.0f} s", 2, OUTAGE + 5, outage=OUTAGE),
    ]


def table_of(figures: list[VirtualFigures]) -> Table:
    """Return them as a table."""
    table = Table("what", "peers", "virtual s", "CPU s", "of it to connect", "packets", title="Virtual time")
    for one in figures:
        table.add_row(
            one.what,
            str(one.peers),
            f"{one.virtual_seconds:.1f}",
            f"{one.cpu_seconds:.2f}",
            f"{one.cpu_seconds_to_connect:.2f}",
            f"{one.packets:,}",
        )
    return table


def homes(peers: int, *, loss: float) -> Topology:
    """Put every peer behind a gateway of its own, at the end of a line that loses packets."""
    line = LinkConfig(delay=DELAY, loss=loss)
    hosts = [HostSpec(name=f"peer{n}", uplinks=(Uplink(to=f"home{n}"),)) for n in range(peers)]
    gateways = [
        GatewaySpec(name=f"home{n}", nat=NATS[kind], uplink=Uplink(up=line, down=line))
        for n, kind in enumerate(islice(cycle(KINDS), peers))
    ]
    return Topology(hosts=tuple(hosts), gateways=tuple(gateways))


def _measure(what: str, peers: int, seconds: float, *, outage: float) -> VirtualFigures:
    began = time.process_time()

    async def main() -> VirtualFigures:
        loop = asyncio.get_running_loop()
        async with virtual_room(topology=homes(peers, loss=LOSS)) as room:
            meshes = await asyncio.gather(*(room.join(f"peer{n}") for n in range(peers)))
            for mesh in meshes:
                await mesh.wait_for_peers(peers - 1, path=PathKind.DIRECT)
            connected, connected_cpu = loop.time(), time.process_time() - began
            await _greet(meshes)
            if outage:
                await _live_through(room, outage, meshes)
            await asyncio.sleep(max(0.0, connected + seconds - loop.time()))
            links = room.network.machine.links().items()
            sent = sum(link.counters.sent for (source, _), link in links if source.startswith("peer"))
            return VirtualFigures(
                what=what,
                peers=peers,
                virtual_seconds=loop.time(),
                connected_after=connected,
                packets=sent,
                cpu_seconds=time.process_time() - began,
                cpu_seconds_to_connect=connected_cpu,
            )

    return run_virtual(main())


async def _greet(meshes: list[Mesh]) -> None:
    """Let everybody say something to everybody, and wait until all of it was heard."""
    await asyncio.gather(*(mesh.channel("greeting").send("hello", confirm=True) for mesh in meshes))


async def _live_through(room: VirtualRoom, seconds: float, meshes: list[Mesh]) -> None:
    await room.network.apply(Cut(node="home0"))
    await asyncio.sleep(seconds)
    await room.network.apply(Heal(node="home0"))
    for mesh in meshes:
        await mesh.wait_for_peers(len(meshes) - 1, path=PathKind.DIRECT)
