"""One process of the demo: the server, or a peer that sends, counts and checks."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import os
import sys
import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, assert_never

import msgspec

from rtcmesh.peer import Identity, Mesh, PathChanged, PeerId
from rtcmesh.peer.channel import Channel
from rtcmesh.peer.members import members

from .protocol import (
    Cut,
    Heal,
    Link,
    Listening,
    Order,
    PeerTask,
    Progress,
    Release,
    Report,
    ServerTask,
    Task,
)

MAX_PART_BYTES = 64 * 1024
REPORT_INTERVAL = 0.1


class Numbered(msgspec.Struct, frozen=True):
    """One of the numbered messages."""

    number: Annotated[int, msgspec.Meta(ge=0)]


class FilePart(msgspec.Struct, frozen=True):
    """A part of the file; the last one is empty."""

    data: bytes


class Pace:
    """How much of everything may be sent by now."""

    def __init__(self) -> None:
        self._share = 0.0
        self._grew = asyncio.Event()

    def release(self, share: float) -> None:
        """Let this share go, from 0 to 1."""
        self._share = share
        self._grew.set()

    async def reaches(self, share: float) -> None:
        """Wait until so much may be sent."""
        while self._share < share:
            self._grew.clear()
            await self._grew.wait()


class DemoPeer:
    """Sends everything, receives everything, and knows what is missing."""

    def __init__(self, mesh: Mesh, task: PeerTask, pace: Pace) -> None:
        self._mesh = mesh
        self._task = task
        self._pace = pace
        self._sent = 0
        self._next: dict[PeerId, int] = {}
        self._out_of_order: set[PeerId] = set()
        self._history: defaultdict[PeerId, list[str]] = defaultdict(list)
        self._file_sha256: str | None = None
        self._file_target: PeerId | None = None

    async def run(self) -> None:
        """Return when everything was sent, and everything that shall come has come."""
        await self._mesh.wait_for_peers(self._task.others)
        peers = sorted([*self._mesh.peers, self._mesh.peer_id])
        sender, target = peers[0], peers[-1]
        file = self._mesh.channel("file", type=FilePart)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._send_numbers())
            tasks.create_task(self._receive_numbers())
            if self._mesh.peer_id == sender:
                self._file_target = target
                tasks.create_task(self._send_file(file, target))
            if self._mesh.peer_id == target:
                tasks.create_task(self._receive_file(file))

    async def watch_paths(self) -> None:
        """Note how the others are reached, for ever."""
        async for event in self._mesh.events():
            if isinstance(event, PathChanged):
                path = event.path.value if event.path else "none"
                history = self._history[event.peer_id]
                if history[-1:] != [path]:
                    history.append(path)

    def progress(self, *, done: bool) -> Progress:
        """Return how far this peer has got."""
        return Progress(
            peer_id=self._mesh.peer_id,
            sent=self._sent,
            links={
                peer_id: Link(
                    path=remote.path.value if remote.path else None,
                    rtt=remote.rtt,
                    changes=remote.stats().path_changes,
                    history=tuple(self._history[peer_id]),
                    received=self._next.get(peer_id, 0),
                    in_order=peer_id not in self._out_of_order,
                )
                for peer_id, remote in self._mesh.peers.items()
            },
            file_sha256=self._file_sha256,
            file_sent_to=self._file_target,
            done=done,
        )

    async def _send_numbers(self) -> None:
        numbers = self._mesh.channel("numbers", type=Numbered)
        for number in range(self._task.messages):
            await self._pace.reaches((number + 1) / self._task.messages)
            await numbers.send(Numbered(number))
            self._sent += self._task.others

    async def _receive_numbers(self) -> None:
        numbers = self._mesh.channel("numbers", type=Numbered)
        for _ in range(self._task.messages * self._task.others):
            message = await numbers.receive()
            if message.data.number != self._next.get(message.sender, 0):
                self._out_of_order.add(message.sender)
            self._next[message.sender] = self._next.get(message.sender, 0) + 1

    async def _send_file(self, channel: Channel[FilePart], target: PeerId) -> None:
        content = await asyncio.to_thread(Path(self._task.file).read_bytes)
        # In as many parts as there are messages, so that some of it is on its way whatever happens.
        size = max(1, min(MAX_PART_BYTES, math.ceil(len(content) / self._task.messages)))
        for start in range(0, len(content), size):
            await self._pace.reaches((start + 1) / len(content))
            await channel.send(FilePart(content[start : start + size]), to=target)
        await channel.send(FilePart(b""), to=target)

    async def _receive_file(self, channel: Channel[FilePart]) -> None:
        digest = hashlib.sha256()
        while part := (await channel.receive()).data.data:
            digest.update(part)
        self._file_sha256 = digest.hexdigest()


class Boss:
    """The process that started this one: it gives orders, and is reported to."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._orders: asyncio.Queue[Order | None] = asyncio.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    async def carry_out(self, obey: Callable[[Order], None]) -> None:
        """Obey every order; return when the last one, to leave, has come."""
        while (order := await self._orders.get()) is not None:
            obey(order)

    def report(self, line: Report) -> None:
        """Tell something."""
        with suppress(BrokenPipeError):  # the end of standard input says so too
            os.write(sys.stdout.fileno(), msgspec.json.encode(line) + b"\n")

    def _read(self) -> None:
        # Not sys.stdin: the interpreter needs its lock to exit, and this thread may still wait then.
        rest = b""
        while data := os.read(sys.stdin.fileno(), 65536):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._put(msgspec.json.decode(line, type=Order))
        self._put(None)

    def _put(self, order: Order | None) -> None:
        with suppress(RuntimeError):  # the loop is closed: this process leaves already
            self._loop.call_soon_threadsafe(self._orders.put_nowait, order)


async def _run_peer(task: PeerTask, boss: Boss) -> None:
    from .faults import CuttableTransports  # late: the server needs no aiortc

    identity = Identity.create()
    transports = CuttableTransports(identity.peer_id)
    pace = Pace()

    def obey(order: Order) -> None:
        match order:
            case Release():
                pace.release(order.share)
            case Cut():
                transports.cut.add(order.peer_id)
            case Heal():
                transports.cut.clear()
            case _:
                assert_never(order)

    async with Mesh.join(task.url, room=task.room, identity=identity, transports=transports) as mesh:
        peer = DemoPeer(mesh, task, pace)
        work = asyncio.create_task(peer.run())

        async def report_now_and_then() -> None:
            while True:
                boss.report(peer.progress(done=work.done()))
                await asyncio.sleep(REPORT_INTERVAL)

        errands = [work, *map(asyncio.create_task, (peer.watch_paths(), report_now_and_then()))]
        left = asyncio.create_task(boss.carry_out(obey))
        try:
            await asyncio.wait([work, left], return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
            await left
        finally:
            for errand in errands:
                errand.cancel()
            await asyncio.gather(*errands, return_exceptions=True)


async def _run_server(task: ServerTask, boss: Boss) -> None:
    from rtcmesh.relay.aiohttp_socket import RELAY_PATH
    from rtcmesh.relay.server import RelayEndpoint
    from rtcmesh.relay.service import RelayService
    from rtcmesh.signaling.config import ServerConfig, ServiceConfig
    from rtcmesh.signaling.server import serve
    from rtcmesh.signaling.ticket import TicketKey

    key = TicketKey.create()
    service = ServiceConfig(relays=(RELAY_PATH,), ticket_key=key)
    config = ServerConfig(host="127.0.0.1", port=task.port, service=service)
    async with serve(config, guests=[RelayEndpoint(RelayService(key))]) as server:
        boss.report(Listening(server.url))
        await boss.carry_out(lambda _: None)


async def _run(task: Task) -> None:
    boss = Boss()
    match task:
        case ServerTask():
            await _run_server(task, boss)
        case PeerTask():
            await _run_peer(task, boss)
        case _:
            assert_never(task)


def main() -> None:
    """Run the task that the only argument describes in JSON."""
    # Peers of a demo that is broken off leave much undelivered, for nobody reads any more: no news.
    logging.getLogger(members.__name__).setLevel(logging.ERROR)
    asyncio.run(_run(msgspec.json.decode(sys.argv[1], type=ServerTask | PeerTask)))


if __name__ == "__main__":
    main()
