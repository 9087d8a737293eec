"""What every registry promises; each implementation passes this suite."""

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable, Generator
from dataclasses import replace as replace_limits
from random import Random

import pytest
from msgspec.structs import replace

from rtcmesh.signaling.codes import LeaveReason, NackCode, RefusalCode
from rtcmesh.signaling.config import RedisConfig
from rtcmesh.signaling.errors import JoinRefused
from rtcmesh.signaling.identity import PeerId
from rtcmesh.signaling.memory_registry import MemoryRegistry
from rtcmesh.signaling.messages import (
    Ack,
    Join,
    Member,
    Nack,
    PeerJoined,
    PeerLeft,
    PeerResumed,
    PeerSuspended,
    PresenceChanged,
    RelayChanged,
    Resume,
    SendSignal,
    Signal,
)
from rtcmesh.signaling.prekey import Prekey
from rtcmesh.signaling.registry import Attachment, Registry
from rtcmesh.signaling.room import RoomLimits
from rtcmesh.signaling.store.redis_registry import RedisRegistry
from support.rooms import NAMES
from support.sinks import RecordingSink
from support.stores import StoreServer, store_server
from support.virtual import on_virtual_time

ALICE, BOB, CAROL = NAMES[:3]
LIMITS = RoomLimits(max_members=2, resume_window=5.0, max_presence_bytes=20)


Suite = Callable[[Registry], Awaitable[None]]


def join(peer_id: PeerId, *, prekey: bytes = b"k", resume: Resume | None = None, room: str = "r") -> Join:
    return Join(room=room, peer_id=peer_id, prekey=Prekey(prekey, b""), proof=b"", resume=resume)


async def attach(
    registry: Registry,
    peer_id: PeerId,
    *,
    prekey: bytes = b"k",
    resume: Resume | None = None,
    room: str = "r",
) -> tuple[Attachment, RecordingSink]:
    sink = RecordingSink()
    attachment = await registry.attach(join(peer_id, prekey=prekey, resume=resume, room=room), sink)
    return attachment, sink


async def members_and_signals(registry: Registry) -> None:
    alice, alice_sink = await attach(registry, ALICE)
    bob, bob_sink = await attach(registry, BOB)
    assert [member.peer_id for member in bob_sink.admissions[0].members] == [ALICE]
    for signal in (
        SendSignal(to=ALICE, id=1, sealed=b"\x00x"),
        SendSignal(to=ALICE, id=1, sealed=b"\x00x"),
        SendSignal(to=CAROL, id=2, sealed=b"x"),
    ):
        bob.signal(signal)
    unknown = Nack(id=2, code=NackCode.UNKNOWN_PEER)
    assert await bob_sink.answered(3) == [Ack(id=1), Ack(id=1), unknown]
    bob.set_presence({"n": 1})
    bob.set_relay("/relay")
    bob.leave()
    events = await alice_sink.wait_for(5)
    assert [type(event) for event in events] == [PeerJoined, Signal, PresenceChanged, RelayChanged, PeerLeft]
    assert isinstance(events[1], Signal)
    assert (events[1].sender, events[1].sealed) == (BOB, b"\x00x")
    assert isinstance(events[2], PresenceChanged)
    assert events[2].presence == {"n": 1}
    alice.leave()


async def the_newcomer_sees_who_is_there(registry: Registry) -> None:
    alice, alice_sink = await attach(registry, ALICE)
    alice.set_presence({"n": 1})
    alice.set_relay("/relay")
    alice.suspend()
    bob, bob_sink = await attach(registry, BOB)
    member = Member(
        peer_id=ALICE, prekey=Prekey(b"k", b""), presence={"n": 1}, suspended=True, relay="/relay"
    )
    assert bob_sink.admissions[0].members == (member,)
    _, back = await attach(registry, ALICE, resume=alice_sink.resume)
    assert back.events == await back.wait_for(1)
    assert [type(event) for event in await bob_sink.wait_for(2)] == [PeerResumed, RelayChanged]
    bob.leave()


async def an_id_that_is_left_out_is_refused_for_ever(registry: Registry) -> None:
    alice, sink = await attach(registry, ALICE)
    for id_ in (1, 3, 2, 3):
        alice.signal(SendSignal(to=ALICE, id=id_, sealed=b"x"))
    refused = Nack(id=2, code=NackCode.UNAVAILABLE)
    assert await sink.answered(4) == [Ack(id=1), Ack(id=3), refused, Ack(id=3)]
    assert [event.id for event in await sink.wait_for(2) if isinstance(event, Signal)] == [1, 3]
    alice.signal(SendSignal(to=ALICE, id=4 + LIMITS.max_unacknowledged_signals, sealed=b"x"))
    assert await sink.ended() is RefusalCode.PROTOCOL_VIOLATION
    alice.leave()


async def rooms_are_apart_and_end_with_their_members(registry: Registry) -> None:
    alice, alice_sink = await attach(registry, ALICE, room="one")
    _, bob_sink = await attach(registry, BOB, room="two")
    assert bob_sink.admissions[0].members == ()
    assert alice_sink.entries == []
    alice.leave()
    _, again = await attach(registry, ALICE, room="one")
    assert again.admissions[0].epoch != alice_sink.admissions[0].epoch


async def a_resume_brings_what_was_missed(registry: Registry) -> None:
    alice, alice_sink = await attach(registry, ALICE)
    bob, bob_sink = await attach(registry, BOB)
    await alice_sink.wait_for(1)
    alice.suspend()
    bob.signal(SendSignal(to=ALICE, id=1, sealed=b"x"))
    await bob_sink.answered(1)
    back, back_sink = await attach(registry, ALICE, resume=alice_sink.resume)
    assert back_sink.admissions[0].resumed
    assert [type(event) for event in back_sink.events] == [Signal]
    await bob_sink.wait_for(2)
    back.leave()
    bob.leave()


async def a_return_to_a_snapshot_is_told_to_whoever_had_signalled(registry: Registry) -> None:
    alice, _ = await attach(registry, ALICE)
    _, bob_sink = await attach(registry, BOB)
    alice.suspend()
    await bob_sink.wait_for(1)
    back, sink = await attach(registry, ALICE)
    assert not sink.admissions[0].resumed
    events = await bob_sink.wait_for(2)
    assert isinstance(events[1], PeerResumed)
    assert events[1].anew
    again, _ = await attach(registry, ALICE, resume=sink.resume)
    again.suspend()
    events = await bob_sink.wait_for(3)
    assert isinstance(events[2], PeerSuspended), "taking a half-open connection over is told to nobody"
    back.leave()


async def a_token_that_is_not_the_members_own_brings_a_snapshot(registry: Registry) -> None:
    _, alice_sink = await attach(registry, ALICE)
    _, bob_sink = await attach(registry, BOB)
    _, other_sink = await attach(registry, ALICE, room="other")
    mine = alice_sink.resume
    forged = mine.token[:-4] + ("aaaa" if mine.token[-4:] != "aaaa" else "bbbb")
    for token in (forged, "", "x" * 4096, bob_sink.resume.token, other_sink.resume.token):
        _, sink = await attach(registry, ALICE, resume=replace(mine, token=token))
        assert not sink.admissions[0].resumed
    _, sink = await attach(registry, ALICE, resume=mine)
    assert not sink.admissions[0].resumed, "a snapshot began a new membership"


async def a_token_rotates_and_retires_those_before_it(registry: Registry) -> None:
    _, first = await attach(registry, ALICE)
    _, lost = await attach(registry, ALICE, resume=first.resume)
    _, second = await attach(registry, ALICE, resume=first.resume)
    assert lost.admissions[0].resumed
    assert second.admissions[0].resumed, "its welcome may have been lost on the way"
    assert len({sink.resume.token for sink in (first, lost, second)}) == 3
    _, third = await attach(registry, ALICE, resume=second.resume)
    assert third.admissions[0].resumed
    _, late = await attach(registry, ALICE, resume=first.resume)
    assert not late.admissions[0].resumed


async def a_suspended_member_expires(registry: Registry) -> None:
    alice, alice_sink = await attach(registry, ALICE)
    bob, bob_sink = await attach(registry, BOB)
    alice.suspend()
    suspended, left = (await bob_sink.wait_for(2))[:2]
    assert isinstance(suspended, PeerSuspended)
    assert isinstance(left, PeerLeft)
    assert left.reason is LeaveReason.EXPIRED
    _, late = await attach(registry, ALICE, resume=alice_sink.resume)
    assert not late.admissions[0].resumed
    bob.leave()


async def a_displaced_attachment_is_dead(registry: Registry) -> None:
    first, first_sink = await attach(registry, ALICE)
    second, second_sink = await attach(registry, ALICE, prekey=b"other")
    assert await first_sink.ended() is RefusalCode.REPLACED
    third, third_sink = await attach(registry, ALICE, prekey=b"other", resume=second_sink.resume)
    assert await second_sink.ended() is None
    for dead in (first, second):
        dead.signal(SendSignal(to=ALICE, id=1, sealed=b""))
        dead.set_presence({"n": 1})
        dead.set_relay("/relay")
        dead.suspend()
        dead.leave()
    third.signal(SendSignal(to=ALICE, id=1, sealed=b""))
    assert await third_sink.answered(1) == [Ack(id=1)]
    assert (first_sink.answers, second_sink.answers) == ([], [])
    assert [type(event) for event in await third_sink.wait_for(1)] == [Signal]
    for _ in range(2):
        third.leave()


async def who_comes_back_to_find_another_gives_way(registry: Registry) -> None:
    _, first_sink = await attach(registry, ALICE)
    await attach(registry, ALICE, prekey=b"other")
    with pytest.raises(JoinRefused) as refused:
        await attach(registry, ALICE, resume=first_sink.resume)
    assert refused.value.code is RefusalCode.REPLACED


async def a_refused_join_leaves_no_trace(registry: Registry) -> None:
    alice, alice_sink = await attach(registry, ALICE)
    bob, _ = await attach(registry, BOB)
    sink = RecordingSink()
    with pytest.raises(JoinRefused) as refused:
        await registry.attach(join(CAROL), sink)
    assert refused.value.code is RefusalCode.ROOM_FULL
    assert (sink.admissions, sink.entries, sink.ends) == ([], [], [])
    bob.leave()
    assert [type(event) for event in await alice_sink.wait_for(2)] == [PeerJoined, PeerLeft]
    alice.leave()


async def a_presence_that_is_too_large_ends_the_connection(registry: Registry) -> None:
    alice, alice_sink = await attach(registry, ALICE)
    bob, bob_sink = await attach(registry, BOB)
    alice.set_presence({"long": "x" * 20})
    assert await alice_sink.ended() is RefusalCode.MESSAGE_TOO_LARGE
    alice.suspend()
    assert [type(event) for event in await bob_sink.wait_for(1)] == [PeerSuspended]
    bob.leave()


SUITE: list[Suite] = [
    members_and_signals,
    the_newcomer_sees_who_is_there,
    an_id_that_is_left_out_is_refused_for_ever,
    rooms_are_apart_and_end_with_their_members,
    a_resume_brings_what_was_missed,
    a_return_to_a_snapshot_is_told_to_whoever_had_signalled,
    a_token_that_is_not_the_members_own_brings_a_snapshot,
    a_token_rotates_and_retires_those_before_it,
    a_suspended_member_expires,
    a_displaced_attachment_is_dead,
    who_comes_back_to_find_another_gives_way,
    a_refused_join_leaves_no_trace,
    a_presence_that_is_too_large_ends_the_connection,
]


@pytest.mark.parametrize("promise", SUITE, ids=lambda promise: promise.__name__)
@on_virtual_time
async def test_memory_keeps(promise: Suite) -> None:
    registry = MemoryRegistry(LIMITS, random=Random(0))
    await promise(registry)
    await registry.aclose()


@pytest.fixture(scope="module", params=["valkey", "redis"])
def store(request: pytest.FixtureRequest) -> Generator[StoreServer]:
    with store_server(request.param) as server:
        yield server


@pytest.mark.parametrize("promise", SUITE, ids=lambda promise: promise.__name__)
async def test_redis_keeps(promise: Suite, store: StoreServer) -> None:
    store.ask("FLUSHALL")
    config = RedisConfig(url=store.url, tick_interval=0.2)
    limits = replace_limits(LIMITS, resume_window=1.0)
    registry = await RedisRegistry.open(config, limits, random=Random(0))
    async with asyncio.timeout(20):
        await promise(registry)
    await registry.aclose()


@on_virtual_time
async def test_memory_keeps_no_room_that_is_empty() -> None:
    registry = MemoryRegistry(LIMITS, random=Random(0))
    alice, _ = await attach(registry, ALICE)
    bob, _ = await attach(registry, BOB)
    assert (registry.stats.rooms, registry.stats.members) == (1, 2)
    alice.leave()
    bob.suspend()
    assert (registry.stats.rooms, registry.stats.members) == (1, 1)
    await asyncio.sleep(LIMITS.resume_window)
    assert (registry.stats.rooms, registry.stats.members) == (0, 0)


@on_virtual_time
async def test_memory_lets_go_of_the_sinks_of_connections_that_are_over() -> None:
    registry = MemoryRegistry(LIMITS, random=Random(0))
    over: list[weakref.ref[RecordingSink]] = []
    for prekey in (b"1", b"2", b"3"):
        attachment, sink = await attach(registry, ALICE, prekey=prekey)
        over.append(weakref.ref(sink))
    attachment.suspend()
    del attachment, sink
    gc.collect()
    assert [ref() for ref in over] == [None, None, None]
    await registry.aclose()
