"""What a trial does to the paths between two peers, and to the servers, while they talk."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

from rtcmesh.peer.events import PathKind
from rtcmesh.peer.mesh import Mesh

from .memory_transport import MemoryNetwork
from .virtual_room import VirtualRoom

DIRECT_CUT = "direct"
"""The cause of a gap when a direct path in use is cut and a relay stands by; earlier ones may have theirs yet."""

AFTERMATH = 3.0
"""For how long after its end the effect of a disturbance is looked at, in seconds."""


@dataclass(slots=True)
class Disturbance:
    """Something that was done to the paths."""

    cause: str
    began: float
    ended: float
    looked_at_until: float


class Disturber:
    """Breaks paths and mends them, one disturbance at a time, as its seed says. Two of them get in each other's way."""

    def __init__(
        self, room: VirtualRoom, meshes: dict[str, Mesh], random: Random, *, paths_only: bool
    ) -> None:
        assert room.memory is not None, "disturbances need memory transports"
        self._room = room
        self._memory: MemoryNetwork = room.memory
        self._meshes = meshes
        self._random = random
        self._deeds: dict[str, Callable[[float], Awaitable[None]]] = {
            DIRECT_CUT: self._break_direct,
            "direct, one way": self._break_direct_one_way,
            "direct, a blip": self._blip,
            "direct, flapping": self._flap,
            "address": self._change_address,
            "everything": self._break_everything,
        }
        if not paths_only:
            self._deeds |= {
                "relay": self._break_relay,
                "relay, one way": self._break_relay_one_way,
                "server": self._break_server,
                "server and relay": self._break_servers,
                "direct and relay": self._break_direct_and_relay,
                "all but nothing": self._break_direct_and_servers,
            }
        self.done: list[Disturbance] = []
        """What was done, in order."""

    async def run(self, *, until: float) -> None:
        """Disturb until then, and leave everything mended."""
        loop = asyncio.get_running_loop()
        while loop.time() < until:
            await asyncio.sleep(self._random.uniform(0.2, 3.0))
            cause = self._random.choice([DIRECT_CUT, DIRECT_CUT, *self._deeds])
            named, began = self._name(cause), loop.time()
            if self.done:
                self.done[-1].looked_at_until = min(self.done[-1].looked_at_until, began)
            await self._deeds[cause](
                self._random.choice([0.3, 1.0, self._random.uniform(0.5, 2.5), 3.0, 6.0])
            )
            ended = loop.time()
            self.done.append(Disturbance(named, began, ended, min(ended, until) + AFTERMATH))

    def _name(self, cause: str) -> str:
        """Say what a disturbance hits: the loss of a direct path is another thing when no relay stands by."""
        if cause != DIRECT_CUT:
            return cause
        peers = [peer for mesh in self._meshes.values() for peer in mesh.peers.values()]
        if any(peer.path is not PathKind.DIRECT for peer in peers):
            return "direct, not in use"
        if any(PathKind.RELAYED not in {path.kind for path in peer.stats().paths} for peer in peers):
            return "direct, no relay"
        return DIRECT_CUT

    def _pair(self) -> tuple[str, str]:
        """Return the two names, in either order."""
        names = list(self._meshes)
        self._random.shuffle(names)
        return names[0], names[1]

    async def _break_direct(self, seconds: float) -> None:
        self._memory.cut(*self._pair())
        await asyncio.sleep(seconds)
        self._memory.heal(*self._pair())

    async def _break_direct_one_way(self, seconds: float) -> None:
        """Let one peer go on hearing the other, who hears nothing."""
        deaf = self._pair()
        self._memory.cut(*deaf, one_way=True)
        await asyncio.sleep(seconds)
        self._memory.heal(*deaf, one_way=True)

    async def _blip(self, seconds: float) -> None:
        """Break a direct path for less than it takes to doubt it."""
        await self._break_direct(min(seconds, self._random.uniform(0.01, 0.4)))

    async def _flap(self, seconds: float) -> None:
        """Break a direct path again and again, and mend it while the peers are about to leave it."""
        for _ in range(self._random.randrange(2, 6)):
            await self._break_direct(self._random.uniform(0.1, 1.5))
            await asyncio.sleep(self._random.uniform(0.05, min(seconds, 1.0)))

    async def _break_relay(self, seconds: float) -> None:
        await self._room.kill_relay()
        await asyncio.sleep(seconds)
        await self._room.start_relay()

    async def _break_relay_one_way(self, seconds: float) -> None:
        """Let nothing reach the relay from one peer, or the other way round; nobody is told."""
        host, relay = self._room.hosts[self._pair()[0]], self._room.relay_host
        ends = (host, relay) if self._random.random() < 0.5 else (relay, host)
        self._room.network.partition(*ends, one_way=True)
        await asyncio.sleep(seconds)
        self._room.network.heal(*ends, one_way=True)

    async def _break_server(self, seconds: float) -> None:
        await self._room.kill_server()
        await asyncio.sleep(seconds)
        await self._room.start_server()

    async def _break_servers(self, seconds: float) -> None:
        """Kill both, and start them one after the other."""
        await asyncio.gather(self._room.kill_server(), self._room.kill_relay())
        await asyncio.sleep(seconds)
        starts = [self._room.start_server, self._room.start_relay]
        self._random.shuffle(starts)
        await starts[0]()
        await asyncio.sleep(self._random.choice([0, 0.5, 2.0]))
        await starts[1]()

    async def _break_direct_and_relay(self, seconds: float) -> None:
        """Cut the direct path, and restart the relay meanwhile."""
        pair = self._pair()
        self._memory.cut(*pair)
        await asyncio.sleep(self._random.choice([0, 0.2, 1.0]))
        await self._break_relay(seconds)
        self._memory.heal(*pair)

    async def _break_direct_and_servers(self, seconds: float) -> None:
        pair = self._pair()
        self._memory.cut(*pair)
        await self._break_servers(seconds)
        self._memory.heal(*pair)

    async def _break_everything(self, seconds: float) -> None:
        name, _ = self._pair()
        self._room.isolate(name)
        await asyncio.sleep(seconds)
        self._room.reconnect(name)

    async def _change_address(self, seconds: float) -> None:
        """Let what is open die, as when a machine changes its network and finds out later; sometimes both do."""
        names = self._pair()[: self._random.choice([1, 1, 2])]
        within = min(seconds, 3.0)
        await asyncio.gather(*(self._room.change_address(name, within=within) for name in names))


def name_overlaps(disturbances: list[Disturbance]) -> None:
    """Call those that happened at the same time as others by another name."""
    for one in disturbances:
        for other in disturbances:
            if one is not other and one.began < other.looked_at_until and other.began < one.looked_at_until:
                one.cause = other.cause = "several at once"
