"""Virtual time and namespaces carry the same: bare aiortc over the same links, in both.

With `-m soak`, on a machine that does nothing else: a peer that waits for the processor is slower than its link.
"""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable
from pathlib import Path

import pytest

from rtcmesh.netem import LinkConfig, VirtualNetwork, run_virtual, virtual_aiortc
from rtcmesh.netem.real import joined_hosts
from support import goodput

MEGABIT = 1e6 / 8
TOLERANCE = 0.2
SECONDS = 9.0


def link(megabits: float, round_trip: float, loss: float = 0.0) -> LinkConfig:
    """Return a link with a queue of one round trip, and of 64 KiB at least."""
    rate = megabits * MEGABIT
    queue = max(64 * 1024, int(rate * round_trip))
    return LinkConfig(delay=round_trip / 2, rate_bytes_per_second=rate, loss=loss, max_queue_bytes=queue)


LINKS = {
    "10 Mbit/s, 50 ms": link(10, 0.05),
    "10 Mbit/s, 50 ms, 1 % loss": link(10, 0.05, 0.01),
    "10 Mbit/s, 50 ms, 5 % loss": link(10, 0.05, 0.05),
    "LTE: 12 Mbit/s, 70 ms": link(12, 0.07),
    "3G: 1.6 Mbit/s, 300 ms": link(1.6, 0.3),
    "slow 3G: 0.4 Mbit/s, 400 ms": link(0.4, 0.4),
    "DSL: 1.5 Mbit/s, 50 ms": link(1.5, 0.05),
    "GEO: 20 Mbit/s, 600 ms": link(20, 0.6),
}
LOSSY = {"10 Mbit/s, 50 ms, 1 % loss", "10 Mbit/s, 50 ms, 5 % loss", "GEO: 20 Mbit/s, 600 ms"}
"""Where chance decides about much, or the first seconds do: longer measurements."""


@pytest.mark.soak
@pytest.mark.namespaces
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", LINKS)
async def test_both_carry_the_same(name: str, record_property: Callable[[str, object], None]) -> None:
    seconds = 4 * SECONDS if name in LOSSY else SECONDS
    in_namespaces = await measure_in_namespaces(LINKS[name], seconds)
    virtual = await asyncio.to_thread(run_virtual, measure_virtually(LINKS[name], seconds), seed=1)
    record_property("Mbit/s virtual, in namespaces", (virtual / MEGABIT, in_namespaces / MEGABIT))
    assert virtual == pytest.approx(in_namespaces, rel=TOLERANCE)


async def measure_virtually(config: LinkConfig, seconds: float) -> float:
    network = VirtualNetwork(link=config)
    one, other = network.add_host("one"), network.add_host("other")
    with virtual_aiortc():
        with one:
            sender = goodput.End()
            offer = await sender.offer()
        with other:
            receiver = goodput.End()
            answer = await receiver.answer(offer)
            measuring = asyncio.create_task(receiver.measure(seconds))
        with one:
            await sender.accept(answer)
            pouring = asyncio.create_task(sender.pour())
        rate = await measuring
        pouring.cancel()
        await asyncio.gather(pouring, return_exceptions=True)
        await sender.connection.close()
        await receiver.connection.close()
    return rate


async def measure_in_namespaces(config: LinkConfig, seconds: float) -> float:
    program = (sys.executable, str(Path(goodput.__file__)))
    async with joined_hosts(config) as lab:
        sender = await lab.left.spawn(*program, "send", str(seconds), stdin=PIPE, stdout=PIPE)
        receiver = await lab.right.spawn(*program, "receive", str(seconds), stdin=PIPE, stdout=PIPE)
        assert sender.stdout is not None
        assert sender.stdin is not None
        assert receiver.stdout is not None
        assert receiver.stdin is not None
        receiver.stdin.write(await sender.stdout.readline())
        sender.stdin.write(await receiver.stdout.readline())
        rate: float = json.loads(await receiver.stdout.readline())
        sender.stdin.write(b"\n")
        await sender.communicate()
        await receiver.communicate()
    return rate
