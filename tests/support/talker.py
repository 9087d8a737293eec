"""A peer as a process: it sends numbers, checks those of the other one, and tells how it is reached.

    python talker.py URL ROOM POLICY

It prints a line for every change of the path. The first line on standard input ends the sending; when the other one has
ended as well, the last line tells in JSON what came.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from contextlib import suppress

from rtcmesh.peer import Channel, Mesh, MeshConfig, PathChanged, PathPolicy, PeerLeft, SessionExpired
from rtcmesh.signaling.config import ClientConfig

INTERVAL = 0.005


class Talker:
    """Sends until told to end, receives until the other one has ended."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._ended = asyncio.Event()
        self._received = 0
        self._wrong = 0
        self._longest_gap = 0.0
        self._sent = 0

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._wait_for_line, args=[loop], daemon=True).start()
        showing = asyncio.create_task(self._show_events())
        numbers = self._mesh.channel("numbers", type=int)
        await self._mesh.wait_for_peers(1)
        try:
            await asyncio.gather(self._send(numbers), self._receive(numbers))
        finally:
            showing.cancel()
        outcome = {
            "sent": self._sent,
            "received": self._received,
            "wrong": self._wrong,
            "longest_gap": round(self._longest_gap, 3),
        }
        print(json.dumps(outcome), flush=True)

    def _wait_for_line(self, loop: asyncio.AbstractEventLoop) -> None:
        sys.stdin.readline()
        with suppress(RuntimeError):  # killed, and the loop is closed
            loop.call_soon_threadsafe(self._ended.set)

    async def _send(self, numbers: Channel[int]) -> None:
        while not self._ended.is_set():
            await numbers.send(self._sent)
            self._sent += 1
            await asyncio.sleep(INTERVAL)
        await numbers.send(-self._sent)  # so many there were
        await numbers.flush()

    async def _receive(self, numbers: Channel[int]) -> None:
        last_at = time.monotonic()
        while True:
            number = (await numbers.receive()).data
            now = time.monotonic()
            self._longest_gap, last_at = max(self._longest_gap, now - last_at), now
            if number < 0:
                self._wrong += -number != self._received
                return
            self._wrong += number != self._received
            self._received += 1
            if self._received % 100 == 0:
                print(f"received {self._received}", flush=True)

    async def _show_events(self) -> None:
        async for event in self._mesh.events():
            match event:
                case PathChanged():
                    print(
                        f"path {event.path.value if event.path else 'none'} ({event.reason.value})",
                        flush=True,
                    )
                case PeerLeft() | SessionExpired() if event.undelivered:
                    print(f"undelivered {len(event.undelivered)}", flush=True)
                case _:
                    pass


async def main(url: str, room: str, policy: str) -> None:
    config = MeshConfig(path_policy=PathPolicy(policy), signaling=ClientConfig(connect_timeout=40))
    async with Mesh.join(url, room=room, config=config) as mesh:
        await Talker(mesh).run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
