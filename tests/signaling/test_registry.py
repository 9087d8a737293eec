"""What every registry promises; each implementation passes this suite."""

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random

import pytest

from rtcmesh.signaling.codes import LeaveReason, NackCode, RefusalCode
from rtcmesh.signaling.errors import JoinRefused
from rtcmesh.signaling.identity import PeerId
from rtcmesh.signaling.memory_registry import MemoryRegistry
from rtcmesh.signaling.messages import (
    Ack,
    Join,
    Nack,
    PeerJoined,
    PeerLeft,
    PeerSuspended,
    PresenceChanged,
    Resume,
    RoomEvent,
    SendSignal,
    Signal,
)
from rtcmesh.signaling.prekey import Prekey
from rtcmesh.signaling.registry import Attachment, Registry
from rtcmesh.signaling.room import Admission, Detached, RoomLimits, StreamEntry
from support.rooms import NAMES
from support.virtual import on_virtual_time

ALICE, BOB, CAROL = NAMES[:3]
LIMITS = RoomLimits(max_members=2, resume_window=5.0, max_presence_bytes=20)


@dataclass(eq=False)
class RecordingSink:
    """Notes what it is given, in order."""

    admissions: list[Admission] = field(default_factory=list[Admission])
    entries: list[StreamEntry] = field(default_factory=list[StreamEntry])
    displaced: list[bool] = field(default_factory=list[bool])
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def events(self) -> list[RoomEvent]:
        return [entry.event for entry in self.entries]

    @property
    def resume(self) -> Resume:
        admission = self.admissions[-1]
        offset = self.events[-1].offset if self.entries else admission.offset
        return Resume(epoch=admission.epoch, offset=offset, token=admission.resume_token)

    def welcome(self, admission: Admission) -> None:
        assert not self.admissions
        self.admissions.append(admission)
        self.entries.extend(admission.replay)
        self.changed.set()

    def deliver(self, entry: StreamEntry) -> None:
        assert self.admissions, "the welcome comes first"
        assert not self.displaced, "nothing comes after a displacement"
        self.entries.append(entry)
        self.changed.set()

    def displace(self, *, replaced: bool) -> None:
        self.displaced.append(replaced)
        self.changed.set()

    async def wait_for(self, count: int) -> list[RoomEvent]:
        while len(self.entries) < count:
            self.changed.clear()
            await self.changed.wait()
        return self.events


def make_memory() -> Registry:
    return MemoryRegistry(LIMITS, random=Random(0))


REGISTRIES: dict[str, Callable[[], Registry]] = {"memory": make_memory}
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
    assert await bob.signal(SendSignal(to=ALICE, id=1, sealed=b"x")) == Ack(id=1)
    assert await bob.signal(SendSignal(to=ALICE, id=1, sealed=b"x")) == Ack(id=1)
    refused = await bob.signal(SendSignal(to=CAROL, id=2, sealed=b"x"))
    assert refused == Nack(id=2, code=NackCode.UNKNOWN_PEER)
    await bob.set_presence({"n": 1})
    await bob.leave()
    events = await alice_sink.wait_for(4)
    assert [type(event) for event in events] == [PeerJoined, Signal, PresenceChanged, PeerLeft]
    await alice.leave()


async def rooms_are_apart_and_end_with_their_members(registry: Registry) -> None:
    alice, alice_sink = await attach(registry, ALICE, room="one")
    _, bob_sink = await attach(registry, BOB, room="two")
    assert bob_sink.admissions[0].members == ()
    assert alice_sink.entries == []
    await alice.leave()
    _, again = await attach(registry, ALICE, room="one")
    assert again.admissions[0].epoch != alice_sink.admissions[0].epoch


async def a_resume_brings_what_was_missed(registry: Registry) -> None:
    alice, alice_sink = await attach(registry, ALICE)
    bob, bob_sink = await attach(registry, BOB)
    await alice_sink.wait_for(1)
    await alice.suspend()
    await bob.signal(SendSignal(to=ALICE, id=1, sealed=b"x"))
    back, back_sink = await attach(registry, ALICE, resume=alice_sink.resume)
    assert back_sink.admissions[0].resumed
    assert [type(event) for event in back_sink.events] == [Signal]
    await bob_sink.wait_for(2)
    await back.leave()
    await bob.leave()


async def a_suspended_member_expires(registry: Registry) -> None:
    alice, alice_sink = await attach(registry, ALICE)
    bob, bob_sink = await attach(registry, BOB)
    await alice.suspend()
    suspended, left = (await bob_sink.wait_for(2))[:2]
    assert isinstance(suspended, PeerSuspended)
    assert isinstance(left, PeerLeft)
    assert left.reason is LeaveReason.EXPIRED
    _, late = await attach(registry, ALICE, resume=alice_sink.resume)
    assert not late.admissions[0].resumed
    await bob.leave()


async def a_displaced_attachment_is_dead(registry: Registry) -> None:
    first, first_sink = await attach(registry, ALICE)
    second, second_sink = await attach(registry, ALICE, prekey=b"other")
    assert first_sink.displaced == [True]
    third, _ = await attach(registry, ALICE, prekey=b"other", resume=second_sink.resume)
    assert second_sink.displaced == [False]
    for dead in (first, second):
        with pytest.raises(Detached):
            await dead.signal(SendSignal(to=ALICE, id=1, sealed=b""))
        with pytest.raises(Detached):
            await dead.set_presence({})
        await dead.suspend()
        await dead.leave()
    assert await third.signal(SendSignal(to=ALICE, id=1, sealed=b"")) == Ack(id=1)
    for _ in range(2):
        await third.leave()


async def a_refused_join_leaves_no_trace(registry: Registry) -> None:
    alice, alice_sink = await attach(registry, ALICE)
    bob, _ = await attach(registry, BOB)
    sink = RecordingSink()
    with pytest.raises(JoinRefused) as refused:
        await registry.attach(join(CAROL), sink)
    assert refused.value.code is RefusalCode.ROOM_FULL
    with pytest.raises(JoinRefused):
        await alice.set_presence({"long": "x" * 20})
    assert (sink.admissions, sink.entries, sink.displaced) == ([], [], [])
    await bob.leave()
    assert [type(event) for event in await alice_sink.wait_for(2)] == [PeerJoined, PeerLeft]
    await alice.leave()


SUITE: list[Suite] = [
    members_and_signals,
    rooms_are_apart_and_end_with_their_members,
    a_resume_brings_what_was_missed,
    a_suspended_member_expires,
    a_displaced_attachment_is_dead,
    a_refused_join_leaves_no_trace,
]


@pytest.mark.parametrize("promise", SUITE, ids=lambda promise: promise.__name__)
@pytest.mark.parametrize("registry", REGISTRIES)
@on_virtual_time
async def test_every_registry_keeps(registry: str, promise: Suite) -> None:
    await promise(REGISTRIES[registry]())


@on_virtual_time
async def test_memory_keeps_no_room_that_is_empty() -> None:
    registry = MemoryRegistry(LIMITS, random=Random(0))
    alice, _ = await attach(registry, ALICE)
    bob, _ = await attach(registry, BOB)
    assert (registry.rooms, registry.members) == (1, 2)
    await alice.leave()
    await bob.suspend()
    assert (registry.rooms, registry.members) == (1, 1)
    await asyncio.sleep(LIMITS.resume_window)
    assert (registry.rooms, registry.members) == (0, 0)


@on_virtual_time
async def test_memory_lets_go_of_the_sinks_of_connections_that_are_over() -> None:
    registry = MemoryRegistry(LIMITS, random=Random(0))
    over: list[weakref.ref[RecordingSink]] = []
    for prekey in (b"1", b"2", b"3"):
        attachment, sink = await attach(registry, ALICE, prekey=prekey)
        over.append(weakref.ref(sink))
    await attachment.suspend()
    del attachment, sink
    gc.collect()
    assert [ref() for ref in over] == [None, None, None]
    registry.close()
