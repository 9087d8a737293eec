"""How long a conversation is silent when its direct path dies and nothing else is wrong, on virtual time."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from random import Random

from rtcmesh.netem import LinkConfig, run_virtual
from rtcmesh.peer.events import PathKind
from rtcmesh.peer.mesh import Mesh

from .virtual_room import virtual_room

SEND_INTERVAL = 0.05
"""How often each peer says something, in seconds."""

LOOKED_AT = 4.0
"""For how long after the death, in seconds."""

_DELAYS = (0.002, 0.02, 0.06, 0.15)


def measure_direct_death(seed: int) -> float:
    """Return the longest silence in seconds, whichever way, after a direct path in use goes dead without a word.

    The seed decides the delay between any two hosts, the moment, and whether the path dies both ways or one way. A
    relay stands by, at default settings.
    """
    return run_virtual(_measure(Random(seed)), seed=seed)


async def _measure(random: Random) -> float:
    loop = asyncio.get_running_loop()
    link = LinkConfig(delay=random.choice(_DELAYS), jitter=0.003)
    async with virtual_room(link=link) as room:
        meshes = [await room.join(name, random=Random(random.random())) for name in ("ann", "bob")]
        await asyncio.gather(*(mesh.wait_for_peers(1, path=PathKind.DIRECT) for mesh in meshes))
        arrivals: tuple[list[float], list[float]] = ([], [])

        async def talk(mesh: Mesh) -> None:
            channel = mesh.channel("talk", type=int)
            for number in range(10**9):
                await channel.send(number)
                await asyncio.sleep(SEND_INTERVAL)

        async def listen(mesh: Mesh, heard_at: list[float]) -> None:
            channel = mesh.channel("talk", type=int)
            while True:
                await channel.receive()
                heard_at.append(loop.time())

        async with asyncio.TaskGroup() as tasks:
            work = [tasks.create_task(talk(mesh)) for mesh in meshes]
            work += [tasks.create_task(listen(*ends)) for ends in zip(meshes, arrivals, strict=True)]
            await asyncio.sleep(random.uniform(1.0, 3.0))
            assert room.memory is not None
            one_way = random.random() < 0.5
            room.memory.cut("ann", "bob", one_way=one_way)
            died_at = loop.time()
            await asyncio.sleep(LOOKED_AT)
            for task in work:
                task.cancel()
        until = loop.time()
    return max(
        after - before
        for heard_at in arrivals
        for before, after in pairwise([died_at, *(at for at in heard_at if at > died_at), until])
    )
