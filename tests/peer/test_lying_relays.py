"""Meshes whose relay lies: what it costs with a direct path (nothing), and without (time)."""

from __future__ import annotations

import asyncio

import pytest

from rtcmesh.peer import Mesh, MeshConfig, PathKind, PathPolicy, PeerLeft, SessionExpired
from rtcmesh.peer.testing import VirtualRoom, run_virtual, virtual_room
from rtcmesh.relay.codes import GoneReason, NackReason
from rtcmesh.relay.frames import encode_draining, encode_limit, encode_nack, encode_peer_gone
from support.lying_relay import ABOUT, HONEST, LyingRelay, Mood
from support.meshes import news, until_direct

RELAY_ONLY = MeshConfig(path_policy=PathPolicy.RELAY_ONLY)

FAITHLESS = {
    "drops": Mood(drop=0.7),
    "reorders": Mood(jitter=2.0),
    "repeats": Mood(repeat=0.9, jitter=0.5),
    "delays for minutes": Mood(late=0.5),
    "swaps destinations": Mood(swap_destination=0.5),
    "swaps sources": Mood(swap_source=0.5),
    "corrupts": Mood(corrupt=0.5),
    "says that peers are gone": Mood(says=(encode_peer_gone(ABOUT, GoneReason.LOST, 3),) * 5),
    "refuses what it forwards": Mood(says=(encode_nack(ABOUT, NackReason.QUEUE_FULL, 7),) * 5),
    "limits to a byte a second": Mood(greets_with=(encode_limit(1, 4_000_000.0),)),
    "says that it stops": Mood(greets_with=(encode_draining(4_000_000.0),), says=(encode_draining(0.0),)),
    "is about to stop and hangs up": Mood(greets_with=(encode_draining(4_000_000.0),), hangs_up=True),
    "hangs up": Mood(hangs_up=True),
    "forwards nothing": Mood(drop=1.0),
    "forwards control frames only": Mood(control_only=True),
    "never answers": Mood(dead=True),
    "never challenges": Mood(refuses=True),
    "ignores joins": Mood(ignores_joins=True),
    "does everything": Mood(
        drop=0.2,
        repeat=0.3,
        jitter=1.0,
        late=0.1,
        swap_destination=0.2,
        swap_source=0.2,
        corrupt=0.2,
        says=(encode_peer_gone(ABOUT, GoneReason.LEFT, 0), encode_nack(ABOUT, NackReason.RELAY_FULL, 1)),
    ),
}
MOODS = pytest.mark.parametrize("mood", FAITHLESS.values(), ids=FAITHLESS.keys())


def lying(room: VirtualRoom, mood: Mood) -> LyingRelay:
    return LyingRelay(room._ticket_key, mood)


async def send_numbers(mesh: Mesh, count: int, pause: float) -> None:
    for number in range(count):
        await mesh.channel("numbers").send((number, asyncio.get_running_loop().time()))
        await asyncio.sleep(pause)


async def expect_numbers(mesh: Mesh, senders: int, count: int) -> float:
    """Return the longest time that one was on its way."""
    expected: dict[str, int] = {}
    slowest = 0.0
    for _ in range(senders * count):
        message = await mesh.channel("numbers").receive()
        number, sent_at = message.data
        assert number == expected.get(message.sender, 0)
        expected[message.sender] = number + 1
        slowest = max(slowest, asyncio.get_running_loop().time() - sent_at)
    return slowest


async def talk(meshes: list[Mesh], count: int, pause: float) -> float:
    async with asyncio.TaskGroup() as tasks:
        for mesh in meshes:
            tasks.create_task(send_numbers(mesh, count, pause))
        reading = [tasks.create_task(expect_numbers(mesh, len(meshes) - 1, count)) for mesh in meshes]
    return max(task.result() for task in reading)


@MOODS
def test_a_relay_that_lies_costs_a_mesh_with_direct_paths_nothing(mood: Mood) -> None:
    async def main() -> None:
        async with virtual_room() as room, lying(room, mood).instead_of_relay(room):
            meshes = list(await asyncio.gather(*(room.join(name) for name in "abc")))
            for mesh in meshes:
                await mesh.channel("early").send("sent before there was a direct path")
            await until_direct(*meshes)
            assert asyncio.get_running_loop().time() < 3
            async with asyncio.timeout(1):
                for mesh in meshes:
                    for _ in range(2):
                        await mesh.channel("early").receive()
            streams = [news(mesh) for mesh in meshes]
            assert await talk(meshes, 50, 0.2) < 0.05
            await asyncio.gather(*(mesh.aclose() for mesh in meshes))
            for stream in streams:
                assert [event async for event in stream if not isinstance(event, PeerLeft)] == []

    run_virtual(main())


@MOODS
def test_nothing_is_lost_repeated_or_reordered_once_a_relay_behaves(mood: Mood) -> None:
    async def main() -> None:
        async with virtual_room(config=RELAY_ONLY) as room:
            relay = lying(room, HONEST)
            async with relay.instead_of_relay(room):
                meshes = list(await asyncio.gather(*(room.join(name) for name in "abc")))
                for mesh in meshes:
                    await mesh.wait_for_peers(2)
                streams = [news(mesh) for mesh in meshes]
                talking = asyncio.create_task(talk(meshes, 50, 0.4))
                await asyncio.sleep(3)
                relay.mood = mood
                await asyncio.sleep(20)
                relay.mood = HONEST
                async with asyncio.timeout(80):
                    await talking
                await asyncio.gather(*(mesh.aclose() for mesh in meshes))
                for stream in streams:
                    assert [e async for e in stream if isinstance(e, SessionExpired)] == []

    run_virtual(main())


@MOODS
def test_a_relay_that_lied_from_the_start_serves_once_it_behaves(mood: Mood) -> None:
    async def main() -> None:
        async with virtual_room(config=RELAY_ONLY) as room:
            relay = lying(room, mood)
            async with relay.instead_of_relay(room):
                meshes = list(await asyncio.gather(*(room.join(name) for name in "ab")))
                talking = asyncio.create_task(talk(meshes, 50, 0.4))
                await asyncio.sleep(20)
                relay.mood = HONEST
                async with asyncio.timeout(90):
                    await talking

    run_virtual(main())


def test_a_relay_that_stops_in_order_keeps_nobody_away_for_longer_than_a_conversation_waits() -> None:
    async def main() -> None:
        async with virtual_room(config=RELAY_ONLY) as room:
            relay = lying(room, Mood(greets_with=(encode_draining(4_000_000.0),)))
            async with relay.instead_of_relay(room):
                ann, bob = await asyncio.gather(room.join("ann"), room.join("bob"))
                await ann.wait_for_peers(1)
                relay.mood = Mood(hangs_up=True)
                await ann.channel("chat").send("while it was away")
                await asyncio.sleep(10)
                relay.mood = HONEST
                async with asyncio.timeout(70):
                    assert (await bob.channel("chat").receive()).data == "while it was away"

    run_virtual(main())


def test_a_path_that_only_control_frames_pass_is_left_for_a_direct_one_without_waiting_for_anything() -> None:
    async def main() -> None:
        async with virtual_room() as room, lying(room, Mood(control_only=True)).instead_of_relay(room):
            ann = await room.join("ann")
            bob = await room.join("bob")
            await ann.channel("chat").send("first")
            async with asyncio.timeout(1):
                assert (await bob.channel("chat").receive()).data == "first"
            assert bob.peers[ann.peer_id].path is PathKind.DIRECT

    run_virtual(main())
