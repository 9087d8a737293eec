"""Trials of the promise: two peers talk while their paths are killed and healed; what came is compared with what went.

One seed always gives one trial. `rtcmesh bench paths` runs thousands of them.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random

from rtcmesh.netem import LinkConfig, run_virtual
from rtcmesh.peer.channel import Channel
from rtcmesh.peer.config import MeshConfig
from rtcmesh.peer.delivery import Delivery
from rtcmesh.peer.events import PathKind
from rtcmesh.peer.mesh import Mesh

from .virtual_room import VirtualRoom, virtual_room

SEND_INTERVAL = 0.06
"""How often each peer sends on each channel, in seconds."""

DISTURBED = 10.0
"""For how long the paths are disturbed, in seconds."""

CALM = 3.0
"""For how long the peers go on sending after that, in seconds."""

_ANN, _BOB = "ann", "bob"


@dataclass(frozen=True, slots=True)
class Gap:
    """The longest time without a message in the seconds after a disturbance."""

    cause: str
    seconds: float


@dataclass(slots=True)
class TrialResult:
    """What one trial has found."""

    seed: int
    sent: int = 0
    lost: int = 0
    repeated: int = 0
    reordered: int = 0
    path_changes: int = 0
    gaps: list[Gap] = field(default_factory=list[Gap])

    @property
    def ok(self) -> bool:
        """Whether the promise was kept."""
        return not (self.lost or self.repeated or self.reordered)


def run_trial(seed: int, *, config: MeshConfig | None = None) -> TrialResult:
    """Run one trial on virtual time."""
    return run_virtual(_trial(seed, config or MeshConfig()), seed=seed, limit=600)


class _Direction:
    """Numbered messages from one peer to the other on one channel."""

    def __init__(self, sender: Mesh, receiver: Mesh, delivery: Delivery) -> None:
        label = delivery.value
        self.delivery = delivery
        self.outgoing: Channel[tuple[int, bytes]] = sender.channel(label, delivery=delivery)
        self.incoming: Channel[tuple[int, bytes]] = receiver.channel(label, delivery=delivery)
        self.sent = 0
        self.received: list[int] = []
        self.received_at: list[float] = []

    async def send(self, random: Random, *, until: float) -> None:
        """Send a message at every interval; one in fifty is large."""
        loop = asyncio.get_running_loop()
        while loop.time() < until:
            self.sent += 1
            size = random.choice([0, 30, 200]) if random.random() < 0.98 else random.randrange(60_000)
            await self.outgoing.send((self.sent, bytes(size)))
            await asyncio.sleep(SEND_INTERVAL)

    async def receive(self) -> None:
        """Note what comes, for ever."""
        loop = asyncio.get_running_loop()
        async for message in self.incoming:
            self.received.append(message.data[0])
            self.received_at.append(loop.time())

    def longest_gap(self, since: float, until: float) -> float:
        """Return the longest time without a message between two points in time."""
        marks = [since, *(at for at in self.received_at if since < at < until), until]
        return max(after - before for before, after in pairwise(marks))

    def judge(self, result: TrialResult) -> None:
        """Compare what came with what went."""
        result.sent += self.sent
        result.lost += self.sent - len(set(self.received))
        result.repeated += len(self.received) - len(set(self.received))
        if self.delivery is Delivery.RELIABLE:
            result.reordered += sum(a > b for a, b in pairwise(self.received))


class _Disturber:
    """Breaks paths and mends them, one disturbance at a time, as its seed says."""

    def __init__(self, room: VirtualRoom, meshes: tuple[Mesh, Mesh], random: Random) -> None:
        self._room = room
        self._meshes = meshes
        self._random = random
        self.windows: list[tuple[str, float, float]] = []
        """What was done, when, and until when its effect is looked at."""

    async def run(self, *, until: float) -> None:
        """Disturb until then, and leave everything mended."""
        loop = asyncio.get_running_loop()
        deeds = {
            "direct": self._break_direct,
            "relay": self._break_relay,
            "server": self._break_server,
            "both": self._break_both,
            "everything": self._break_everything,
            "address": self._change_address,
        }
        while loop.time() < until:
            await asyncio.sleep(self._random.uniform(0.2, 3.0))
            cause = self._random.choice(["direct", *deeds])
            named = self._name(cause)
            began = loop.time()
            if self.windows:
                before, since, looked_at_until = self.windows[-1]
                self.windows[-1] = (before, since, min(looked_at_until, began))
            await deeds[cause](self._random.choice([0.3, 1.0, 3.0, 6.0]))
            self.windows.append((named, began, min(loop.time(), until) + CALM))

    def _name(self, cause: str) -> str:
        """Say what a disturbance hits: the loss of a direct path is another thing when no relay stands by."""
        if cause != "direct":
            return cause
        kinds = [
            {path.kind for path in next(iter(mesh.peers.values())).stats().paths} for mesh in self._meshes
        ]
        if any(PathKind.DIRECT not in known for known in kinds):
            return "direct, not in use"
        return "direct" if all(PathKind.RELAYED in known for known in kinds) else "direct, no relay"

    async def _break_direct(self, seconds: float) -> None:
        memory = self._room.memory
        assert memory is not None
        memory.cut(_ANN, _BOB)
        await asyncio.sleep(seconds)
        memory.heal(_ANN, _BOB)

    async def _break_relay(self, seconds: float) -> None:
        await self._room.kill_relay()
        await asyncio.sleep(seconds)
        await self._room.start_relay()

    async def _break_server(self, seconds: float) -> None:
        await self._room.kill_server()
        await asyncio.sleep(seconds)
        await self._room.start_server()

    async def _break_both(self, seconds: float) -> None:
        """Cut the direct path, and restart the relay meanwhile."""
        memory = self._room.memory
        assert memory is not None
        memory.cut(_ANN, _BOB)
        await self._break_relay(seconds)
        memory.heal(_ANN, _BOB)

    async def _break_everything(self, seconds: float) -> None:
        self._room.isolate(_ANN)
        await asyncio.sleep(seconds)
        self._room.reconnect(_ANN)

    async def _change_address(self, seconds: float) -> None:
        """Let what is open die, as when a machine changes its network; it is told a moment later."""
        del seconds
        await self._room.change_address(_ANN)


async def _trial(seed: int, config: MeshConfig) -> TrialResult:
    random = Random(seed)
    link = LinkConfig(delay=random.choice([0.002, 0.02, 0.06]), jitter=random.choice([0, 0.005]))
    result = TrialResult(seed)
    async with virtual_room(link=link, config=config) as room:
        ann, bob = await asyncio.gather(
            room.join(_ANN, random=Random(seed + 1)), room.join(_BOB, random=Random(seed + 2))
        )
        await asyncio.gather(ann.wait_for_peers(1), bob.wait_for_peers(1))
        directions = [
            _Direction(*pair, delivery)
            for pair in ((ann, bob), (bob, ann))
            for delivery in (Delivery.RELIABLE, Delivery.UNORDERED)
        ]
        disturber = _Disturber(room, (ann, bob), random)
        until = asyncio.get_running_loop().time() + DISTURBED
        async with asyncio.TaskGroup() as tasks:
            receivers = [tasks.create_task(direction.receive()) for direction in directions]
            async with asyncio.TaskGroup() as senders:
                senders.create_task(disturber.run(until=until))
                for direction in directions:
                    senders.create_task(direction.send(random, until=until + CALM))
            await asyncio.gather(*(direction.outgoing.flush() for direction in directions))
            await asyncio.sleep(0.1)
            for receiver in receivers:
                receiver.cancel()
        result.path_changes = next(iter(ann.peers.values())).stats().path_changes
    for direction in directions:
        direction.judge(result)
    for cause, began, ended in disturber.windows:
        result.gaps.append(Gap(cause, max(d.longest_gap(began, ended) for d in directions)))
    return result
