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
from rtcmesh.peer.events import MessageRejected, PeerLeft, SessionExpired
from rtcmesh.peer.mesh import Mesh

from .disturbances import DIRECT_CUT, Disturber, name_overlaps
from .virtual_room import virtual_room

SEND_INTERVAL = 0.06
"""How often each peer sends on each channel, in seconds."""

DISTURBED = 10.0
"""For how long the paths are disturbed, in seconds."""

CALM = 3.0
"""For how long the peers go on sending after that, in seconds."""

TIME_LIMIT = 600.0
"""Seconds of virtual time after which a trial has failed."""

_ANN, _BOB = "ann", "bob"

_LARGEST = {
    Delivery.RELIABLE: 600_000,
    Delivery.UNORDERED: 600_000,
    Delivery.LATEST: 60_000,
    Delivery.BEST_EFFORT: 12_000,
}
"""Beyond the channel's window where a message may be; many fragments where it may not."""


@dataclass(frozen=True, slots=True)
class Gap:
    """The longest time without a message one way, on any reliable channel, in the seconds after a disturbance."""

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
    corrupted: int = 0
    surprises: list[str] = field(default_factory=list[str])
    """What the meshes told that no disturbance excuses: both peers were there all the time."""
    path_changes: int = 0
    gaps: list[Gap] = field(default_factory=list[Gap])

    @property
    def ok(self) -> bool:
        """Whether the promise was kept."""
        return not (self.lost or self.repeated or self.reordered or self.corrupted or self.surprises)

    @property
    def verdict(self) -> str:
        """What is wrong, in words."""
        counts = {
            "lost": self.lost,
            "repeated": self.repeated,
            "reordered": self.reordered,
            "corrupted": self.corrupted,
        }
        wrong = [f"{count} {name}" for name, count in counts.items() if count]
        return ", ".join([*wrong, *self.surprises]) or "nothing"


def run_trial(seed: int, *, config: MeshConfig | None = None) -> TrialResult:
    """Run one trial on virtual time."""
    return run_virtual(_trial(seed, config or MeshConfig()), seed=seed, limit=TIME_LIMIT)


class _Direction:
    """Numbered messages from one peer to the other on one channel."""

    def __init__(self, sender: Mesh, receiver: Mesh, delivery: Delivery) -> None:
        label = delivery.value
        self.sender = sender
        self.delivery = delivery
        self.outgoing: Channel[tuple[int, int, bytes]] = sender.channel(label, delivery=delivery)
        self.incoming: Channel[tuple[int, int, bytes]] = receiver.channel(label, delivery=delivery)
        self.sent = 0
        self.received: list[int] = []
        self.received_at: list[float] = []
        self.corrupted = 0

    @property
    def is_reliable(self) -> bool:
        """Whether every message must arrive."""
        return self.delivery in {Delivery.RELIABLE, Delivery.UNORDERED}

    async def send(self, random: Random, *, until: float) -> None:
        """Send a message at every interval; one in fifty is large."""
        loop = asyncio.get_running_loop()
        while loop.time() < until:
            self.sent += 1
            size = random.choice([0, 30, 200])
            if random.random() < 0.02:
                size = random.randrange(random.choice([_LARGEST[self.delivery], 12_000]))
            await self.outgoing.send((self.sent, size, _content(self.sent, size)))
            await asyncio.sleep(SEND_INTERVAL)

    async def receive(self) -> None:
        """Note what comes, for ever."""
        loop = asyncio.get_running_loop()
        async for message in self.incoming:
            number, size, content = message.data
            self.received.append(number)
            self.received_at.append(loop.time())
            self.corrupted += content != _content(number, size)

    def judge(self, result: TrialResult) -> None:
        """Compare what came with what went."""
        distinct = set(self.received)
        result.sent += self.sent
        result.corrupted += self.corrupted
        result.repeated += len(self.received) - len(distinct)
        if self.is_reliable:
            result.lost += self.sent - len(distinct)
        if self.delivery is Delivery.LATEST:
            result.lost += self.sent not in distinct
        if self.delivery in {Delivery.RELIABLE, Delivery.LATEST}:
            result.reordered += sum(before > after for before, after in pairwise(self.received))


def _longest_gap(directions: list[_Direction], since: float, until: float) -> float:
    """Return the longest time between two points in time without a message on any of these channels."""
    arrivals = sorted(at for direction in directions for at in direction.received_at if since < at < until)
    return max(after - before for before, after in pairwise([since, *arrivals, until]))


def _content(number: int, size: int) -> bytes:
    """Return bytes that fit to no other message."""
    return (number.to_bytes(4, "big") * (size // 4 + 1))[:size]


async def _watch(mesh: Mesh, surprises: list[str]) -> None:
    async for event in mesh.events():
        match event:
            case PeerLeft():
                surprises.append(f"a peer left: {event.reason.value}")
            case SessionExpired():
                surprises.append("a session expired")
            case MessageRejected():
                surprises.append(f"a message was rejected: {event.error}")
            case _:
                pass


async def _trial(seed: int, config: MeshConfig) -> TrialResult:
    random = Random(seed)
    link = LinkConfig(
        delay=random.choice([0.002, 0.02, 0.06]),
        jitter=random.choice([0, 0.005]),
        loss=random.choice([0, 0, 0, 0.01, 0.05]),
        reordering=random.choice([0, 0, 0.01]),
    )
    result = TrialResult(seed)
    async with virtual_room(link=link, config=config) as room:
        ann, bob = await asyncio.gather(
            room.join(_ANN, random=Random(seed + 1)), room.join(_BOB, random=Random(seed + 2))
        )
        await asyncio.gather(ann.wait_for_peers(1), bob.wait_for_peers(1))
        directions = [
            _Direction(*pair, delivery) for pair in ((ann, bob), (bob, ann)) for delivery in Delivery
        ]
        disturbers = [
            Disturber(room, {_ANN: ann, _BOB: bob}, random, paths_only=number > 0)
            for number in range(random.choice([1, 1, 2]))
        ]
        until = asyncio.get_running_loop().time() + DISTURBED
        async with asyncio.TaskGroup() as tasks:
            listening = [tasks.create_task(direction.receive()) for direction in directions]
            listening += [tasks.create_task(_watch(mesh, result.surprises)) for mesh in (ann, bob)]
            async with asyncio.TaskGroup() as senders:
                for disturber in disturbers:
                    senders.create_task(disturber.run(until=until))
                for direction in directions:
                    senders.create_task(direction.send(random, until=until + CALM))
            await asyncio.gather(*(direction.outgoing.flush() for direction in directions))
            await asyncio.sleep(0.1)
            for listener in listening:
                listener.cancel()
        result.path_changes = next(iter(ann.peers.values())).stats().path_changes
    for direction in directions:
        direction.judge(result)
    disturbances = [disturbance for disturber in disturbers for disturbance in disturber.done]
    name_overlaps(disturbances)
    reliable = [direction for direction in directions if direction.is_reliable]
    conversations = [[d for d in reliable if d.sender is sender] for sender in (ann, bob)]
    for one in disturbances:
        gap = max(_longest_gap(channels, one.began, one.looked_at_until) for channels in conversations)
        cause = "direct, lossy relay" if link.loss and one.cause == DIRECT_CUT else one.cause
        result.gaps.append(Gap(cause, gap))
    return result
