"""A fleet: real servers on a real store, killed and frozen under load. Nothing is lost or repeated without a word."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from random import Random

import aiohttp
import pytest

from support.fleet import Fleet, Talk, fleet, talking
from support.processes import run_rtcmesh
from support.stores import free_port, sentinel_store, store_server

pytestmark = pytest.mark.timeout(0)


@asynccontextmanager
async def talk_over(
    store: str, servers: int, seed: int, *, lossy: bool = False
) -> AsyncGenerator[tuple[Fleet, Talk]]:
    async with (
        fleet(store, servers) as running,
        talking(running.urls, rooms=2, members=4, random=Random(seed), lossy=lossy) as talk,
    ):
        yield running, talk


@pytest.mark.parametrize("kind", ["valkey", "redis"])
@pytest.mark.parametrize("kills", [4, pytest.param(200, marks=pytest.mark.soak)])
async def test_servers_that_are_killed_lose_and_repeat_nothing(kind: str, kills: int) -> None:
    random = Random(kills)
    with store_server(kind) as store:
        async with talk_over(store.address, 4, kills) as (servers, talk), asyncio.TaskGroup() as restarts:
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


async def test_servers_whose_clocks_are_hours_apart_lose_and_repeat_nothing() -> None:
    with store_server("valkey") as store:
        async with (
            fleet(store.address, skews=("+3h", "-2h", "")) as servers,
            talking(servers.urls, rooms=2, members=4, random=Random(1)) as talk,
        ):
            await talk.goes_on()
            for victim in (0, 1):
                await servers.kill(victim)
                await talk.goes_on()
                # It comes back with the same wrong clock, and has to be taken for alive.
                await servers.start(victim)
        assert talk.faults() == []
        assert talk.losses > 0
        assert (talk.snapshots, talk.refused) == (0, 0)


async def test_a_store_that_is_frozen_for_ten_seconds_costs_time_and_nothing_else() -> None:
    with store_server("redis") as store:
        async with talk_over(store.address, 2, 1) as (_, talk):
            await talk.goes_on()
            store.freeze()
            await asyncio.sleep(10)
            store.thaw()
            await talk.goes_on()
        assert talk.faults() == []
        assert [talker.reasons for talker in talk.talkers if talker.reasons] == []
        assert (talk.snapshots, talk.refused) == (0, 0)


@pytest.mark.parametrize("kind", ["valkey", "redis"])
async def test_a_failover_repeats_nothing_and_whoever_may_have_missed_something_is_told(kind: str) -> None:
    with sentinel_store(kind) as (primary, _, url):
        async with talk_over(url, 2, 2, lossy=True) as (_, talk):
            await talk.goes_on()
            primary.kill()
            await talk.wait_for(lambda: all(talker.snapshots for talker in talk.talkers), within=90)
            await talk.goes_on()
        assert talk.faults(lossy=True) == []


async def test_a_server_says_what_is_wrong_with_its_store_and_recovers() -> None:
    with store_server("redis") as store:
        async with fleet(store.address, 1) as servers, aiohttp.ClientSession() as session:

            async def get(path: str) -> tuple[int, str]:
                async with session.get(servers.urls[0] + path) as response:
                    return response.status, await response.text()

            async def until(path: str, status: int, part: str) -> None:
                async with asyncio.timeout(30):
                    while True:
                        answer = await get(path)
                        if answer[0] == status and part in answer[1]:
                            return
                        await asyncio.sleep(0.1)

            assert await get("/readyz?deep=1") == (200, "ready")
            store.freeze()
            await until("/readyz?deep=1", 503, "unreachable")
            await until("/metrics", 200, 'rtcmesh_signaling_store_trouble{kind="unreachable"} 1.0')
            assert await get("/readyz") == (200, "ready")
            assert await get("/livez") == (200, "alive")
            store.thaw()
            await until("/readyz?deep=1", 200, "ready")
            await until("/metrics", 200, 'rtcmesh_signaling_store_trouble{kind="unreachable"} 0.0')


@pytest.mark.parametrize(
    ("url", "code", "says"),
    [
        (f"redis://me:hunter2@127.0.0.1:{free_port()}", 1, "cannot serve: the store at redis://127.0.0.1"),
        ("nonsense://hunter2", 2, "redis+sentinel://"),
    ],
    ids=["nobody listens", "no such scheme"],
)
async def test_a_store_that_cannot_be_had_ends_the_server_with_a_reason(
    url: str, code: int, says: str
) -> None:
    ended = await run_rtcmesh("serve", "--no-relay", "--port", "0", "--redis", url)
    assert ended.code == code
    assert says in " ".join(ended.errors.replace("\u2502", " ").split())
    assert "hunter2" not in ended.errors + ended.output
