"""Whole meshes with real WebRTC connections over an impaired virtual network."""

from __future__ import annotations

import asyncio

import pytest

from rtcmesh.peer import Mesh, PathChanged, PathChangeReason
from rtcmesh.peer.testing import LinkConfig, run_virtual, virtual_meshes, virtual_room
from support.meshes import news, until_direct

IMPAIRED = LinkConfig(delay=0.05, loss=0.01)


async def exchange(meshes: list[Mesh], count: int, pause: float = 0) -> None:
    """Let everybody send numbers to all and check what comes."""

    async def send(mesh: Mesh) -> None:
        for number in range(count):
            await mesh.channel("numbers").send(number)
            await asyncio.sleep(pause)

    async def read(mesh: Mesh) -> None:
        expected: dict[str, int] = {}
        for _ in range(count * (len(meshes) - 1)):
            message = await mesh.channel("numbers").receive()
            assert message.data == expected.get(message.sender, 0)
            expected[message.sender] = message.data + 1

    async with asyncio.TaskGroup() as tasks:
        for mesh in meshes:
            tasks.create_task(send(mesh))
            tasks.create_task(read(mesh))


def run_twelve(seed: int) -> list[tuple[float, str]]:
    """Run a mesh of twelve and return when which pair connected."""
    history: list[tuple[float, str]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with virtual_room(link=IMPAIRED, webrtc=True) as room:
            meshes = list(await asyncio.gather(*(room.join(f"peer{number}") for number in range(12))))

            async def watch(name: str, mesh: Mesh) -> None:
                stream = mesh.events()
                while True:
                    event = await anext(stream)
                    history.append((loop.time(), f"{name} {type(event).__name__}"))

            watching = [asyncio.create_task(watch(f"peer{n}", mesh)) for n, mesh in enumerate(meshes)]
            await until_direct(*meshes)
            await exchange(meshes, 20)
            history.append((loop.time(), "done"))
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)

    run_virtual(main(), seed=seed)
    return history


def test_a_mesh_of_twelve_connects_and_talks_at_50_ms_and_1_percent_loss() -> None:
    history = run_twelve(seed=1)
    assert history[-1][0] < 15, "virtual seconds"


def test_the_same_seed_gives_the_same_mesh() -> None:
    history = run_twelve(seed=2)
    assert run_twelve(seed=2) == history
    assert run_twelve(seed=3) != history


@pytest.mark.parametrize("seed", range(3))
def test_a_partition_of_the_network_is_survived(seed: int) -> None:
    async def main() -> None:
        async with virtual_room(link=IMPAIRED, webrtc=True) as room:
            ann, bob = await asyncio.gather(room.join("ann"), room.join("bob"))
            await until_direct(ann, bob)
            events = news(ann)
            exchanging = asyncio.create_task(exchange([ann, bob], 300, pause=0.05))
            await asyncio.sleep(2.3)
            room.network.partition(room.hosts["ann"], room.hosts["bob"])
            lost = await anext(events)
            assert isinstance(lost, PathChanged)
            assert lost.reason is PathChangeReason.DOUBTED
            await asyncio.sleep(3)
            room.network.heal(room.hosts["ann"], room.hosts["bob"])
            await exchanging

    run_virtual(main(), seed=seed)


def test_large_messages_cross_a_lossy_path() -> None:
    async def main() -> None:
        async with virtual_meshes(2, link=IMPAIRED, webrtc=True) as (ann, bob):
            sent = [bytes([number]) * 60_000 for number in range(30)]

            async def send() -> None:
                for data in sent:
                    await ann.channel("bulk").send(data)

            sending = asyncio.create_task(send())
            assert [(await bob.channel("bulk").receive()).data for _ in sent] == sent
            await sending

    run_virtual(main())
