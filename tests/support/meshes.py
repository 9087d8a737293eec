"""Helpers of the tests of whole meshes."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from rtcmesh.peer import EventStream, Mesh, MeshConfig, PathKind, PathPolicy
from rtcmesh.peer.testing import VirtualRoom

E = TypeVar("E")

DIRECT_ONLY = MeshConfig(path_policy=PathPolicy.DIRECT_ONLY)
RELAY_ONLY = MeshConfig(path_policy=PathPolicy.RELAY_ONLY)


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
    """Join two meshes, ann and bob, and return them connected by a direct path."""
    ann, bob = await asyncio.gather(room.join("ann"), room.join("bob"))
    await until_direct(ann, bob)
    return ann, bob


async def until_direct(*meshes: Mesh) -> None:
    """Wait until these meshes, which are all, reach one another by direct paths."""
    for mesh in meshes:
        await mesh.wait_for_peers(len(meshes) - 1, path=PathKind.DIRECT)
