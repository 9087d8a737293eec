"""What a conversation does when one of its ends comes from another address."""

from __future__ import annotations

import asyncio

import pytest

from rtcmesh.netem.faults import ChangeAddress, SwitchUplink
from rtcmesh.netem.topology import NATS, GatewaySpec, Uplink
from rtcmesh.peer import PathKind
from support.scenes import line, place, scene, with_uplink, world
from support.virtual import on_virtual_time

POLLED = 2.0
"""`MeshConfig.network_poll_interval`: so late a change may be noticed."""


@pytest.mark.parametrize("victim", ["ann", "bob"])
@pytest.mark.parametrize("kind", ["open", "port-restricted"])
@on_virtual_time
async def test_a_change_of_address_is_noticed_and_a_new_direct_path_found(kind: str, victim: str) -> None:
    async with scene(world(place("ann", kind), place("bob", kind))) as talk:
        await talk.until(PathKind.DIRECT)
        await asyncio.sleep(3)
        at = await talk.apply(ChangeAddress(node=victim))
        await asyncio.sleep(POLLED + 0.5)
        assert await talk.until(PathKind.DIRECT) - at < 10
        await asyncio.sleep(3)
        assert talk.silence(at) < POLLED + 1.5
        await talk.finish()


@pytest.mark.parametrize(("kind", "path"), [("full-cone", PathKind.DIRECT), ("symmetric", PathKind.RELAYED)])
@pytest.mark.parametrize("victim", ["ann", "bob"])
@on_virtual_time
async def test_a_switch_of_the_uplink_is_noticed_and_the_best_path_there_is_taken(
    victim: str, kind: str, path: PathKind
) -> None:
    """From wifi to the cell network and back, as a phone does at the front door."""
    cell = GatewaySpec(name="cell", nat=NATS[kind], uplink=line())
    spots = {name: place(name, "port-restricted") for name in ("ann", "bob")}
    spots[victim] = with_uplink(spots[victim], Uplink(to="cell"))
    async with scene(world(*spots.values(), more=[cell])) as talk:
        await talk.until(PathKind.DIRECT)
        await asyncio.sleep(3)
        at = await talk.apply(SwitchUplink(node=victim, to="cell"))
        await asyncio.sleep(12)
        assert set(talk.paths) == {path}
        assert talk.silence(at) < POLLED + 1.5
        back = await talk.apply(SwitchUplink(node=victim, to=f"{victim}-home"))
        await asyncio.sleep(12)
        assert set(talk.paths) == {PathKind.DIRECT}
        assert talk.silence(back) < POLLED + 1.5
        await talk.finish()


@on_virtual_time
async def test_both_ends_may_move_at_once() -> None:
    async with scene(world(place("ann", "open"), place("bob", "full-cone"))) as talk:
        await talk.until(PathKind.DIRECT)
        await asyncio.sleep(3)
        for name in ("ann", "bob"):
            at = await talk.apply(ChangeAddress(node=name))
        await asyncio.sleep(12)
        assert set(talk.paths) == {PathKind.DIRECT}
        assert talk.silence(at) < POLLED + 2.5
        await talk.finish()
