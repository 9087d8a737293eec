"""What becomes of the members of two servers when the store they share is frozen, gone, full, deaf, moved, or lies."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random

import pytest

from rtcmesh.signaling.codes import NackCode, RefusalCode
from rtcmesh.signaling.config import RedisConfig
from rtcmesh.signaling.errors import JoinRefused, StoreFailed, StoreUnreachable
from rtcmesh.signaling.identity import PeerId
from rtcmesh.signaling.messages import (
    Ack,
    Join,
    Nack,
    PeerLeft,
    PeerSuspended,
    PresenceChanged,
    Resume,
    SendSignal,
    Signal,
)
from rtcmesh.signaling.prekey import Prekey
from rtcmesh.signaling.room import RoomLimits
from rtcmesh.signaling.stats import Trouble
from rtcmesh.signaling.store.hosted_room import HostedRoom
from rtcmesh.signaling.store.partition import ALL_PARTITIONS, TAGS, Partition, keys_of, partition_of, slot_of
from rtcmesh.signaling.store.redis_attachment import RedisAttachment
from rtcmesh.signaling.store.redis_registry import RedisRegistry
from rtcmesh.signaling.store_url import StoreUrl
from support.cuttable import cuttable_way
from support.repository import ROOT
from support.rooms import NAMES
from support.sinks import RecordingSink
from support.stores import (
    StoreServer,
    cluster_store,
    free_port,
    move_slot,
    sentinel_store,
    store_server,
)

ALICE, BOB = NAMES[:2]
LIMITS = RoomLimits(resume_window=60.0)
BRISK = RedisConfig(
    url=StoreUrl.parse("redis://localhost"),
    tick_interval=0.25,
    deaf_after=1.5,
    node_lease=4.0,
    response_timeout=0.5,
    join_patience=1.0,
    signal_patience=1.0,
)
KEYS = keys_of(partition_of("r"))
SET_CLOCK = """
redis.call('HINCRBY', KEYS[1], 'swept_at', ARGV[1])
for _, key in ipairs({ KEYS[2], KEYS[3] }) do
  for _, entry in ipairs(redis.call('ZRANGE', key, 0, -1)) do redis.call('ZINCRBY', key, ARGV[1], entry) end
end
"""

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(params=["valkey", "redis"])
def store(request: pytest.FixtureRequest) -> Generator[StoreServer]:
    with store_server(request.param) as server:
        yield server


@asynccontextmanager
async def registry(
    url: StoreUrl, config: RedisConfig = BRISK, limits: RoomLimits = LIMITS, seed: int = 0
) -> AsyncGenerator[RedisRegistry]:
    opened = await RedisRegistry.open(replace(config, url=url), limits, random=Random(seed))
    try:
        async with asyncio.timeout(60):
            yield opened
    finally:
        await opened.aclose()


async def attach(
    registry: RedisRegistry, peer_id: PeerId, resume: Resume | None = None
) -> tuple[RedisAttachment, RecordingSink]:
    sink = RecordingSink()
    join = Join(room="r", peer_id=peer_id, prekey=Prekey(b"k", b""), proof=b"", resume=resume)
    return await registry.attach(join, sink), sink


def signal(to: PeerId, id_: int) -> SendSignal:
    return SendSignal(to=to, id=id_, sealed=b"x%d" % id_)


async def trouble(registry: RedisRegistry, kind: Trouble, *, is_there: bool = True) -> None:
    await eventually(lambda: (kind in registry.stats.troubles) == is_there)


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait for what nothing announces: a state of the store, or of a registry that nobody listens to."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.02)


def heard(sink: RecordingSink) -> list[int]:
    return [event.id for event in sink.events if isinstance(event, Signal)]


async def test_what_is_said_while_the_store_is_frozen_waits_and_then_arrives_once(store: StoreServer) -> None:
    patient = replace(BRISK, signal_patience=30.0, join_patience=30.0, node_lease=30.0)
    async with registry(store.url, patient) as one, registry(store.url, patient, seed=1) as two:
        alice, alice_sink = await attach(one, ALICE)
        _, bob_sink = await attach(two, BOB)
        store.freeze()
        for id_ in range(1, 6):
            alice.signal(signal(BOB, id_))
        await trouble(one, Trouble.UNREACHABLE)
        alice.set_presence({"n": 1})
        store.thaw()
        assert await alice_sink.answered(5) == [Ack(id=id_) for id_ in range(1, 6)]
        await bob_sink.wait_for(6)
        assert heard(bob_sink) == [1, 2, 3, 4, 5]
        await trouble(one, Trouble.UNREACHABLE, is_there=False)
        assert (alice_sink.ends, bob_sink.ends) == ([], [])


async def test_of_changes_that_pile_up_the_newest_is_seen(store: StoreServer) -> None:
    patient = replace(BRISK, node_lease=30.0)
    async with registry(store.url, patient) as one, registry(store.url, patient, seed=1) as two:
        alice, _ = await attach(one, ALICE)
        _, bob_sink = await attach(two, BOB)
        store.freeze()
        for n in range(1000):
            alice.set_presence({"n": n})
        assert len(one._store.lanes[0]._queue) < 100
        store.thaw()
        await bob_sink.until(lambda: len(bob_sink.events) >= 2)
        assert [event.presence["n"] for event in bob_sink.events if isinstance(event, PresenceChanged)] == [
            0,
            999,
        ]


async def test_servers_know_how_many_they_are(store: StoreServer) -> None:
    async with registry(store.url) as one:
        assert one.servers == 1
        async with registry(store.url, seed=1) as another:
            await eventually(lambda: (one.servers, another.servers) == (2, 2))
        await eventually(lambda: one.servers == 1)


async def test_a_clock_that_is_set_costs_nobody_a_lease_or_a_window(store: StoreServer) -> None:
    async with registry(store.url) as one, registry(store.url, seed=1) as two:
        alice, _ = await attach(one, ALICE)
        _, bob_sink = await attach(two, BOB)
        alice.suspend()
        await bob_sink.wait_for(1)
        for hours in (5, -5):
            # The store's clock cannot be set from here, so everything that it is compared with is, at once.
            store.tell(
                "EVAL", SET_CLOCK, "3", KEYS.lineage, KEYS.nodes, KEYS.suspended, str(hours * 3_600_000)
            )
            seconds, _ = await store_time(store)
            await eventually(lambda now=seconds: now * 1000 < score(store, ALICE) < (now + 70) * 1000)  # type: ignore[misc]
        assert len(bob_sink.events) == 1
        assert bob_sink.ends == []


async def store_time(store: StoreServer) -> tuple[int, int]:
    words = store.tell("TIME").split("\r\n")
    return int(words[2]), int(words[4])


def score(store: StoreServer, peer_id: PeerId) -> float:
    return float(store.tell("ZSCORE", KEYS.suspended, f"r {peer_id}").split("\r\n")[1])


async def test_a_join_during_an_eviction_reads_from_its_own_place(store: StoreServer) -> None:
    async with registry(store.url) as one:
        alice, alice_sink = await attach(one, ALICE)
        joining = asyncio.create_task(attach(one, BOB))
        await asyncio.sleep(0)
        one._reader.read(partition_of("r"), one._reader.room(partition_of("r"), "r"))
        one._reader.evict((partition_of("r"),), RefusalCode.EPOCH_CHANGED, "new_run")
        _, bob_sink = await joining
        assert alice_sink.ends == [RefusalCode.EPOCH_CHANGED]
        alice.suspend()
        await bob_sink.wait_for(1)
        assert bob_sink.ends == []


async def test_a_nudge_that_overtakes_an_answer_is_no_loss(store: StoreServer) -> None:
    async with registry(store.url) as one:
        alice, alice_sink = await attach(one, ALICE)
        partition = partition_of("r")
        one._reader.read(partition, one._reader.room(partition, "r"))
        one._reader.nudged(partition, b"999999 r 2-0")
        alice.signal(signal(ALICE, 1))
        await alice_sink.until(lambda: heard(alice_sink) == [1])
        assert alice_sink.ends == []


async def test_who_joins_a_room_as_its_last_member_leaves_is_not_held_for_one_of_the_past(
    store: StoreServer,
) -> None:
    async with registry(store.url) as one:
        alice, alice_sink = await attach(one, ALICE)
        for id_ in range(1, 6):
            alice.signal(signal(ALICE, id_))
        await alice_sink.answered(5)
        alice.leave()
        # The room begins again at the first offset, while the nudge of its end names a later one.
        bob, bob_sink = await attach(one, BOB)
        bob.signal(signal(BOB, 1))
        await bob_sink.until(lambda: bool(bob_sink.ends) or heard(bob_sink) == [1])
        assert bob_sink.ends == []
        assert one.stats.evictions["trimmed"] == 0


async def test_a_small_signal_that_comes_alone_needs_no_reading(
    store: StoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with registry(store.url) as one, registry(store.url, seed=1) as two:
        alice, alice_sink = await attach(one, ALICE)
        _, bob_sink = await attach(two, BOB)
        await alice_sink.wait_for(1)
        reads: list[str] = []

        def note(_: Partition, room: HostedRoom) -> None:
            reads.append(room.name)

        monkeypatch.setattr(two._reader, "read", note)
        alice.signal(signal(BOB, 1))
        await bob_sink.until(lambda: heard(bob_sink) == [1])
        assert reads == []
        alice.signal(SendSignal(to=BOB, id=2, sealed=bytes(2000)))
        await eventually(lambda: reads == ["r"])


async def test_a_nudge_that_carries_nonsense_has_the_stream_read(store: StoreServer) -> None:
    async with registry(store.url) as one:
        alice, alice_sink = await attach(one, ALICE)
        one._reader.nudged(partition_of("r"), b"999999 r 2-0 %s %s nonsense" % (BOB.encode(), ALICE.encode()))
        alice.signal(signal(ALICE, 1))
        await alice_sink.until(lambda: heard(alice_sink) == [1])
        assert alice_sink.ends == []


async def test_a_store_that_stays_away_refuses_with_a_code_and_gives_members_up(store: StoreServer) -> None:
    async with registry(store.url) as one:
        alice, alice_sink = await attach(one, ALICE)
        store.freeze()
        alice.signal(signal(ALICE, 1))
        assert await alice_sink.answered(1) == [Nack(id=1, code=NackCode.UNAVAILABLE)]
        with pytest.raises(JoinRefused) as refused:
            await attach(one, BOB)
        assert refused.value.code is RefusalCode.UNAVAILABLE
        await trouble(one, Trouble.UNREACHABLE)
        with pytest.raises(JoinRefused):
            await attach(one, BOB)
        assert await alice_sink.ended() is RefusalCode.UNAVAILABLE
        assert one.stats.evictions["unreachable"] == 1
        alice.suspend()
        store.thaw()
        await trouble(one, Trouble.UNREACHABLE, is_there=False)
        _, back = await attach(one, ALICE, alice_sink.resume)
        assert back.admissions[0].resumed
        assert heard(back) == [], "a signal that was refused is not delivered later"


async def test_a_store_that_was_gone_and_forgot_everything_is_a_new_epoch(store: StoreServer) -> None:
    async with registry(store.url) as one, registry(store.url, seed=1) as two:
        _, alice_sink = await attach(one, ALICE)
        _, bob_sink = await attach(two, BOB)
        store.kill()
        await trouble(one, Trouble.UNREACHABLE)
        store.start()
        assert await alice_sink.ended() is RefusalCode.EPOCH_CHANGED
        assert await bob_sink.ended() is RefusalCode.EPOCH_CHANGED
        await trouble(one, Trouble.UNREACHABLE, is_there=False)
        _, back = await attach(one, ALICE, alice_sink.resume)
        assert not back.admissions[0].resumed
        assert back.admissions[0].epoch != alice_sink.admissions[0].epoch


async def test_servers_agree_on_the_secret_again_after_the_store_has_forgotten_it(store: StoreServer) -> None:
    async with registry(store.url) as one:
        _, alice_sink = await attach(one, ALICE)
        store.kill()
        await trouble(one, Trouble.UNREACHABLE)
        store.start()
        await alice_sink.ended()
        await trouble(one, Trouble.UNREACHABLE, is_there=False)
        _, alice_sink = await attach(one, ALICE)
        async with registry(store.url, seed=1) as two:
            _, back = await attach(two, ALICE, alice_sink.resume)
            assert back.admissions[0].resumed


async def test_scripts_that_were_flushed_are_loaded_again(store: StoreServer) -> None:
    async with registry(store.url) as one:
        alice, alice_sink = await attach(one, ALICE)
        store.tell("SCRIPT", "FLUSH")
        alice.signal(signal(ALICE, 1))
        assert await alice_sink.answered(1) == [Ack(id=1)]
        assert one.stats.commands["scripts_loaded"] >= 1


async def test_a_full_store_refuses_joins_and_signals_and_keeps_its_members(store: StoreServer) -> None:
    async with registry(store.url) as one:
        alice, alice_sink = await attach(one, ALICE)
        store.tell("CONFIG", "SET", "maxmemory", "1")
        alice.signal(signal(ALICE, 1))
        assert await alice_sink.answered(1) == [Nack(id=1, code=NackCode.SERVER_FULL)]
        with pytest.raises(JoinRefused) as refused:
            await attach(one, BOB)
        assert refused.value.code is RefusalCode.SERVER_FULL
        assert Trouble.FULL in one.stats.troubles
        alice.set_presence({"n": 1})
        store.tell("CONFIG", "SET", "maxmemory", "0")
        alice.signal(signal(ALICE, 2))
        assert (await alice_sink.answered(2))[1] == Ack(id=2)
        _, bob_sink = await attach(one, BOB)
        assert bob_sink.admissions[0].members[0].presence == {"n": 1}


async def test_an_eviction_policy_that_loses_members_is_warned_about(
    store: StoreServer, caplog: pytest.LogCaptureFixture
) -> None:
    store.tell("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    with caplog.at_level(logging.WARNING):
        async with registry(store.url):
            pass
    assert "allkeys-lru" in caplog.text


async def test_a_subscription_that_is_killed_misses_nothing(store: StoreServer) -> None:
    async with registry(store.url) as one, registry(store.url, seed=1) as two:
        alice, alice_sink = await attach(one, ALICE)
        _, bob_sink = await attach(two, BOB)
        for id_ in range(1, 41):
            alice.signal(signal(BOB, id_))
            if id_ % 10 == 5:
                # What the store does to a subscriber whose output buffer is full.
                store.tell("CLIENT", "KILL", "TYPE", "pubsub")
            await alice_sink.answered(id_)
        await bob_sink.until(lambda: len(heard(bob_sink)) >= 40)
        assert heard(bob_sink) == list(range(1, 41))
        assert two.stats.resyncs["subscribed"] > 0


async def test_a_deaf_bus_is_noticed_and_what_was_missed_is_read(store: StoreServer) -> None:
    async with cuttable_way(store.port) as way, registry(way.url) as one, registry(store.url, seed=1) as two:
        _, alice_sink = await attach(one, ALICE)
        bob, _ = await attach(two, BOB)
        await alice_sink.wait_for(1)
        way.deafen()
        bob.signal(signal(ALICE, 1))
        async with asyncio.timeout(5):
            await alice_sink.wait_for(2)
        assert heard(alice_sink) == [1]


async def test_a_server_that_is_cut_off_gives_its_members_up_and_they_resume_elsewhere(
    store: StoreServer,
) -> None:
    async with cuttable_way(store.port) as way, registry(way.url) as one, registry(store.url, seed=1) as two:
        alice, alice_sink = await attach(one, ALICE)
        bob, bob_sink = await attach(two, BOB)
        await alice_sink.wait_for(1)
        way.cut()
        bob.signal(signal(ALICE, 1))
        bob.signal(signal(ALICE, 2))
        assert await bob_sink.answered(2) == [Ack(id=1), Ack(id=2)]
        assert await alice_sink.ended() is RefusalCode.UNAVAILABLE
        alice.suspend()
        await bob_sink.until(lambda: any(isinstance(event, PeerSuspended) for event in bob_sink.events))
        _, back = await attach(two, ALICE, alice_sink.resume)
        assert back.admissions[0].resumed
        assert heard(back) == [1, 2]
        way.mend()
        await trouble(one, Trouble.UNREACHABLE, is_there=False)
        bob.signal(signal(ALICE, 3))
        await back.until(lambda: heard(back) == [1, 2, 3])
        assert back.ends == []


async def test_a_server_that_comes_back_after_its_lease_gives_up_whom_the_others_suspended(
    store: StoreServer,
) -> None:
    async with registry(store.url) as one, registry(store.url, seed=1) as two:
        _, alice_sink = await attach(one, ALICE)
        _, bob_sink = await attach(two, BOB)
        assert one._ticking is not None
        one._ticking.cancel()
        assert await alice_sink.ended() is RefusalCode.UNAVAILABLE
        await bob_sink.until(lambda: any(isinstance(event, PeerSuspended) for event in bob_sink.events))
        one._ticking = asyncio.create_task(one._keeper.run())
        one._tasks.append(one._ticking)
        await eventually(lambda: not store.ask("ZSCORE", KEYS.nodes, one._store.node).startswith("$-1"))
        await trouble(one, Trouble.UNREACHABLE, is_there=False)
        _, back = await attach(one, ALICE, alice_sink.resume)
        assert back.admissions[0].resumed


async def test_members_of_a_dead_server_expire_in_the_end(store: StoreServer) -> None:
    limits = replace(LIMITS, resume_window=0.5)
    async with registry(store.url, limits=limits, seed=1) as two:
        dead = await RedisRegistry.open(replace(BRISK, url=store.url), limits, random=Random(0))
        await attach(dead, ALICE)
        for task in dead._tasks:
            task.cancel()
        await asyncio.wait(dead._tasks)
        _, bob_sink = await attach(two, BOB)
        assert [type(event) for event in await bob_sink.wait_for(2)] == [PeerSuspended, PeerLeft]
        await eventually(lambda: store.ask("ZSCORE", KEYS.nodes, dead._store.node).startswith("$-1"))


async def test_a_stream_that_was_trimmed_past_a_position_gives_a_snapshot(store: StoreServer) -> None:
    limits = replace(LIMITS, history_events=4)
    async with registry(store.url, limits=limits) as one:
        alice, alice_sink = await attach(one, ALICE)
        bob, bob_sink = await attach(one, BOB)
        alice.suspend()
        for id_ in range(1, 10):
            bob.signal(signal(ALICE, id_))
            await bob_sink.answered(id_)
        _, back = await attach(one, ALICE, alice_sink.resume)
        assert not back.admissions[0].resumed
        assert [member.peer_id for member in back.admissions[0].members] == [BOB]
        assert int(store.ask("XLEN", KEYS.stream("r"))[1:].split("\r\n")[0]) <= 5


async def test_a_history_is_bounded_in_bytes(store: StoreServer) -> None:
    limits = replace(LIMITS, history_bytes=2000)
    async with registry(store.url, limits=limits) as one:
        alice, alice_sink = await attach(one, ALICE)
        for id_ in range(1, 40):
            alice.signal(SendSignal(to=ALICE, id=id_, sealed=bytes(100)))
            await alice_sink.answered(id_)
        assert int(store.ask("XLEN", KEYS.stream("r"))[1:].split("\r\n")[0]) < 10


async def test_a_room_that_is_empty_leaves_nothing_in_the_store(store: StoreServer) -> None:
    async with registry(store.url) as one:
        alice, _ = await attach(one, ALICE)
        alice.leave()
        await one._store.flushed(5)
        assert "room:r:" not in store.ask("KEYS", "*")
        assert store.ask("EXISTS", KEYS.attached_at(one._store.node)).startswith(":0")


async def test_a_server_that_stops_in_order_gives_its_leases_back(store: StoreServer) -> None:
    async with registry(store.url) as one:
        alice, _ = await attach(one, ALICE)
        alice.suspend()
    assert all(store.ask("ZCARD", keys_of(partition).nodes) == ":0\r\n" for partition in ALL_PARTITIONS)


async def test_an_entry_that_cannot_be_read_ends_the_room_s_connections_and_no_more(
    store: StoreServer,
) -> None:
    async with registry(store.url) as one:
        alice, alice_sink = await attach(one, ALICE)
        store.tell("XADD", KEYS.stream("r"), "2-0", "k", "nonsense", "s", "x", "r", "", "d", "")
        store.tell("SPUBLISH", KEYS.bus, "9999 r 2-0")
        assert await alice_sink.ended() is RefusalCode.EPOCH_CHANGED
        assert one.stats.evictions["corrupt"] == 1
        alice.suspend()
        assert one.stats.troubles == set()


async def test_nudges_that_are_no_nudges_are_ignored(store: StoreServer) -> None:
    async with registry(store.url) as one:
        alice, alice_sink = await attach(one, ALICE)
        for payload in ("", "x", "1 r", "1 r x", "1 r 1-1 x", "\xff"):
            store.tell("SPUBLISH", KEYS.bus, payload)
        alice.signal(signal(ALICE, 1))
        await alice_sink.until(lambda: heard(alice_sink) == [1])


async def test_the_rights_that_the_readme_names_are_enough(store: StoreServer) -> None:
    readme = (ROOT / "signaling" / "README.md").read_text()
    _, _, rights = readme.partition("for the user of the URL: `")
    store.tell(
        "ACL",
        "SETUSER",
        "rooms",
        "on",
        ">secret",
        "~rtcmesh:*",
        "&rtcmesh:*",
        *rights.partition("`")[0].split(),
    )
    async with registry(StoreUrl.parse(f"redis://rooms:secret@127.0.0.1:{store.port}")) as one:
        alice, alice_sink = await attach(one, ALICE)
        alice.signal(signal(ALICE, 1))
        await alice_sink.until(lambda: heard(alice_sink) == [1])
        alice.set_presence({"n": 1})
        alice.leave()
        await one._store.flushed(5)
        assert (one.stats.commands["failed"], one.stats.commands["unreachable"]) == (0, 0)
        assert "room:r:" not in store.ask("KEYS", "*")


@pytest.mark.parametrize("fault", ["closed", "silent", "old", "wrong password"])
async def test_a_store_that_cannot_be_used_is_named_at_the_start(fault: str) -> None:
    quick = replace(BRISK, start_timeout=1.0)
    with store_server("valkey") as store:
        url = store.url
        match fault:
            case "closed":
                url = StoreUrl.parse(f"redis://127.0.0.1:{free_port()}")
            case "silent":
                store.freeze()
            case "old":
                url = StoreUrl.parse(f"redis://127.0.0.1:{store.port}/99")
            case _:
                url = StoreUrl.parse(f"redis://user:hunter2@127.0.0.1:{store.port}")
        with pytest.raises((StoreUnreachable, StoreFailed)) as failure:
            await RedisRegistry.open(replace(quick, url=url))
        assert str(url) in str(failure.value)
        assert "hunter2" not in str(failure.value)


@pytest.mark.parametrize("kind", ["valkey", "redis"])
async def test_a_failover_is_a_new_epoch_and_everybody_is_told(kind: str) -> None:
    with sentinel_store(kind) as (primary, _, url):
        parsed = StoreUrl.parse(url)
        async with registry(parsed) as one, registry(parsed, seed=1) as two:
            alice, alice_sink = await attach(one, ALICE)
            _, bob_sink = await attach(two, BOB)
            alice.signal(signal(BOB, 1))
            await bob_sink.wait_for(1)
            primary.kill()
            assert await alice_sink.ended() in (RefusalCode.EPOCH_CHANGED, RefusalCode.UNAVAILABLE)
            await bob_sink.ended()
            await trouble(one, Trouble.UNREACHABLE, is_there=False)
            _, back = await attach(one, ALICE, alice_sink.resume)
            assert not back.admissions[0].resumed
            assert back.admissions[0].epoch != alice_sink.admissions[0].epoch


@pytest.mark.parametrize("kind", ["valkey", "redis"])
async def test_a_slot_that_moves_takes_its_rooms_along(kind: str) -> None:
    slot = slot_of(TAGS[partition_of("r")])
    with cluster_store(kind) as (servers, url):
        source, target = servers if slot < 8192 else reversed(servers)
        parsed = StoreUrl.parse(url)
        calm = RedisConfig(url=parsed)
        async with registry(parsed, calm) as one, registry(parsed, calm, seed=1) as two:
            alice, alice_sink = await attach(one, ALICE)
            bob, bob_sink = await attach(two, BOB)
            alice.signal(signal(BOB, 1))
            await bob_sink.wait_for(1)
            await asyncio.to_thread(move_slot, slot, source, target)
            alice.signal(signal(BOB, 2))
            assert await alice_sink.ended() is RefusalCode.EPOCH_CHANGED
            assert await bob_sink.ended() is RefusalCode.EPOCH_CHANGED
            for attachment in (alice, bob):
                attachment.suspend()
            alice, alice_sink = await attach(one, ALICE, alice_sink.resume)
            _, bob_sink = await attach(two, BOB, bob_sink.resume)
            assert [member.peer_id for member in bob_sink.admissions[0].members] == [ALICE]
            alice.signal(signal(BOB, 1))
            await bob_sink.until(lambda: heard(bob_sink) == [1])
