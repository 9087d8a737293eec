"""What a conversation does on lines that get worse, and better again."""

from __future__ import annotations

import asyncio

import pytest

from rtcmesh.netem import LinkConfig
from rtcmesh.netem.faults import Impair
from rtcmesh.peer import PathKind
from support.scenes import Scene, place, scene, world
from support.virtual import on_virtual_time

# Mbit/s, round trip in seconds, loss each way, and the longest silence that is tolerable (after iroh's tests/patchbay).
LADDER = [
    (100, 0.016, 0.001, 0.3),
    (25, 0.040, 0.01, 0.6),
    (8, 0.090, 0.02, 0.8),
    (3, 0.200, 0.03, 1.0),
    (1.5, 0.300, 0.05, 1.5),
    (0.8, 0.450, 0.08, 2.0),
    (0.5, 0.450, 0.12, 2.5),
    (0.256, 0.800, 0.25, 4.5),
]
EACH = 10.0


async def stand_on(talk: Scene, rung: tuple[float, float, float, float]) -> None:
    megabits, round_trip, loss, tolerable = rung
    bad = LinkConfig(delay=round_trip / 2, loss=loss, rate_bytes_per_second=megabits * 125_000)
    at = await talk.apply(Impair(node="ann-home", up=bad, down=bad))
    await asyncio.sleep(EACH)
    assert talk.silence(at) < tolerable, rung


@pytest.mark.parametrize("seed", range(2))
@on_virtual_time
async def test_a_line_that_degrades_step_by_step_and_recovers_costs_time_only(seed: int) -> None:
    del seed
    async with scene(world(place("ann", "port-restricted"), place("bob", "full-cone"))) as talk:
        await talk.until(PathKind.DIRECT)
        for rung in (*LADDER, *LADDER[-2::-1]):
            await stand_on(talk, rung)
        assert set(talk.paths) == {PathKind.DIRECT}
        await talk.finish()


@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.parametrize(("loss", "tolerable"), [(0.1, 1.0), (0.3, 2.0)])
@on_virtual_time
async def test_loss_in_one_direction_delays_both_and_loses_nothing(
    loss: float, tolerable: float, direction: str
) -> None:
    async with scene(world(place("ann", "port-restricted"), place("bob", "full-cone"))) as talk:
        await talk.until(PathKind.DIRECT)
        lossy = LinkConfig(delay=0.02, loss=loss)
        at = await talk.apply(
            Impair(node="ann-home", up=lossy) if direction == "up" else Impair(node="ann-home", down=lossy)
        )
        await asyncio.sleep(30)
        assert talk.silence(at) < tolerable
        await talk.finish()
        link = talk.room.network.machine.link(*("ann-home", "internet")[:: 1 if direction == "up" else -1])
        counters = link.counters
        assert counters.lost / counters.sent == pytest.approx(loss, rel=0.3)
