"""Stopping a server: everybody is told, in batches, nobody loses anything, and it ends in time."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace

from rtcmesh.netem import LinkConfig, VirtualNetwork
from rtcmesh.signaling.codes import RefusalCode
from rtcmesh.signaling.config import ServiceConfig
from rtcmesh.signaling.events import LinkResumed
from rtcmesh.signaling.memory_registry import MemoryRegistry
from rtcmesh.signaling.messages import Draining, Signal
from rtcmesh.signaling.service import DRAIN_INTERVAL
from support.links import Lab
from support.members import Member
from support.virtual import on_virtual_time
from support.wire import RawPeer

PEERS = 40
WINDOW = 5.0


@on_virtual_time
async def test_a_rolling_deploy_moves_everybody_a_few_at_a_time_and_loses_nothing() -> None:
    """Two servers with one registry stand for servers that share a store."""
    network = VirtualNetwork(link=LinkConfig(delay=0.01))
    config = ServiceConfig(drain_window=WINDOW, close_timeout=0.5)
    new = Lab(network=network, config=config, name="new")
    old = Lab(network=network, config=replace(config, alternatives=(new.url,)), name="old")
    loop = asyncio.get_running_loop()
    registry = MemoryRegistry()
    moved: list[float] = []
    received: dict[int, list[int]] = {number: [] for number in range(PEERS)}

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(new.server(registry))
        retired = AsyncExitStack()
        service = await retired.enter_async_context(old.server(registry))
        links = [await stack.enter_async_context(old.link(number)) for number in range(PEERS)]

        async def read(number: int) -> None:
            async for event in links[number]:
                if isinstance(event, LinkResumed):
                    assert event.resumed
                    moved.append(loop.time())
                elif isinstance(event, Signal):
                    received[number].append(int.from_bytes(event.sealed))

        async def chat(number: int) -> None:
            to = Member(number=(number + 1) % PEERS).peer_id
            for n in range(100):
                await links[number].signal(to, n.to_bytes(2))
                await asyncio.sleep(0.1)

        readers = [asyncio.create_task(read(number)) for number in range(PEERS)]
        talkers = [asyncio.create_task(chat(number)) for number in range(PEERS)]
        await asyncio.sleep(1)
        started_at = loop.time()
        await retired.aclose()
        assert WINDOW - DRAIN_INTERVAL <= loop.time() - started_at <= WINDOW + 1
        assert service.stats.connections == 0
        await asyncio.gather(*talkers)
        for task in readers:
            task.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
    assert len(moved) == PEERS
    peak = max(sum(at <= other < at + 1 for other in moved) for at in moved)
    assert peak <= 2 * PEERS / WINDOW, f"{peak} came back within one second"
    assert all(numbers == list(range(100)) for numbers in received.values())


@on_virtual_time
async def test_a_server_gives_notice_before_it_sends_anybody_away() -> None:
    lab = Lab(config=ServiceConfig(drain_notice=3.0, drain_spread=0.0, close_timeout=0.5))
    loop = asyncio.get_running_loop()
    async with lab.server() as service, lab.raw_peer(1) as early:
        await early.join()
        stopping = asyncio.create_task(service.drain())
        await asyncio.sleep(1)
        assert service.is_draining
        async with lab.raw_peer(2) as late:
            await late.join()
            assert isinstance(await drained(late), Draining)
            assert loop.time() > 3.0
        await stopping
        async with lab.raw_peer(3) as refused:
            refusal, _ = await refused.last_words()
            assert refusal is not None
            assert refusal.code is RefusalCode.SHUTTING_DOWN


async def drained(peer: RawPeer) -> Draining:
    while not isinstance(message := await peer.receive(), Draining):
        pass
    return message
