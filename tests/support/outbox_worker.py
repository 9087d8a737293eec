"""One end of a stream through outboxes, to be killed at any moment: `sender` or `receiver`, a URL, a directory.

Each life writes a line `life N`, and one for every message: the sender when `send` has returned, the receiver before it
awaits anything. The sender stops when standard input ends, and says `flushed` when nothing waits any more.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from rtcmesh.peer import Identity, Mesh

PAUSE_AFTER = 20
REPORT_AFTER = 300


class Log:
    """Lines that are in the file when the call returns."""

    def __init__(self, path: Path) -> None:
        self.life = path.read_text().count("life") if path.exists() else 0
        self._descriptor = os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)
        self.write(f"life {self.life}")

    def write(self, line: str) -> None:
        os.write(self._descriptor, line.encode() + b"\n")


async def send(mesh: Mesh, log: Log, directory: Path) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), stop.set)
    receiver = Identity.load(directory / "receiver.key").peer_id
    numbers = mesh.channel("numbers", outbox=directory / "sender.db")
    number = 0
    while not stop.is_set():
        await numbers.send([log.life, number], to=receiver)
        log.write(f"{log.life} {number}")
        number += 1
        if number % PAUSE_AFTER == 0:
            await asyncio.sleep(0.01)
    await numbers.flush(to=receiver)
    sys.stdout.write("flushed\n")


async def receive(mesh: Mesh, log: Log, directory: Path) -> None:
    numbers = mesh.channel("numbers", outbox=directory / "receiver.db")
    count = 0
    async for message in numbers:
        life, number = message.data
        log.write(f"{life} {number}")
        count += 1
        if count % REPORT_AFTER == 0:
            sys.stdout.write(f"received {count}\n")


async def main(role: str, url: str, directory: Path) -> None:
    identity = Identity.load(directory / f"{role}.key")
    log = Log(directory / f"{role}.log")
    async with Mesh.join(url, room="stream", identity=identity) as mesh:
        await (send if role == "sender" else receive)(mesh, log, directory)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
