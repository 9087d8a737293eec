"""A process on one host of a matrix: a peer in every room that it is told to join, which talks all the time.

python -m rtcmesh.peer.matrix_bench.end URL
"""

from __future__ import annotations

import asyncio
import sys
import time

import msgspec

from rtcmesh.peer import Channel, Mesh, MeshConfig, PathChanged
from rtcmesh.peer.events import PathKind
from rtcmesh.peer.stats import PathStats
from rtcmesh.peer.webrtc.candidate import Candidate
from rtcmesh.signaling.config import ClientConfig

from .words import Ask, Heard, Join, Joined, Mark, Order, Reached, Ready, State, Told

INTERVAL = 0.05
JOIN_TIMEOUT = 60.0


class Talk:
    """One room."""

    def __init__(self, room: str) -> None:
        self._room = room
        self._mesh: Mesh | None = None
        self._sent = 0
        self._received = 0
        self._wrong = 0
        self._last_at = time.monotonic()
        self._longest_gap = 0.0

    async def run(self, url: str) -> None:
        """Talk until cancelled."""
        config = MeshConfig(signaling=ClientConfig(connect_timeout=JOIN_TIMEOUT))
        async with Mesh.join(url, room=self._room, config=config) as mesh:
            self._mesh = mesh
            say(Joined(self._room, time.monotonic()))
            numbers = mesh.channel("numbers", type=int)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._send(mesh, numbers))
                tasks.create_task(self._receive(numbers))
                tasks.create_task(self._watch(mesh))

    def mark(self) -> None:
        """Begin to look for silences."""
        self._longest_gap, self._last_at = 0.0, time.monotonic()

    def state(self) -> State:
        """Say how it is doing; a silence that goes on counts."""
        path, candidate = "none", ""
        peers = self._mesh.peers.values() if self._mesh else ()
        for peer in peers:
            path = peer.path.value if peer.path else "none"
            if peer.path is PathKind.DIRECT:
                candidate = _remote_candidate(peer.stats().paths)
        gap = max(self._longest_gap, time.monotonic() - self._last_at)
        return State(self._room, path, candidate, self._received, self._wrong, gap)

    async def _send(self, mesh: Mesh, numbers: Channel[int]) -> None:
        await mesh.wait_for_peers(1)
        while True:
            await numbers.send(self._sent)
            self._sent += 1
            await asyncio.sleep(INTERVAL)

    async def _receive(self, numbers: Channel[int]) -> None:
        async for message in numbers:
            now = time.monotonic()
            if self._received == 0:
                say(Heard(self._room, now))
            else:
                self._longest_gap = max(self._longest_gap, now - self._last_at)
            self._last_at = now
            self._wrong += message.data != self._received
            self._received += 1

    async def _watch(self, mesh: Mesh) -> None:
        async for event in mesh.events():
            if isinstance(event, PathChanged):
                say(Reached(self._room, time.monotonic(), event.path.value if event.path else "none"))


def _remote_candidate(paths: tuple[PathStats, ...]) -> str:
    for path in paths:
        if path.transport is not None and path.transport.remote_candidate:
            return Candidate.parse(path.transport.remote_candidate).type
    return ""


def say(told: Told) -> None:
    """Tell it to whoever started us."""
    sys.stdout.buffer.write(msgspec.json.encode(told) + b"\n")
    sys.stdout.buffer.flush()


async def main(url: str) -> None:
    """Obey until standard input ends."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    talks: dict[str, Talk] = {}
    say(Ready())
    async with asyncio.TaskGroup() as tasks:
        running: list[asyncio.Task[None]] = []
        async for line in reader:
            order: Order = msgspec.json.decode(line, type=Order)
            match order:
                case Join(room):
                    talks[room] = Talk(room)
                    running.append(tasks.create_task(talks[room].run(url)))
                case Mark():
                    for talk in talks.values():
                        talk.mark()
                case Ask(room):
                    say(talks[room].state())
        for task in running:
            task.cancel()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
