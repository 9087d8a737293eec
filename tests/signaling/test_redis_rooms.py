"""Several servers on one store do what one room in memory does, whatever members do and whichever server dies."""

import asyncio
from asyncio import Runner
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from random import Random
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rtcmesh.signaling.codes import RefusalCode
from rtcmesh.signaling.config import RedisConfig
from rtcmesh.signaling.errors import JoinRefused
from rtcmesh.signaling.identity import PeerId
from rtcmesh.signaling.messages import Join, PeerSuspended, Presence, SendSignal
from rtcmesh.signaling.prekey import Prekey
from rtcmesh.signaling.resume_token import ResumeKey
from rtcmesh.signaling.room import Admission, Deliver, Detached, Displace, Room, RoomLimits
from rtcmesh.signaling.room_stream import StreamEntry
from rtcmesh.signaling.store.lane import Outcome
from rtcmesh.signaling.store.partition import keys_of, partition_of
from rtcmesh.signaling.store.redis_attachment import RedisAttachment
from rtcmesh.signaling.store.redis_registry import RedisRegistry
from rtcmesh.signaling.store.stream_codec import RawEntry, decode_entry
from rtcmesh.signaling.store_url import StoreUrl
from support.rooms import NAMES
from support.sinks import RecordingSink
from support.stores import StoreServer, store_server

PEERS = NAMES[:4]
SERVERS = 3
WINDOW = 1000.0
PATIENCE = 60.0
"""Seconds that a busy machine may take for what is waited for here."""
UNHURRIED = RedisConfig(
    url=StoreUrl.parse("redis://localhost"),
    resume_secret=bytes(range(32)),
    node_lease=1000.0,
    deaf_after=PATIENCE,
    response_timeout=PATIENCE,
    join_patience=PATIENCE,
    signal_patience=PATIENCE,
    start_timeout=PATIENCE,
)
_rooms = count()


@dataclass
class Hold:
    """One attachment, in the store and in the model."""

    peer_id: PeerId
    server: int
    attachment: RedisAttachment
    sink: RecordingSink
    model_sink: RecordingSink
    modelled: int
    last_id: int = 0


class Rooms:
    """Servers on a store, and one room in memory that is told the same."""

    def __init__(self, store: StoreServer, history_events: int) -> None:
        self.limits = RoomLimits(
            max_members=3,
            history_events=history_events,
            max_unacknowledged_signals=4,
            max_signal_bytes=8,
            resume_window=WINDOW,
        )
        self.name = f"room{next(_rooms)}"
        self.keys = keys_of(partition_of(self.name))
        self.model = self._new_room()
        self.now = 0.0
        self.store = store
        self.servers: list[RedisRegistry] = []
        self.holds: list[Hold] = []
        self.prekeys = dict.fromkeys(PEERS, b"0")

    def _new_room(self) -> Room:
        return Room(self.name, epoch=f"e{next(_rooms)}", limits=self.limits, key=ResumeKey.create())

    async def open(self) -> RedisRegistry:
        config = replace(UNHURRIED, url=self.store.url)
        return await RedisRegistry.open(config, self.limits, random=Random(next(_rooms)))

    async def join(
        self, peer_id: PeerId, server: int, *, new_prekey: bool, presence: Presence | None, resume: int | None
    ) -> None:
        """Join; `resume` says from which of the peer's earlier attachments, counted from the newest."""
        if new_prekey:
            self.prekeys[peer_id] += b"1"
        before = [hold for hold in self.holds if hold.peer_id == peer_id]
        last = None if resume is None or not before else before[max(-1 - resume, -len(before))]
        sink, model_sink = RecordingSink(), RecordingSink()
        join, model_join = (
            Join(
                room=self.name,
                peer_id=peer_id,
                prekey=Prekey(self.prekeys[peer_id], b""),
                proof=b"",
                presence=presence,
                relay=f"/{server}",
                resume=position,
            )
            for position in ((None, None) if last is None else (last.sink.resume, last.model_sink.resume))
        )
        try:
            admission: Admission | JoinRefused = self.model.join(model_join, self.now)
        except JoinRefused as error:
            admission = error
        if isinstance(admission, JoinRefused):
            self._carry_out()
            with pytest.raises(JoinRefused) as refused:
                await self.servers[server].attach(join, sink)
            assert refused.value.code is admission.code
            await self.settle()
            return
        model_sink.welcome(admission)
        attachment = await self.servers[server].attach(join, sink)
        hold = Hold(peer_id, server, attachment, sink, model_sink, admission.attachment)
        if last is not None and admission.resumed:
            hold.last_id = last.last_id
        self.holds.append(hold)
        self._carry_out()
        ours = sink.admissions[0]
        assert (ours.resumed, ours.offset) == (admission.resumed, admission.offset)
        assert {m.peer_id: m for m in ours.members} == {m.peer_id: m for m in admission.members}
        await self.settle()

    async def signal(self, hold: Hold, to: PeerId, sealed: bytes, step: int) -> None:
        signal = SendSignal(to=to, id=max(1, hold.last_id + step), sealed=sealed)
        hold.last_id = max(hold.last_id, signal.id)
        hold.attachment.signal(signal)
        try:
            hold.model_sink.answer(self.model.signal(hold.modelled, signal))
        except Detached:
            pass
        except JoinRefused as refusal:
            self.model.suspend(hold.modelled, self.now)
            hold.model_sink.end(refusal.code)
            await self._server_of(hold)._store.flushed(PATIENCE)
            hold.attachment.suspend()
        self._carry_out()
        await self.settle()

    async def set_presence(self, hold: Hold, presence: Presence) -> None:
        hold.attachment.set_presence(presence)
        with suppress(Detached):
            self.model.set_presence(hold.modelled, presence)
        self._carry_out()
        await self.settle()

    async def depart(self, hold: Hold, how: str) -> None:
        if how == "leave":
            hold.attachment.leave()
            self.model.leave(hold.modelled)
        else:
            hold.attachment.suspend()
            self.model.suspend(hold.modelled, self.now)
            # Who is suspended later expires later, in the store's milliseconds.
            await asyncio.sleep(0.002)
        self._carry_out()
        await self.settle()

    async def pass_time(self, seconds: float) -> None:
        """Let windows go by; the store's clock cannot be moved, so what it is compared with is."""
        for peer_id in PEERS:
            if self._ask("ZSCORE", self.keys.suspended, f"{self.name} {peer_id}") != "$-1":
                self._ask("ZINCRBY", self.keys.suspended, str(-seconds * 1000), f"{self.name} {peer_id}")
        self.now += seconds
        await self._sweep(self.servers[0])
        self.model.handle_timeout(self.now)
        self._carry_out()
        await self.settle()

    async def crash(self, server: int) -> None:
        """Let a server vanish and its lease end; the survivors sweep, in an order that they choose."""
        victim = self.servers[server]
        for task in victim._tasks:
            task.cancel()
        await asyncio.wait(victim._tasks)
        offset = self.model.offset
        self._ask("ZADD", self.keys.nodes, "0", victim._store.node)
        survivor = self.servers[server - 1]
        async with asyncio.timeout(PATIENCE):
            while self._ask("ZSCORE", self.keys.nodes, victim._store.node) != "$-1":
                await self._sweep(survivor)
        watcher = await self._read_since(survivor, offset)
        for peer_id in watcher:
            for hold in self.holds:
                if hold.peer_id == peer_id and hold.server == server:
                    self.model.suspend(hold.modelled, self.now)
        self.holds = [hold for hold in self.holds if hold.server != server]
        self._carry_out()
        self.servers[server] = await self.open()
        await self.settle()

    async def settle(self) -> None:
        """Wait until every sink has what the model says, and compare."""
        for server in self.servers:
            await server._store.flushed(PATIENCE)
        for hold in self.holds:
            await agree(hold.sink, hold.model_sink)
        # Where nobody was told anything, the reader may still be behind: further than so short a history goes, later.
        partition = partition_of(self.name)
        for server in self.servers:
            server._reader._read_all(partition)
            await server._store.flushed(PATIENCE)

    async def _sweep(self, server: RedisRegistry) -> None:
        """Make this server the one that sweeps, now."""
        await server._store.flushed(PATIENCE)
        self._ask("HINCRBY", self.keys.lineage, "swept_at", "-1000")
        server._keeper._tick()
        await server._store.flushed(PATIENCE)

    def _server_of(self, hold: Hold) -> RedisRegistry:
        return self.servers[hold.server]

    async def _read_since(self, survivor: RedisRegistry, offset: int) -> list[PeerId]:
        """Return who was suspended after an offset, in stream order."""
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        survivor._store.ask(
            partition_of(self.name),
            answer.set_result,
            "XRANGE",
            self.keys.stream(self.name),
            f"{offset + 1}-0",
            "+",
        )
        entries = [decode_entry(raw)[1] for raw in cast("list[RawEntry]", await answer)]
        return [
            entry.subject
            for entry in entries
            if isinstance(entry, StreamEntry) and isinstance(entry.event, PeerSuspended)
        ]

    def _ask(self, *words: str) -> str:
        return self.store.ask(*words).split("\r\n")[0]

    def _carry_out(self) -> None:
        sinks = {hold.modelled: hold.model_sink for hold in self.holds}
        for effect in self.model.effects():
            sink = sinks.get(effect.attachment)
            match effect:
                case Deliver(_, entry):
                    if sink is not None:
                        sink.deliver(entry)
                case Displace(_, replaced):
                    if sink is not None:
                        sink.end(RefusalCode.REPLACED if replaced else None)
        if len(self.model) == 0:
            # A room ends with its last member; what is left of the attachments means nothing in the next one.
            self.model = self._new_room()
            for hold in self.holds:
                hold.modelled = 0


async def agree(ours: RecordingSink, theirs: RecordingSink) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            await ours.until(lambda: seen(ours) == seen(theirs))
    assert seen(ours) == seen(theirs)


def seen(sink: RecordingSink) -> tuple[object, ...]:
    return (sink.events, sink.answers, sink.ends)


@pytest.fixture(scope="module")
def store() -> Generator[StoreServer]:
    with store_server("valkey") as server:
        yield server


@pytest.fixture(scope="module")
def runner() -> Generator[Runner]:
    with Runner() as runner:
        yield runner


@pytest.mark.timeout(0)
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 60), history=st.sampled_from([8, 12, 1000]))
def test_servers_on_one_store_do_what_a_room_in_memory_does(
    store: StoreServer, runner: Runner, seed: int, steps: int, history: int
) -> None:
    runner.run(live(Rooms(store, history), Random(seed), steps))


async def live(rooms: Rooms, random: Random, steps: int) -> None:
    rooms.servers = [await rooms.open() for _ in range(SERVERS)]
    try:
        for _ in range(steps):
            await step(rooms, random)
    finally:
        for server in rooms.servers:
            await server.aclose()


async def step(rooms: Rooms, random: Random) -> None:
    peer_id, server = random.choice(PEERS), random.randrange(SERVERS)
    hold = random.choice(rooms.holds[-6:]) if rooms.holds else None
    kinds = ["join", "resume", "signal", "presence", "suspend", "leave", "time", "crash"]
    kind = random.choices(kinds, [3, 8, 12, 4, 5, 1, 2, 1])[0]
    presence: Presence | None = {"n": random.randrange(3)} if random.random() < 0.4 else None
    match kind:
        case "join":
            await rooms.join(
                peer_id, server, new_prekey=random.random() < 0.3, presence=presence, resume=None
            )
        case "resume":
            await rooms.join(
                peer_id, server, new_prekey=False, presence=presence, resume=random.choice([0, 0, 0, 1, 2])
            )
        case "time":
            await rooms.pass_time(random.choice([300.0, 700.0]))
        case "crash":
            await rooms.crash(server)
        case _ if hold is None:
            pass
        case "signal":
            await rooms.signal(
                hold, peer_id, bytes(random.randrange(10)), random.choice([1, 1, 1, 0, -1, 2, 9])
            )
        case "presence":
            await rooms.set_presence(hold, {"n": random.randrange(3)})
        case _:
            await rooms.depart(hold, kind)
