"""Every awaitable of a mesh, cancelled at each of its suspensions: what was promised still holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from rtcmesh.peer import Mesh, MeshConfig, PathKind, PresenceChanged
from rtcmesh.peer.testing import VirtualRoom, run_virtual, virtual_room
from rtcmesh.signaling.testing import dial_stream
from support.cancellation import Cancelling
from support.meshes import until_direct

LARGE = bytes(200_000)
GIVEN_UP = 90.0
"""By then everybody has noticed that a peer is gone which said nothing of it."""

CONFIG = MeshConfig(channel_window_bytes=256 * 1024)


async def fill(ann: Mesh) -> None:
    """Let the next `send` on the channel wait for room."""
    await ann.channel("chat").send(LARGE)


async def send(ann: Mesh) -> None:
    await ann.channel("chat").send(LARGE)


async def send_confirmed(ann: Mesh) -> None:
    await ann.channel("chat").send(LARGE, confirm=True)


async def flush(ann: Mesh) -> None:
    await ann.channel("chat").flush()


async def receive(ann: Mesh) -> None:
    for _ in range(3):
        await ann.channel("back").receive()


async def events(ann: Mesh) -> None:
    async for event in ann.events():
        if isinstance(event, PresenceChanged):
            return


async def set_presence(ann: Mesh) -> None:
    await ann.set_presence({"name": "ann"})


ALL = [send, send_confirmed, flush, receive, events, set_presence]


@pytest.mark.parametrize("operation", ALL)
def test_a_cancelled_operation_leaves_everything_whole(
    operation: Callable[[Mesh], Coroutine[Any, Any, None]],
) -> None:
    """Each message is with each peer whole or not at all, nothing else suffers, and nothing is left behind."""

    async def cancelled(at: int) -> bool:
        async with virtual_room(config=CONFIG) as room:
            ann, bob, cat = [await room.join(name) for name in ("ann", "bob", "cat")]
            await until_direct(ann, bob, cat)
            await fill(ann)
            tasks = len(asyncio.all_tasks())
            backwards = asyncio.create_task(send_back(bob))
            reading = [asyncio.create_task(read(mesh)) for mesh in (bob, cat)]
            was_cancelled = await Cancelling(operation(ann), at).run()
            await backwards
            left = await take(ann, "back", 3)
            assert left == sorted(left)
            assert len(left) == 3 or operation is receive
            await ann.channel("chat").send(b"the end")
            for read_by in await asyncio.gather(*reading):
                sent = operation in {send, send_confirmed}
                assert [len(data) for data in read_by] in ([len(LARGE)] * (1 + n) for n in range(1 + sent))
                if sent and not was_cancelled:
                    assert len(read_by) == 2
            assert len(asyncio.all_tasks()) == tasks
            await ann.aclose()
        return was_cancelled

    run_every(cancelled)


def test_a_join_that_is_cancelled_releases_everything() -> None:
    async def cancelled(at: int) -> bool:
        async with virtual_room() as room:
            bob = await room.join("bob")
            tasks = len(asyncio.all_tasks())
            joining = await Cancelling(join_and_stay(room), at).run()
            await asyncio.sleep(GIVEN_UP)
            assert not bob.peers
            assert len(asyncio.all_tasks()) == tasks
            assert room.relay is not None
            assert room.relay.peers == 1
            ann = await room.join("ann")
            await until_direct(ann, bob)
        return joining

    run_every(cancelled)


def test_waiting_for_peers_that_is_cancelled_changes_nothing() -> None:
    async def cancelled(at: int) -> bool:
        async with virtual_room() as room:
            ann = await room.join("ann")
            joining = asyncio.create_task(room.join("bob"))
            was_cancelled = await Cancelling(ann.wait_for_peers(1), at).run()
            await until_direct(ann, await joining)
        return was_cancelled

    run_every(cancelled)


def test_a_close_that_is_cancelled_releases_everything() -> None:
    async def cancelled(at: int) -> bool:
        async with virtual_room() as room:
            ann, bob = await asyncio.gather(room.join("ann"), room.join("bob"))
            await until_direct(ann, bob)
            await ann.channel("chat").send(LARGE)
            was_cancelled = await Cancelling(ann.aclose(), at).run()
            await ann.aclose()
            await asyncio.sleep(GIVEN_UP)
            assert not bob.peers
        return was_cancelled

    run_every(cancelled)


def run_every(run: Callable[[int], Coroutine[Any, Any, bool]]) -> None:
    at = 1
    while run_virtual(run(at), seed=3):
        at += 1
    assert at > 1, "nothing was ever suspended"


async def join_and_stay(room: VirtualRoom) -> None:
    """Join as `VirtualRoom.join` does, without a task between."""
    host = room.hosts.setdefault("raw", room.network.add_host("raw"))
    assert room.memory is not None
    with host:
        async with Mesh.join(
            room.url,
            room="virtual",
            dial=dial_stream,
            dial_relay=room._dial_relay,
            transports=room.memory.factory("raw"),
            local_addresses=frozenset,
        ) as mesh:
            await mesh.wait_for_peers(1, path=PathKind.DIRECT)


async def send_back(mesh: Mesh) -> None:
    await mesh.set_presence({"name": "bob"})
    for number in range(3):
        await asyncio.sleep(0.05)
        await mesh.channel("back").send(number)


async def read(mesh: Mesh) -> list[bytes]:
    """Return what comes before the end, slowly."""
    messages: list[bytes] = []
    await asyncio.sleep(1)
    async for message in mesh.channel("chat"):
        if message.data == b"the end":
            break
        messages.append(message.data)
        await asyncio.sleep(1)
    return messages


async def take(mesh: Mesh, label: str, count: int) -> list[int]:
    """Return up to `count` messages that come within a second."""
    messages: list[int] = []
    try:
        async with asyncio.timeout(1):
            while len(messages) < count:
                messages.append((await mesh.channel(label).receive()).data)
    except TimeoutError:
        pass
    return messages
