"""How long small messages wait behind a bulk transfer that saturates the network, on virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from statistics import quantiles

from rtcmesh.netem import LinkConfig, run_virtual
from rtcmesh.peer.config import MeshConfig, PathPolicy
from rtcmesh.peer.events import PathKind
from rtcmesh.peer.mesh import Mesh

from .memory_transport import MemoryNetwork
from .virtual_room import virtual_room

RATE_BYTES_PER_SECOND = 20e6 / 8
ROUND_TRIP = 0.05
QUEUE_BYTES = 512 * 1024
"""A queue that a careless sender fills for 0.2 s: what keeps the delay low is the sender."""

BULK_LABELS = ("bulk", "more bulk")
"""Two channels, since the window of one is not much more than the path holds."""
BULK_BYTES = 30_000
SMALL_BYTES = 64
SMALL_INTERVAL = 0.01
SETTLING = 3.0
"""Seconds until the windows have found their size: the session's, and that of SCTP below."""


@dataclass(frozen=True, slots=True)
class HeadOfLine:
    """The delay of small messages from one application to the other, and what the bulk transfer reached meanwhile."""

    p50: float
    p99: float
    longest: float
    bulk_bytes_per_second: float


def measure_head_of_line(
    kind: PathKind, *, webrtc: bool = False, seconds: float = 5.0, seed: int = 0
) -> HeadOfLine:
    """Measure on a network of 20 Mbit/s with a round trip of 50 ms, on virtual time.

    A direct path is a WebRTC connection over virtual UDP, or without `webrtc` a memory transport of that rate, which
    saturates the path from the first packet on.
    """
    return run_virtual(_measure(kind, webrtc=webrtc, seconds=seconds), seed=seed)


async def _measure(kind: PathKind, *, webrtc: bool, seconds: float) -> HeadOfLine:
    relayed = kind is PathKind.RELAYED
    one_way = ROUND_TRIP / 2
    link = LinkConfig(
        delay=one_way / 2 if relayed else one_way,
        rate_bytes_per_second=RATE_BYTES_PER_SECOND,
        max_queue_bytes=QUEUE_BYTES,
    )
    config = MeshConfig(path_policy=PathPolicy.RELAY_ONLY if relayed else PathPolicy.DIRECT_ONLY)
    memory = MemoryNetwork(delay=one_way, bytes_per_second=RATE_BYTES_PER_SECOND)
    async with virtual_room(link=link, config=config, memory=memory, webrtc=webrtc) as room:
        sender, receiver = await asyncio.gather(room.join("ann"), room.join("bob"))
        await asyncio.gather(*(mesh.wait_for_peers(1, path=kind) for mesh in (sender, receiver)))
        return await _load(sender, receiver, seconds)


async def _load(sender: Mesh, receiver: Mesh, seconds: float) -> HeadOfLine:
    loop = asyncio.get_running_loop()
    counted_from = loop.time() + SETTLING
    until = counted_from + seconds
    delays: list[float] = []
    bulk_bytes = 0

    async def send_bulk(label: str) -> None:
        bulk = sender.channel(label, type=bytes)
        while True:
            await bulk.send(bytes(BULK_BYTES))

    async def receive_bulk(label: str) -> None:
        nonlocal bulk_bytes
        async for message in receiver.channel(label, type=bytes):
            if counted_from <= loop.time() < until:
                bulk_bytes += len(message.data)

    async def receive_small() -> None:
        async for message in receiver.channel("small", type=tuple[float, bytes]):
            sent_at, _ = message.data
            if sent_at >= counted_from:
                delays.append(loop.time() - sent_at)

    async with asyncio.TaskGroup() as tasks:
        work = [receive_small(), *(job(label) for label in BULK_LABELS for job in (send_bulk, receive_bulk))]
        running = [tasks.create_task(job) for job in work]
        small = sender.channel("small", type=tuple[float, bytes])
        while loop.time() < until:
            await small.send((loop.time(), bytes(SMALL_BYTES)))
            await asyncio.sleep(SMALL_INTERVAL)
        await small.flush()
        for task in running:
            task.cancel()
    percentiles = quantiles(delays, n=100, method="inclusive")
    return HeadOfLine(percentiles[49], percentiles[98], max(delays), bulk_bytes / seconds)
