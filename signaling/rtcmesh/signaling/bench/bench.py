"""How much a signaling server carries: joins, idle members, signals, churn, large rooms and peers that do not read.

Each server is a process of its own and all peers share this one, over the loopback interface of this machine. With few
cores the peers take as much of the processor as the server does: what compares from run to run is the processor time
of the server, and everything compares within one run.
"""

import asyncio
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from multiprocessing.process import BaseProcess
from random import Random
from typing import TYPE_CHECKING

import aiohttp
import msgspec
from rich.table import Table

from .load import LoadPeer, Peer, Tally, running
from .rival import SocketIoPeer, serve_socketio
from .usage import report_usage

if TYPE_CHECKING:
    from rtcmesh.signaling.config import ServerConfig

MAX_MEMBERS = 1000
"""Of one room."""

_SLOW_CONSUMERS = 'rtcmesh_signaling_connections_ended_total{reason="slow_consumer"}'
_REJECTIONS = "rtcmesh_signaling_handshakes_rejected_total{"

PRESENCE_PER_SECOND = 50
"""How often one member of each room changes its presence."""


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What the peers do."""

    rooms: int = 20
    members: int = 10
    """In each room."""
    joins_per_second: float = 200.0
    signals_per_second: float = 0.0
    """Of all members together; 0: as many as the server takes."""
    churn_per_second: float = 0.0
    """Members that leave and come back while the others signal."""
    slow_readers: int = 0
    """Members that read nothing while they are sent signals."""
    seconds: float = 5.0
    """For how long signals are sent."""


class Percentiles(msgspec.Struct, frozen=True):
    """How long something took, in milliseconds."""

    p50: float
    p99: float


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What one kind of server did with the work."""

    server: str
    servers: int
    joins: Percentiles
    delivery: Percentiles
    delivered_per_second: float
    delivered_per_cpu_second: float
    """Signals that arrived for each second of processor time of all servers."""
    cpu_ms_per_thousand: float
    events_per_cpu_second: float
    """Presence changes that arrived, when one member of each room changes it as fast as it may."""
    kb_per_connection: float
    """Resident memory for each idle member."""
    cut_off: int
    """Connections that the servers ended because their peer did not read."""


class LoadResults(msgspec.Struct, frozen=True):
    """All figures of one run."""

    cores: int
    work: Work
    figures: tuple[Figures, ...]


@dataclass(frozen=True)
class Contender:
    """A kind of server: its name, how many of it run, and what one is started with."""

    name: str
    servers: int
    serve: Callable[..., None]
    """Called in a process of its own with a pipe and the arguments."""
    arguments: tuple[str, ...] = ()
    peer: Callable[[str, str, Tally], Peer] = LoadPeer


@dataclass(frozen=True)
class Usage:
    """What processes have used."""

    cpu_seconds: float
    resident_bytes: int


class Server:
    """A server process."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self.url: str = pipe.recv()

    def usage(self) -> Usage:
        """Return what it has used so far."""
        self._pipe.send("usage")
        cpu_seconds, resident_bytes = self._pipe.recv()
        return Usage(cpu_seconds, resident_bytes)


def run_load(work: Work, contenders: tuple[Contender, ...], progress: Callable[[str], None]) -> LoadResults:
    """Let each contender do the work in turn."""
    figures: list[Figures] = []
    for contender in contenders:
        progress(contender.name)
        with processes(contender) as servers:
            figures.append(asyncio.run(_measure(work, contender, servers)))
    return LoadResults(os.cpu_count() or 1, work, tuple(figures))


def memory_server() -> Contender:
    """Return our server with its rooms in its own memory."""
    return Contender("rtcmesh, memory", 1, _serve)


def contenders_on(store: str) -> tuple[Contender, ...]:
    """Return our server with its rooms in a store, alone and twice, and python-socketio with its Redis manager."""
    return (
        *(Contender("rtcmesh, store", count, _serve, (store,)) for count in (1, 2)),
        *(Contender("python-socketio", count, serve_socketio, (store,), SocketIoPeer) for count in (1, 2)),
    )


def table_of(results: LoadResults) -> Table:
    """Return the figures for people."""
    work = results.work
    table = Table(
        title=f"signaling: {work.rooms} rooms of {work.members}, {work.joins_per_second:g} joins/s, "
        f"{results.cores} cores"
    )
    for name in (
        "server", "join p50", "p99", "delivery p50", "p99", "signals/s", "CPU/1000", "signals/CPU s", "events/CPU s",
        "KB/idle", "cut off",
    ):  # fmt: skip
        table.add_column(name, justify="left" if name == "server" else "right")
    for row in results.figures:
        table.add_row(
            f"{row.server} x{row.servers}" if row.servers > 1 else row.server,
            f"{row.joins.p50:.1f} ms",
            f"{row.joins.p99:.1f} ms",
            f"{row.delivery.p50:.1f} ms",
            f"{row.delivery.p99:.1f} ms",
            f"{row.delivered_per_second:,.0f}",
            f"{row.cpu_ms_per_thousand:.1f} ms",
            f"{row.delivered_per_cpu_second:,.0f}",
            f"{row.events_per_cpu_second:,.0f}",
            f"{row.kb_per_connection:.1f}",
            str(row.cut_off),
        )
    return table


async def _measure(work: Work, contender: Contender, servers: list[Server]) -> Figures:
    tally = Tally()
    rooms = rooms_of(work, contender, servers, tally)
    peers = [peer for room in rooms for peer in room]
    idle = total_usage(servers)
    async with AsyncExitStack() as stack:
        await join_all(peers, work, stack)
        joins, tally.joins = tally.joins, []
        resident = total_usage(servers).resident_bytes - idle.resident_bytes
        signals = await send_signals(work, rooms, tally, servers)
        events = await _change_presence(work, rooms, tally, servers)
        slow = await cut_off(servers)
    return Figures(
        server=contender.name,
        servers=len(servers),
        joins=percentiles(joins),
        delivery=percentiles(tally.deliveries),
        delivered_per_second=signals.count / signals.seconds,
        delivered_per_cpu_second=signals.count / signals.cpu_seconds,
        cpu_ms_per_thousand=1e6 * signals.cpu_seconds / max(signals.count, 1),
        events_per_cpu_second=events.count / events.cpu_seconds,
        kb_per_connection=resident / 1024 / len(peers),
        cut_off=slow,
    )


def rooms_of(work: Work, contender: Contender, servers: list[Server], tally: Tally) -> list[list[Peer]]:
    """Return the peers of each room, at one server after the other."""
    return [
        [contender.peer(servers[n % len(servers)].url, f"bench-{room}", tally) for n in range(work.members)]
        for room in range(work.rooms)
    ]


async def join_all(peers: Sequence[Peer], work: Work, stack: AsyncExitStack) -> None:
    """Let everybody in at the rate of the work, whatever the server makes of it."""
    started_at = time.perf_counter()
    joining: list[asyncio.Task[None]] = []

    async def join(peer: Peer, *, reads: bool) -> None:
        context = peer.joined(reads=reads)
        await context.__aenter__()
        stack.push_async_exit(context.__aexit__)

    for n, peer in enumerate(peers):
        delay = started_at + n / work.joins_per_second - time.perf_counter()
        if delay > 0:
            await asyncio.sleep(delay)
        joining.append(asyncio.create_task(join(peer, reads=n >= work.slow_readers)))
    await asyncio.gather(*joining)


@dataclass(frozen=True)
class Stretch:
    """How much happened while something was measured."""

    count: int
    seconds: float
    cpu_seconds: float


async def send_signals(
    work: Work, rooms: Sequence[Sequence[Peer]], tally: Tally, servers: list[Server]
) -> Stretch:
    """Let all members but the first of each room signal to the others of their rooms."""
    random = Random(0)
    interval = work.rooms * work.members / work.signals_per_second if work.signals_per_second else 0.0

    async def send(peer: Peer, others: list[str]) -> None:
        next_at = time.perf_counter() + random.uniform(0, interval)
        while True:
            await asyncio.sleep(max(0.0, next_at - time.perf_counter()))
            next_at += interval
            peer.signal(random.choice(others))

    async with AsyncExitStack() as stack:
        for room in rooms:
            for peer in room[1:]:
                others = [other.peer_id for other in room if other is not peer]
                if interval:
                    await stack.enter_async_context(running(send(peer, others)))
                else:
                    peer.talk(others, random)
                    stack.callback(peer.talk, (), random)
        if work.churn_per_second:
            await stack.enter_async_context(running(_churn(work, rooms, random)))
        return await _stretch(work.seconds, servers, lambda: len(tally.deliveries))


async def _churn(work: Work, rooms: Sequence[Sequence[Peer]], random: Random) -> None:
    """Let new members come and go beside those who stay."""
    async with asyncio.TaskGroup() as group:
        while True:
            await asyncio.sleep(random.expovariate(work.churn_per_second))
            group.create_task(_visit(random.choice(random.choice(rooms)).companion()))


async def _visit(peer: Peer) -> None:
    async with peer.joined():
        await asyncio.sleep(1.0)


async def _change_presence(
    work: Work, rooms: list[list[Peer]], tally: Tally, servers: list[Server]
) -> Stretch:
    async def change(peer: Peer) -> None:
        number = 0
        while True:
            number += 1
            peer.set_presence(number)
            await asyncio.sleep(1 / PRESENCE_PER_SECOND)

    async with AsyncExitStack() as stack:
        for room in rooms:
            await stack.enter_async_context(running(change(room[-1])))
        return await _stretch(work.seconds, servers, lambda: tally.events)


async def _stretch(seconds: float, servers: list[Server], count: Callable[[], int]) -> Stretch:
    """Measure after a quarter of the time, so that everything is under way."""
    await asyncio.sleep(seconds / 4)
    started_at, before, used = time.perf_counter(), count(), total_usage(servers)
    await asyncio.sleep(seconds)
    after, elapsed = count() - before, time.perf_counter() - started_at
    return Stretch(after, elapsed, max(total_usage(servers).cpu_seconds - used.cpu_seconds, 1e-9))


async def cut_off(servers: list[Server]) -> int:
    """Return how many peers the servers count as too slow; nothing where they do not."""
    return sum([await _counted(server, _SLOW_CONSUMERS) for server in servers])


async def turned_away(server: Server) -> int:
    """Return how many connections a server of ours did not let in."""
    return await _counted(server, _REJECTIONS)


async def _counted(server: Server, metric: str) -> int:
    """Return the sum of the metrics whose name and labels begin so."""
    async with aiohttp.ClientSession() as session, session.get(f"{server.url}/metrics") as response:
        lines = (await response.text()).splitlines()
    return sum(int(float(line.split()[-1])) for line in lines if line.startswith(metric))


def total_usage(servers: list[Server]) -> Usage:
    """Return what all of them have used so far."""
    usages = [server.usage() for server in servers]
    return Usage(sum(u.cpu_seconds for u in usages), sum(u.resident_bytes for u in usages))


def percentiles(seconds: list[float]) -> Percentiles:
    """Return the percentiles of durations."""
    if len(seconds) < 2:
        return Percentiles(float("nan"), float("nan"))
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return Percentiles(1000 * cuts[49], 1000 * cuts[98])


@contextmanager
def processes(contender: Contender) -> Generator[list[Server], None, None]:
    """Run the servers of a contender until the end of the block."""
    context = multiprocessing.get_context("spawn")
    pipes: list[Pipe] = []
    started: list[BaseProcess] = []
    try:
        for _ in range(contender.servers):
            here, there = context.Pipe()
            process = context.Process(target=contender.serve, args=(there, *contender.arguments), daemon=True)
            process.start()
            there.close()
            pipes.append(here)
            started.append(process)
        yield [Server(pipe) for pipe in pipes]
    finally:
        for pipe in pipes:
            pipe.close()
        for ended in started:
            ended.join(10)
            ended.kill()


def serve_here(pipe: Pipe, trusted: str) -> None:
    """Run our server with its rooms in memory, and no limits for peers from this address."""
    from rtcmesh.signaling.config import DoorLimits, ServerConfig
    from rtcmesh.signaling.limits.address import parse_network

    config = ServerConfig(port=0, door=DoorLimits(trusted_proxies=(parse_network(trusted),)))
    asyncio.run(_run(pipe, config))


def _serve(pipe: Pipe, store: str | None = None) -> None:
    from rtcmesh.signaling.config import DoorLimits, RedisConfig, ServerConfig, ServiceConfig
    from rtcmesh.signaling.limits.address import LOOPBACK
    from rtcmesh.signaling.limits.bucket import Rate
    from rtcmesh.signaling.limits.traffic import TrafficLimits
    from rtcmesh.signaling.room import RoomLimits
    from rtcmesh.signaling.store_url import StoreUrl

    # All peers of a bench come from one address, as those behind a proxy do.
    door = DoorLimits(trusted_proxies=LOOPBACK)
    room = RoomLimits(max_members=MAX_MEMBERS, max_presence_bytes=64)
    # A few peers do here what thousands do elsewhere.
    traffic = TrafficLimits(messages=Rate(per_second=1e6, burst=1e6))
    service = ServiceConfig(room=room, max_queue_bytes=1_572_864, traffic=traffic)
    redis = None if store is None else RedisConfig(url=StoreUrl.parse(store))

    asyncio.run(_run(pipe, ServerConfig(port=0, door=door, service=service, redis=redis)))


async def _run(pipe: Pipe, config: "ServerConfig") -> None:
    from rtcmesh.signaling.server import serve

    async with serve(config) as server:
        pipe.send(server.url)
        await report_usage(pipe)
