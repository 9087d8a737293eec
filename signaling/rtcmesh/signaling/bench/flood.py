"""What a flood from one address costs everybody else: the delay of their signals, quiet and meanwhile.

The flood is a process of its own on another loopback address. It opens connections as fast as it can and ends them in
the middle of the handshake, sends bytes that are no HTTP, and shouts as a member of a room.
"""

import asyncio
import multiprocessing
import os
from contextlib import AsyncExitStack
from random import Random
from urllib.parse import urlsplit

import msgspec
from rich.table import Table

from rtcmesh.signaling.text_socket import DialFailed, SocketClosed

from .bench import (
    Contender,
    Percentiles,
    Server,
    Work,
    join_all,
    percentiles,
    processes,
    send_signals,
    serve_here,
)
from .load import LoadPeer, Tally

FLOOD_HOST = "127.0.0.2"
CONNECTIONS = 20
"""How many the flood opens at once, again and again."""

_PIECES = (b"", b"GET /v1/signaling HTTP/1.1\r\n", b"\x16\x03\x01", b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")


class FloodResults(msgspec.Struct, frozen=True):
    """How long signals took."""

    cores: int
    work: Work
    quiet: Percentiles
    flooded: Percentiles


def run_flood(work: Work) -> FloodResults:
    """Measure for `seconds` in quiet, and as long during the flood."""
    # The peers' own address stands for many: it is not limited, and the flood's is.
    contender = Contender("flooded", 1, serve_here, ("127.0.0.1",))
    with processes(contender) as (server,):
        return asyncio.run(_measure(work, server))


def table_of(results: FloodResults) -> Table:
    """Return the figures for people."""
    table = Table(title=f"signals beside a flood from one address, {results.cores} cores")
    for name in ("", "p50", "p99"):
        table.add_column(name, justify="right")
    for name, row in (("quiet", results.quiet), ("flooded", results.flooded)):
        table.add_row(name, f"{row.p50:.2f} ms", f"{row.p99:.2f} ms")
    return table


async def _measure(work: Work, server: Server) -> FloodResults:
    tally = Tally()
    rooms = [
        [LoadPeer(server.url, f"bench-{room}", tally) for _ in range(work.members)]
        for room in range(work.rooms)
    ]
    async with AsyncExitStack() as stack:
        await join_all([peer for room in rooms for peer in room], work, stack)
        quiet = await _delays(work, rooms, tally, server)
        flood = multiprocessing.get_context("spawn").Process(target=_flood, args=(server.url,), daemon=True)
        flood.start()
        try:
            flooded = await _delays(work, rooms, tally, server)
        finally:
            flood.kill()
            flood.join()
    return FloodResults(os.cpu_count() or 1, work, quiet, flooded)


async def _delays(work: Work, rooms: list[list[LoadPeer]], tally: Tally, server: Server) -> Percentiles:
    tally.deliveries.clear()
    await send_signals(work, rooms, tally, [server])
    return percentiles(tally.deliveries)


def _flood(url: str) -> None:
    # It is to take the server's time, and not the processor from under it.
    os.nice(19)
    asyncio.run(_attack(url))


async def _attack(url: str) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(CONNECTIONS):
            group.create_task(_knock(url, _PIECES[number % len(_PIECES)]))
        group.create_task(_shout(url))


async def _knock(url: str, piece: bytes) -> None:
    """Open connections, say something on each, and leave."""
    address = urlsplit(url)
    while True:
        try:
            _, writer = await asyncio.open_connection(
                address.hostname, address.port, local_addr=(FLOOD_HOST, 0)
            )
            writer.write(piece)
            await writer.drain()
            writer.transport.abort()
        except OSError:
            await asyncio.sleep(0)


async def _shout(url: str) -> None:
    """Be a member, and signal to itself as fast as the server reads."""
    while True:
        peer = LoadPeer(url, "flood", Tally(), local_host=FLOOD_HOST)
        try:
            async with peer.joined():
                peer.talk((peer.peer_id,), Random(0))
                await peer.ended()
        except (DialFailed, SocketClosed):
            await asyncio.sleep(0.1)
