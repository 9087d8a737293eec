"""One seed, one history: also for meshes behind NATs, on a machine that is busy with other things."""

from __future__ import annotations

import asyncio

from rtcmesh.netem import LinkConfig, TraceEntry
from rtcmesh.netem.faults import Rebind
from rtcmesh.peer import PathKind
from rtcmesh.peer.testing import run_virtual, virtual_room
from support.scenes import line, place, world

LOSSY = LinkConfig(delay=0.02, jitter=0.003, loss=0.02)


def history(seed: int) -> list[tuple[object, ...]]:
    """Run three peers through a rebinding; return all that happened to packets, but for their sizes.

    OpenSSL draws its keys itself, and the length of an ECDSA signature depends on them.
    """
    names = ("ann", "bob", "cat")
    trace: list[TraceEntry] = []

    async def main() -> None:
        places = (place(name, "port-restricted", line(up=LOSSY, down=LOSSY)) for name in names)
        async with virtual_room(topology=world(*places)) as room:
            room.network.machine.trace = trace.append
            meshes = await asyncio.gather(*(room.join(name) for name in names))
            for mesh in meshes:
                await mesh.wait_for_peers(2, path=PathKind.DIRECT)
            await room.network.apply(Rebind(node="bob-home"))
            for mesh in meshes:
                await mesh.channel("chat").send("hello", confirm=True)
            await asyncio.sleep(5)

    run_virtual(main(), seed=seed)
    return [(entry.time, entry.kind, entry.source, entry.destination, entry.fate) for entry in trace]


def test_the_same_seed_gives_the_same_packets_and_another_one_others() -> None:
    first = history(1)
    assert len(first) > 500
    assert history(1) == first
    assert history(2) != first
