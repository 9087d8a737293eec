"""One process of the demo: the signaling server, or a peer that sends, counts and checks.

Talks to the process that started it in JSON lines: reports on standard output; the end of standard input is the order
to leave, so that no worker outlives the demo, however that ends.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import msgspec

from . import Mesh, PeerId
from .channel import Channel

CHUNK_BYTES = 16 * 1024
REPORT_INTERVAL = 0.2


class ServerTask(msgspec.Struct, frozen=True, tag="server"):
    """Run a signaling server on a free port of the loopback interface."""


class PeerTask(msgspec.Struct, frozen=True, tag="peer"):
    """Join the room and exchange `messages` numbered messages with each of `others` peers."""

    url: str
    room: str
    others: int
    messages: int
    file: str


class Listening(msgspec.Struct, frozen=True, tag="listening"):
    """The server can be reached."""

    url: str


class Link(msgspec.Struct, frozen=True):
    """What a peer sees of another one."""

    path: str | None
    rtt: float | None
    received: int
    in_order: bool


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """How far a peer has got."""

    peer_id: str
    sent: int
    links: dict[str, Link]
    file_sha256: str | None
    file_sent_to: str | None
    done: bool


Task = ServerTask | PeerTask
Report = Listening | Progress


class Numbered(msgspec.Struct, frozen=True):
    """One of the numbered messages."""

    number: Annotated[int, msgspec.Meta(ge=0)]


class FilePart(msgspec.Struct, frozen=True):
    """A part of the file; the last one is empty."""

    data: bytes


class DemoPeer:
    """Sends everything, receives everything, and knows what is missing."""

    def __init__(self, mesh: Mesh, task: PeerTask) -> None:
        self._mesh = mesh
        self._task = task
        self._sent = 0
        self._next: dict[PeerId, int] = {}
        self._out_of_order: set[PeerId] = set()
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

    def progress(self, *, done: bool) -> Progress:
        """Return how far this peer has got."""
        return Progress(
            peer_id=self._mesh.peer_id,
            sent=self._sent,
            links={
                peer_id: Link(
                    path=remote.path.value if remote.path else None,
                    rtt=remote.rtt,
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
        for start in range(0, len(content), CHUNK_BYTES):
            await channel.send(FilePart(content[start : start + CHUNK_BYTES]), to=target)
        await channel.send(FilePart(b""), to=target)

    async def _receive_file(self, channel: Channel[FilePart]) -> None:
        digest = hashlib.sha256()
        while part := (await channel.receive()).data.data:
            digest.update(part)
        self._file_sha256 = digest.hexdigest()


async def _run_peer(task: PeerTask, leave: asyncio.Event, report: Callable[[Report], None]) -> None:
    async with Mesh.join(task.url, room=task.room) as mesh:
        peer = DemoPeer(mesh, task)

        async def report_now_and_then() -> None:
            while True:
                report(peer.progress(done=False))
                await asyncio.sleep(REPORT_INTERVAL)

        reports = asyncio.create_task(report_now_and_then())
        work = asyncio.create_task(peer.run())
        left = asyncio.create_task(leave.wait())
        try:
            await asyncio.wait([work, left], return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
                reports.cancel()
                report(peer.progress(done=True))
                await left
        finally:
            for job in (reports, work, left):
                job.cancel()
            await asyncio.gather(reports, work, left, return_exceptions=True)


async def _run_server(leave: asyncio.Event, report: Callable[[Report], None]) -> None:
    from rtcmesh.signaling.config import ServerConfig
    from rtcmesh.signaling.server import serve

    async with serve(ServerConfig(host="127.0.0.1", port=0)) as server:
        report(Listening(server.url))
        await leave.wait()


async def _run(task: Task) -> None:
    leave = asyncio.Event()
    loop = asyncio.get_running_loop()

    def watch() -> None:
        # Not sys.stdin: the interpreter needs its lock to exit, and this thread may still wait then.
        while os.read(sys.stdin.fileno(), 1):
            pass
        loop.call_soon_threadsafe(leave.set)

    def report(line: Report) -> None:
        with suppress(BrokenPipeError):  # the end of standard input says so too
            os.write(sys.stdout.fileno(), msgspec.json.encode(line) + b"\n")

    threading.Thread(target=watch, daemon=True).start()
    match task:
        case ServerTask():
            await _run_server(leave, report)
        case PeerTask():
            await _run_peer(task, leave, report)


def main() -> None:
    """Run the task that the only argument describes in JSON."""
    asyncio.run(_run(msgspec.json.decode(sys.argv[1], type=ServerTask | PeerTask)))


if __name__ == "__main__":
    main()
