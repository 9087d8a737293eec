"""How soon after its welcome a peer is heard, and answered, on virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from rtcmesh.netem import LinkConfig, run_virtual

from .virtual_room import virtual_room


@dataclass(frozen=True, slots=True)
class FirstMessage:
    """Counted in round trips to the server, from the moment in which the newcomer is welcome."""

    heard: float
    """Until its first message has arrived at a peer that was there before."""
    answered: float
    """Until that peer's answer has arrived."""


def measure_first_message(*, round_trip: float = 0.1, seed: int = 0) -> FirstMessage:
    """Let a peer join a room in which another one waits, and talk at once, before anything direct can be open.

    The server and the relay are equally far from both.
    """
    return run_virtual(_measure(round_trip), seed=seed)


async def _measure(round_trip: float) -> FirstMessage:
    loop = asyncio.get_running_loop()
    async with virtual_room(link=LinkConfig(delay=round_trip / 2)) as room:
        present = await room.join("present")
        there, back = present.channel("there", type=str), present.channel("back", type=str)
        await asyncio.sleep(1)
        newcomer = await room.join("newcomer")
        welcome_at = loop.time()
        answers = newcomer.channel("back", type=str)
        await newcomer.channel("there", type=str).send("hello")
        await there.receive()
        heard_at = loop.time()
        await back.send("hello yourself")
        await answers.receive()
        return FirstMessage((heard_at - welcome_at) / round_trip, (loop.time() - welcome_at) / round_trip)
