"""What a conversation does while nothing passes, both ways or one, and afterwards."""

from __future__ import annotations

import asyncio

import pytest

from rtcmesh.netem.faults import Cut, Direction, Heal, Partition, Reboot
from rtcmesh.peer import MeshConfig, PathKind
from support.scenes import Place, place, scene, world
from support.virtual import on_virtual_time

BEHIND = (place("ann", "port-restricted"), place("bob", "full-cone"))
HOPELESS = (place("ann", "port-restricted"), place("bob", "symmetric"))


@pytest.mark.parametrize("cut", [("ann-home",), ("bob-home",), ("ann-home", "bob-home")])
@pytest.mark.parametrize("seconds", [2, 10, 40])
@on_virtual_time
async def test_after_a_blackout_the_conversation_goes_on_within_two_seconds_and_a_half(
    seconds: int, cut: tuple[str, ...]
) -> None:
    async with scene(world(*BEHIND)) as talk:
        await talk.until(PathKind.DIRECT)
        await asyncio.sleep(2)
        for node in cut:
            await talk.apply(Cut(node=node))
        await asyncio.sleep(seconds)
        is_lost = seconds > MeshConfig().path_timeout
        assert [path is None for path in talk.paths] == [is_lost, is_lost]
        healed = talk.now()
        for node in cut:
            await talk.apply(Heal(node=node))
        assert await talk.until(PathKind.DIRECT, within=10) - healed < 5
        await asyncio.sleep(5)
        assert talk.silence(healed) < 2.5
        await talk.finish()


@pytest.mark.parametrize("direction", [Direction.UP, Direction.DOWN])
@pytest.mark.parametrize("seconds", [2, 10, 40])
@on_virtual_time
async def test_a_one_way_blackout_is_no_worse_than_one_both_ways(seconds: int, direction: Direction) -> None:
    async with scene(world(*BEHIND)) as talk:
        await talk.until(PathKind.DIRECT)
        await asyncio.sleep(2)
        await talk.apply(Cut(node="ann-home", direction=direction))
        await asyncio.sleep(seconds)
        healed = await talk.apply(Heal(node="ann-home"))
        await talk.until(PathKind.DIRECT)
        await asyncio.sleep(5)
        assert talk.silence(healed) < 3
        await talk.finish()


@pytest.mark.parametrize("one_way", [True, False])
@pytest.mark.parametrize("nodes", [("ann", "bob"), ("bob", "ann")])
@on_virtual_time
async def test_a_partition_between_two_homes_is_bridged_by_the_relay_in_a_second(
    nodes: tuple[str, str], *, one_way: bool
) -> None:
    async with scene(world(*BEHIND)) as talk:
        await talk.until(PathKind.DIRECT)
        await asyncio.sleep(2)
        homes = (f"{nodes[0]}-home", f"{nodes[1]}-home")
        parted = await talk.apply(Partition(nodes=homes, one_way=one_way))
        await asyncio.sleep(30)
        assert talk.paths == (PathKind.RELAYED, PathKind.RELAYED)
        assert talk.silence(parted) < 1
        healed = await talk.apply(Heal(node="ann-home"))
        await talk.until(PathKind.DIRECT, within=61)
        assert talk.silence(healed) < 0.5
        await talk.finish()


@pytest.mark.parametrize("victim", ["ann", "bob"])
@on_virtual_time
async def test_a_gateway_that_reboots_is_a_blackout_and_a_new_mapping(victim: str) -> None:
    async with scene(world(*BEHIND)) as talk:
        await talk.until(PathKind.DIRECT)
        await asyncio.sleep(2)
        at = await talk.apply(Reboot(node=f"{victim}-home", seconds=10))
        await asyncio.sleep(10)
        await talk.until(PathKind.DIRECT)
        # What is dialled meanwhile asks again after pauses that double: up to four seconds late.
        assert 10 < talk.silence(at) < 14
        await talk.finish()


@on_virtual_time
async def test_a_restart_of_the_signaling_server_disturbs_nobody() -> None:
    async with scene(world(*HOPELESS)) as talk:
        await asyncio.sleep(3)
        at = talk.began
        await talk.room.kill_server()
        await asyncio.sleep(10)
        await talk.room.start_server()
        await asyncio.sleep(20)
        assert talk.silence(at) < 0.5
        await talk.finish()


@pytest.mark.parametrize("spots", [BEHIND, HOPELESS], ids=["with a direct path", "relay only"])
@on_virtual_time
async def test_a_restart_of_both_servers_disturbs_those_who_have_nothing_but_the_relay(
    spots: tuple[Place, ...],
) -> None:
    async with scene(world(*spots)) as talk:
        await asyncio.sleep(3)
        at = talk.began + 3
        await talk.room.kill_server()
        await talk.room.kill_relay()
        await asyncio.sleep(10)
        await talk.room.start_server()
        await talk.room.start_relay()
        if spots is BEHIND:
            await asyncio.sleep(20)
            assert talk.silence(at) < 0.5
        else:
            await talk.until(PathKind.RELAYED)
            assert 10 < talk.silence(at) < 10 + 16, "the pauses between dials grow with each that failed"
        await talk.finish()
