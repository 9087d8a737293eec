"""Two peers that talk all the time on virtual time, each in its place, while a test breaks what is between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise

from rtcmesh.netem import LinkConfig
from rtcmesh.netem.faults import Fault
from rtcmesh.netem.topology import INTERNET, NATS, GatewaySpec, HostSpec, Topology, Uplink
from rtcmesh.peer import Mesh, PathChanged, PathKind
from rtcmesh.peer.testing import VirtualRoom, virtual_room

LINE = LinkConfig(delay=0.02)
"""Each way between a peer, or its gateway, and the internet, and between the servers and it."""

KINDS = (
    "open",
    "full-cone",
    "address-restricted",
    "port-restricted",
    "symmetric",
    "carrier-grade",
    "udp-blocked",
)
TALK_INTERVAL = 0.1

Place = tuple[HostSpec, tuple[GatewaySpec, ...]]


def line(to: str = INTERNET, *, up: LinkConfig = LINE, down: LinkConfig = LINE) -> Uplink:
    return Uplink(to=to, up=up, down=down)


def place(name: str, kind: str, uplink: Uplink | None = None) -> Place:
    """Put a host behind a NAT of this kind, called like `ann-home`, at the end of a line."""
    uplink = uplink or line()
    home, carrier = f"{name}-home", f"{name}-carrier"
    if kind == "open":
        return HostSpec(name=name, uplinks=(uplink,)), ()
    if kind == "carrier-grade":
        inner = GatewaySpec(name=home, uplink=Uplink(to=carrier))
        outer = GatewaySpec(name=carrier, nat=NATS["symmetric"], uplink=uplink)
        return HostSpec(name=name, uplinks=(Uplink(to=home),)), (inner, outer)
    return (
        HostSpec(name=name, uplinks=(Uplink(to=home),)),
        (GatewaySpec(name=home, nat=NATS[kind], uplink=uplink),),
    )


def with_uplink(spot: Place, *uplinks: Uplink) -> Place:
    """Give a host more uplinks than the one it uses."""
    host, gateways = spot
    return replace(host, uplinks=(*host.uplinks, *uplinks)), gateways


def world(*places: Place, more: Iterable[GatewaySpec] = ()) -> Topology:
    """Join places to an internet with our servers in it."""
    servers = tuple(HostSpec(name=name, uplinks=(line(),)) for name in ("signaling", "relay", "stun"))
    hosts = tuple(host for host, _ in places)
    gateways = tuple(gateway for _, gateways in places for gateway in gateways)
    return Topology(hosts=(*hosts, *servers), gateways=(*gateways, *more))


class Scene:
    """Ann and bob, who send each other numbers, and what became of them."""

    def __init__(self, room: VirtualRoom, ann: Mesh, bob: Mesh) -> None:
        self.room = room
        self.meshes = (ann, bob)
        self.changes: list[tuple[float, str, PathKind | None]] = []
        """When who began to reach the other one how."""
        self.heard_at: tuple[list[float], list[float]] = ([], [])
        self._received: tuple[list[int], list[int]] = ([], [])
        self._sent = [0, 0]
        self._is_talking = True
        self._heard = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._time = loop.time
        self.began = loop.time()
        self._senders = [asyncio.create_task(self._send(end)) for end in (0, 1)]
        self._readers = [asyncio.create_task(self._read(end)) for end in (0, 1)]
        self._readers += [asyncio.create_task(self._watch(end)) for end in (0, 1)]

    @property
    def paths(self) -> tuple[PathKind | None, ...]:
        """How each reaches the other one now."""
        return tuple(next(iter(mesh.peers.values())).path for mesh in self.meshes)

    async def until(self, kind: PathKind, within: float = 30.0) -> float:
        """Wait until both reach each other like this, and return when that was."""
        async with asyncio.timeout(within):
            for mesh in self.meshes:
                await mesh.wait_for_peers(1, path=kind)
        return self._time()

    async def apply(self, fault: Fault) -> float:
        """Do it, and return when that was."""
        await self.room.network.apply(fault)
        return self._time()

    def silence(self, since: float) -> float:
        """Return the longest time since then in which one of them heard nothing."""
        return max(
            after - before
            for heard_at in self.heard_at
            for before, after in pairwise([since, *(at for at in heard_at if at > since), self._time()])
        )

    async def finish(self, within: float = 30.0) -> None:
        """Stop talking, and check that each number came once and in order."""
        self._is_talking = False
        await asyncio.gather(*self._senders)
        async with asyncio.timeout(within):
            while [len(received) for received in self._received] != self._sent[::-1]:
                self._heard.clear()
                await self._heard.wait()
        for sent, received in zip(self._sent, self._received[::-1], strict=True):
            assert received == list(range(sent))

    async def close(self) -> None:
        for task in (*self._senders, *self._readers):
            task.cancel()
        await asyncio.gather(*self._senders, *self._readers, return_exceptions=True)

    async def _send(self, end: int) -> None:
        channel = self.meshes[end].channel("numbers", type=int)
        while self._is_talking:
            await channel.send(self._sent[end])
            self._sent[end] += 1
            await asyncio.sleep(TALK_INTERVAL)

    async def _read(self, end: int) -> None:
        async for message in self.meshes[end].channel("numbers", type=int):
            self._received[end].append(message.data)
            self.heard_at[end].append(self._time())
            self._heard.set()

    async def _watch(self, end: int) -> None:
        async for event in self.meshes[end].events():
            if isinstance(event, PathChanged):
                self.changes.append((self._time(), "ann" if end == 0 else "bob", event.path))


@asynccontextmanager
async def scene(topology: Topology) -> AsyncGenerator[Scene]:
    """Let ann and bob, who are hosts of the topology, join a room and talk."""
    async with virtual_room(topology=topology) as room:
        ann, bob = await asyncio.gather(room.join("ann"), room.join("bob"))
        await asyncio.gather(ann.wait_for_peers(1), bob.wait_for_peers(1))
        talk = Scene(room, ann, bob)
        try:
            yield talk
        finally:
            await talk.close()
