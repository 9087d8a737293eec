"""What the tests of this library use, for yours: a whole mesh in one process on virtual time.

    from rtcmesh.peer.testing import run_virtual, virtual_meshes

    async def hello() -> None:
        async with virtual_meshes(3) as (ann, bob, cat):
            await ann.channel("chat").send("hello")
            assert (await bob.channel("chat").receive()).data == "hello"

    run_virtual(hello())

`run_virtual` jumps over all waiting, and one seed always gives one run.
"""

from rtcmesh.netem import LinkConfig, run_virtual

from .memory_transport import MemoryNetwork, MemoryTransport
from .virtual_room import VirtualRoom, virtual_meshes, virtual_room

__all__ = [
    "LinkConfig",
    "MemoryNetwork",
    "MemoryTransport",
    "VirtualRoom",
    "run_virtual",
    "virtual_meshes",
    "virtual_room",
]
