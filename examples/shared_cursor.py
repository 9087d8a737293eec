"""shared_cursor.py: typed messages, of which only the newest counts.

Run `rtcmesh serve` in one shell, then in two or more others:

    python examples/shared_cursor.py
    python examples/shared_cursor.py http://127.0.0.1:8080 400

The second argument is how often this peer moves its cursor before it leaves. Ctrl-C leaves at once.
"""

import asyncio
import contextlib
import sys

import msgspec

from rtcmesh.peer import Channel, Delivery, Mesh, PeerId, PeerLeft, short

WIDTH, HEIGHT = 640, 480
MOVE_INTERVAL = 0.05
DRAW_INTERVAL = 0.5


class Cursor(msgspec.Struct, frozen=True):
    """Where somebody points. What arrives is checked against this, and refused if it does not fit."""

    x: int
    y: int


Cursors = dict[PeerId, Cursor]


async def main(url: str = "http://127.0.0.1:8080", moves: str = "200") -> None:
    """Move a cursor in front of everybody, and show where the cursors of the others are."""
    cursors: Cursors = {}
    async with Mesh.join(url, room="cursors") as mesh, asyncio.TaskGroup() as tasks:
        channel = mesh.channel("cursor", type=Cursor, delivery=Delivery.LATEST)
        await mesh.wait_for_peers(1)
        background = (
            tasks.create_task(follow(channel, cursors)),
            tasks.create_task(forget_who_leaves(mesh, cursors)),
            tasks.create_task(draw(cursors)),
        )
        for step in range(1, int(moves) + 1):
            await channel.send(position(step))
            await asyncio.sleep(MOVE_INTERVAL)
        for task in background:
            task.cancel()


def position(step: int) -> Cursor:
    """Return where the simulated hand is after so many moves."""
    return Cursor(7 * step % WIDTH, 5 * step % HEIGHT)


async def follow(channel: Channel[Cursor], cursors: Cursors) -> None:
    """Keep the newest position of each peer; an older one never follows it."""
    async for message in channel:
        cursors[message.sender] = message.data


async def forget_who_leaves(mesh: Mesh, cursors: Cursors) -> None:
    """Remove the cursors of peers that are gone."""
    async for event in mesh.events():
        if isinstance(event, PeerLeft) and (last := cursors.pop(event.peer_id, None)):
            print(f"{short(event.peer_id)} left at {last.x},{last.y}")


async def draw(cursors: Cursors) -> None:
    """Show the cursors now and then, as a window would."""
    while True:
        await asyncio.sleep(DRAW_INTERVAL)
        print(" ".join(f"{short(peer)} at {cursor.x},{cursor.y}" for peer, cursor in cursors.items()))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
