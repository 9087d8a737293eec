"""Whole meshes whose processes are killed again and again: what their outboxes promise holds on every seed."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from random import Random

import pytest

from rtcmesh.peer import Channel, Identity, Mesh
from rtcmesh.peer.testing import VirtualRoom, run_virtual, virtual_room

SEEDS = 5
"""How many of those there are here; any other number is as good."""

STEPS = 20


class Life:
    """A peer that is killed and started again with the same identity and the same file."""

    def __init__(self, room: VirtualRoom, name: str, directory: Path, *, durable: bool = True) -> None:
        self._room = room
        self._name = name
        self._identity = Identity.create()
        self._file = directory / f"{name}.db"
        self._durable = durable
        self._mesh: Mesh | None = None
        self.peer_id = self._identity.peer_id
        self.received: list[int] = []

    @property
    def channel(self) -> Channel[int]:
        assert self._mesh is not None
        return self._mesh.channel("numbers", type=int, outbox=self._file if self._durable else None)

    async def start(self) -> None:
        self._mesh = await self._room.join(self._name, identity=self._identity)
        assert self.channel is not None

    async def kill(self) -> None:
        """Leave the file as it is now, with what a process would have had no time to write, and start anew."""
        kept = self._file.with_suffix(".kept")
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir()
        for path in self._file.parent.glob(f"{self._file.name}*"):
            shutil.copy(path, kept)
        assert self._mesh is not None
        self._room.isolate(self._name)
        await self._mesh.aclose()
        for path in self._file.parent.glob(f"{self._file.name}*"):
            path.unlink()
        for path in kept.iterdir():
            shutil.copy(path, self._file.parent)
        self._room.reconnect(self._name)
        await self.start()

    async def take(self, count: int, within: float) -> None:
        try:
            async with asyncio.timeout(within):
                for _ in range(count):
                    self.received.append((await self.channel.receive()).data)
        except TimeoutError:
            pass


async def trial(random: Random, directory: Path, *, durable: bool) -> None:
    async with virtual_room() as room:
        ann, bob = Life(room, "ann", directory), Life(room, "bob", directory, durable=durable)
        await ann.start()
        await bob.start()
        sent = 0
        unnoted = 0
        """How many messages may come twice: those that were taken when no receipt could reach the sender."""
        for _ in range(STEPS):
            match random.randrange(10):
                case 0 | 1 | 2 | 3:
                    for _ in range(random.randrange(1, 40)):
                        await ann.channel.send(sent, to=bob.peer_id)
                        sent += 1
                case 4 | 5:
                    await bob.take(random.randrange(1, 40), random.choice([0.0001, 0.01, 1]))
                case 6:
                    await asyncio.sleep(random.choice([0.001, 0.03, 0.3, 5]))
                case 7:
                    name = random.choice(["ann", "bob"])
                    room.isolate(name)
                    await bob.take(random.randrange(10), 1)
                    await asyncio.sleep(random.choice([0.1, 3, 40]))
                    room.reconnect(name)
                case 8:
                    await ann.kill()
                case _:
                    await asyncio.sleep(0)  # the turn in which what was taken is noted
                    before = len(bob.received)
                    await bob.kill()
                    unnoted = before
        while len(set(bob.received)) < sent:
            before = len(bob.received)
            await bob.take(sent, 100)
            assert len(bob.received) > before, f"lost: {sorted(set(range(sent)) - set(bob.received))}"
        await bob.take(1, 100)
        if durable:
            assert bob.received == list(range(sent))
        else:
            assert list(dict.fromkeys(bob.received)) == list(range(sent))
            last_life = bob.received[unnoted:]
            assert last_life == sorted(set(last_life))
        await ann.channel.flush()
        assert ann.channel.waiting() == {}


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("seed", range(SEEDS))
def test_whoever_is_killed_nothing_is_lost_or_reordered_and_a_receiver_with_an_outbox_has_nothing_twice(
    tmp_path: Path, seed: int, *, durable: bool
) -> None:
    run_virtual(trial(Random(seed), tmp_path, durable=durable), seed=seed)
