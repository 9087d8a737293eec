"""Helpers of the tests of whole meshes."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from rtcmesh.peer import EventStream, Mesh
from rtcmesh.peer.testing import VirtualRoom

E = TypeVar("E")


def news(mesh: Mesh) -> EventStream:
    """Return a stream of what happens from now on, without what a new stream tells of the present."""
    stream = mesh.events()
    stream._events.clear()
    return stream


async def next_event(stream: EventStream, kind: type[E]) -> E:
    """Return the next event of this kind."""
    async for event in stream:
        if isinstance(event, kind):
            return event
    raise AssertionError(f"the stream ended without {kind.__name__}")


async def pair(room: VirtualRoom) -> tuple[Mesh, Mesh]:
    """Join two meshes, ann and bob, and return them connected."""
    ann, bob = await asyncio.gather(room.join("ann"), room.join("bob"))
    await asyncio.gather(ann.wait_for_peers(1), bob.wait_for_peers(1))
    return ann, bob
