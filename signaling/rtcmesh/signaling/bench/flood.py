"""What a flood from one address costs everybody else: the delay of their signals and joins, quiet and meanwhile.

The flood is a process of its own on another loopback address. It opens connections as fast as it can and ends them in
the middle of the handshake, sends bytes that are no HTTP, and shouts as a member of a room. On a machine of its own it
would take none of the server's processor but by what it sends; here it runs only while nobody else wants to (Linux;
elsewhere at the lowest priority). Quiet stretches and flooded ones take turns, so that whatever else happens on the
machine, and every heartbeat, falls on both alike.
"""

import asyncio
import multiprocessing
import os
import signal
import sys
from collections.abc import Generator, Sequence
from contextlib import AsyncExitStack, contextmanager
from multiprocessing.connection import Connection as Pipe
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
    turned_away,
)
from .load import LoadPeer, Tally

FLOOD_HOST = "127.0.0.2"
CONNECTIONS = 20
"""How many the flood opens at once, again and again."""

STRETCHES = 6
"""How often quiet and flood take turns; each stretch lasts for the seconds of the work divided by this."""

_PIECES = (b"", b"GET /v1/signaling HTTP/1.1\r\n", b"\x16\x03\x01", b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """How everybody else fared."""

    signals: Percentiles
    joins: Percentiles
    cpu: float
    """The part of a processor that the server took."""
    turned_away_per_second: float
    """Connections that the server did not let in."""


class FloodResults(msgspec.Struct, frozen=True):
    """Both, from one run."""

    cores: int
    work: Work
    quiet: Beside
    flooded: Beside


class Stretches:
    """What was seen in all stretches of one kind."""

    def __init__(self) -> None:
        self._tally = Tally()
        self._seconds = self._cpu_seconds = 0.0
        self._turned_away = 0

    async def add(
        self, work: Work, rooms: Sequence[Sequence[LoadPeer]], tally: Tally, server: Server
    ) -> None:
        """Let everybody signal for one more."""
        tally.deliveries, tally.joins = [], []
        before = await turned_away(server)
        stretch = await send_signals(work, rooms, tally, [server])
        self._turned_away += await turned_away(server) - before
        self._tally.deliveries += tally.deliveries
        self._tally.joins += tally.joins
        self._seconds += stretch.seconds
        self._cpu_seconds += stretch.cpu_seconds

    def result(self) -> Beside:
        """Return the figures."""
        return Beside(
            signals=percentiles(self._tally.deliveries),
            joins=percentiles(self._tally.joins),
            cpu=self._cpu_seconds / self._seconds,
            turned_away_per_second=self._turned_away / self._seconds,
        )


def run_flood(work: Work) -> FloodResults:
    """Measure for the seconds of the work in quiet, and as long during the flood."""
    # The peers' own address stands for many: it is not limited, and the flood's is.
    contender = Contender("flooded", 1, serve_here, ("127.0.0.1",))
    with processes(contender) as (server,):
        return asyncio.run(_measure(work, server))


def table_of(results: FloodResults) -> Table:
    """Return the figures for people."""
    table = Table(title=f"beside a flood from one address, {results.cores} cores")
    for name in ("", "signal p50", "p99", "join p50", "p99", "server CPU", "turned away/s"):
        table.add_column(name, justify="right")
    for name, row in (("quiet", results.quiet), ("flooded", results.flooded)):
        times = (row.signals.p50, row.signals.p99, row.joins.p50, row.joins.p99)
        table.add_row(
            name,
            *(f"{time:.2f} ms" for time in times),
            f"{row.cpu:.0%}",
            f"{row.turned_away_per_second:,.0f}",
        )
    return table


async def _measure(work: Work, server: Server) -> FloodResults:
    tally = Tally()
    rooms = [
        [LoadPeer(server.url, f"bench-{room}", tally) for _ in range(work.members)]
        for room in range(work.rooms)
    ]
    part = msgspec.structs.replace(work, seconds=work.seconds / STRETCHES)
    quiet, flooded = Stretches(), Stretches()
    async with AsyncExitStack() as stack:
        await join_all([peer for room in rooms for peer in room], work, stack)
        flood = stack.enter_context(_flooding(server.url))
        for _ in range(STRETCHES):
            flood.pause()
            await quiet.add(part, rooms, tally, server)
            flood.go_on()
            await flooded.add(part, rooms, tally, server)
    return FloodResults(os.cpu_count() or 1, work, quiet.result(), flooded.result())


class Flood:
    """The process of the flood."""

    def __init__(self, process_id: int) -> None:
        self._process_id = process_id

    def pause(self) -> None:
        """Send nothing more."""
        os.kill(self._process_id, signal.SIGSTOP)

    def go_on(self) -> None:
        """Send again."""
        os.kill(self._process_id, signal.SIGCONT)


@contextmanager
def _flooding(url: str) -> Generator[Flood, None, None]:
    """Yield a flood that is ready to begin."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_flood, args=(there, url), daemon=True)
    process.start()
    there.close()
    try:
        here.recv()
        assert process.pid is not None
        yield Flood(process.pid)
    finally:
        process.kill()
        process.join()
        here.close()


def _flood(pipe: Pipe, url: str) -> None:
    # It is to take the server's time, and not the processor from under it.
    if sys.platform == "linux":
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    else:
        os.nice(19)
    pipe.send("ready")
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
