"""Signals to one room go to the store together: how many, in which order, and what becomes of each."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from random import Random

import pytest

from rtcmesh.signaling.codes import NackCode
from rtcmesh.signaling.config import RedisConfig
from rtcmesh.signaling.errors import StoreUnreachable
from rtcmesh.signaling.identity import PeerId
from rtcmesh.signaling.messages import Ack, Join, Nack, PeerLeft, PresenceChanged, SendSignal, Signal
from rtcmesh.signaling.prekey import Prekey
from rtcmesh.signaling.store.lane import Command
from rtcmesh.signaling.store.redis_attachment import RedisAttachment
from rtcmesh.signaling.store.redis_registry import RedisRegistry
from rtcmesh.signaling.store.scripts import Script
from rtcmesh.signaling.store.signal_batch import MAX_AGE, MAX_BYTES, MAX_SIGNALS, SignalBatch
from support.members import Member
from support.sinks import RecordingSink
from support.stores import StoreServer, store_server

ANN, BOB, CAT = (Member(number=number).peer_id for number in (1, 2, 3))


def batch(*, is_sealed: bool = False) -> SignalBatch:
    command = Command(lambda _: None, Script.SIGNALS, (), [])
    command.is_sealed = is_sealed
    return SignalBatch(command, opened_at=0.0)


def test_a_batch_is_bounded_in_number_in_bytes_and_in_age_and_is_over_once_it_is_sent() -> None:
    heard: list[tuple[int, object]] = []
    full = batch()
    assert full.takes(10 * MAX_BYTES, 0.0) is False
    assert full.takes(MAX_BYTES, MAX_AGE)
    assert not full.takes(1, MAX_AGE + 0.001)
    full.command.size_bytes = MAX_BYTES - 10
    assert full.takes(10, 0.0)
    assert not full.takes(11, 0.0)
    full.command.size_bytes = 0
    full.waiting = [(lambda id_, status: heard.append((id_, status)), id_) for id_ in range(MAX_SIGNALS)]
    assert not full.takes(0, 0.0)
    assert not batch(is_sealed=True).takes(0, 0.0)


def test_each_sender_is_told_what_became_of_its_own_signal() -> None:
    heard: list[tuple[int, object]] = []
    two = batch()
    two.waiting = [(lambda id_, status: heard.append((id_, status)), id_) for id_ in (7, 9)]
    two.settle([b"ack", b"unknown_peer"])
    assert heard == [(7, b"ack"), (9, b"unknown_peer")]
    error = StoreUnreachable("gone")
    two.settle(error)
    assert heard[2:] == [(7, error), (9, error)]


@pytest.fixture(params=["valkey", "redis"])
def store(request: pytest.FixtureRequest) -> Generator[StoreServer]:
    with store_server(request.param) as server:
        yield server


@asynccontextmanager
async def room(
    store: StoreServer,
) -> AsyncGenerator[tuple[RedisRegistry, dict[PeerId, RecordingSink], dict[PeerId, RedisAttachment]]]:
    registry = await RedisRegistry.open(RedisConfig(url=store.url), random=Random(0))
    sinks = {peer_id: RecordingSink() for peer_id in (ANN, BOB, CAT)}
    try:
        async with asyncio.timeout(60):
            attachments = {
                peer_id: await registry.attach(
                    Join(room="r", peer_id=peer_id, prekey=Prekey(b"k", b""), proof=b""), sink
                )
                for peer_id, sink in sinks.items()
            }
            yield registry, sinks, attachments
    finally:
        await registry.aclose()


async def test_what_is_signalled_in_one_turn_is_one_command_and_arrives_in_order(store: StoreServer) -> None:
    async with room(store) as (registry, sinks, members):
        before = registry.stats.commands["answered"]
        for id_ in range(1, 21):
            for sender, receiver in ((ANN, BOB), (BOB, CAT)):
                members[sender].signal(SendSignal(to=receiver, id=id_, sealed=b"x%d" % id_))
        await sinks[ANN].answered(20)
        await sinks[BOB].answered(20)
        await sinks[CAT].until(lambda: sum(isinstance(event, Signal) for event in sinks[CAT].events) == 20)
        # The signals, a read, and whatever the leases of the second took.
        assert registry.stats.commands["answered"] - before < 40
        for receiver, sender in ((BOB, ANN), (CAT, BOB)):
            signals = [event for event in sinks[receiver].events if isinstance(event, Signal)]
            assert [(event.sender, event.id, event.sealed) for event in signals] == [
                (sender, id_, b"x%d" % id_) for id_ in range(1, 21)
            ]
        assert sinks[ANN].answers == [Ack(id=id_) for id_ in range(1, 21)]


async def test_signals_overtake_nothing_and_are_overtaken_by_nothing_of_their_sender(
    store: StoreServer,
) -> None:
    async with room(store) as (_, sinks, members):
        ann = members[ANN]
        ann.signal(SendSignal(to=BOB, id=1, sealed=b"before"))
        ann.set_presence({"n": 1})
        ann.signal(SendSignal(to=BOB, id=2, sealed=b"after"))
        ann.signal(SendSignal(to=Member(number=9).peer_id, id=3, sealed=b"to nobody"))
        ann.leave()
        await sinks[BOB].until(lambda: any(isinstance(event, PeerLeft) for event in sinks[BOB].events))
        kinds = [type(event) for event in sinks[BOB].events[-4:]]
        assert kinds == [Signal, PresenceChanged, Signal, PeerLeft]


async def test_large_signals_and_refused_ones_share_no_fate(store: StoreServer) -> None:
    async with room(store) as (_, sinks, members):
        sizes = [30_000, 10, 30_000, 40_000, 10]
        for id_, size in enumerate(sizes, 1):
            members[ANN].signal(SendSignal(to=BOB, id=id_, sealed=bytes(size)))
        await sinks[ANN].answered(len(sizes))
        assert sinks[ANN].answers == [
            Nack(id=id_, code=NackCode.TOO_LARGE) if size > 32_768 else Ack(id=id_)
            for id_, size in enumerate(sizes, 1)
        ]
