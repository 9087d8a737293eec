"""A fleet: real servers on a real store, killed and frozen under load. Nothing is lost or repeated without a word."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from random import Random

import pytest

from support.fleet import Fleet, Talk, fleet, talking
from support.stores import StoreServer, store_server

pytestmark = pytest.mark.timeout(0)


@asynccontextmanager
async def talk_over(store: StoreServer, servers: int, seed: int) -> AsyncGenerator[tuple[Fleet, Talk]]:
    async with (
        fleet(store.address, servers) as running,
        talking(running.urls, rooms=2, members=4, random=Random(seed)) as talk,
    ):
        yield running, talk


@pytest.mark.parametrize("kind", ["valkey", "redis"])
async def test_servers_that_are_killed_lose_and_repeat_nothing(kind: str, kills: int) -> None:
    random = Random(kills)
    with store_server(kind) as store:
        async with talk_over(store, 4, kills) as (servers, talk), asyncio.TaskGroup() as restarts:
            for _ in range(kills):
                await talk.wait_for(lambda: len(servers.running) > 1)
                victim = random.choice(servers.running)
                await servers.kill(victim)
                restarts.create_task(servers.start(victim))
                await talk.goes_on()
        print(f"{kills} kills, {talk.losses} connections lost, {talk.received} signals")  # noqa: T201
        assert talk.faults() == []
        assert talk.losses > 0
        assert (talk.snapshots, talk.refused) == (0, 0)


async def test_a_store_that_is_frozen_for_ten_seconds_costs_time_and_nothing_else() -> None:
    with store_server("redis") as store:
        async with talk_over(store, 2, 1) as (_, talk):
            await talk.goes_on()
            store.freeze()
            await asyncio.sleep(10)
            store.thaw()
            await talk.goes_on()
        assert talk.faults() == []
        assert [talker.reasons for talker in talk.talkers if talker.reasons] == []
        assert (talk.snapshots, talk.refused) == (0, 0)
