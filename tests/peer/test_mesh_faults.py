"""Meshes whose paths, peers and server fail, on virtual time."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from random import Random

import pytest

from rtcmesh.peer import (
    Identity,
    JoinRefused,
    LeaveReason,
    Mesh,
    PathChanged,
    PathChangeReason,
    PathKind,
    PeerJoined,
    PeerLeft,
    SessionExpired,
    SignalingLost,
    SignalingResumed,
    SignalingUnreachable,
    Undelivered,
)
from rtcmesh.peer.paths.transport import HIGH_WATER_BYTES
from rtcmesh.peer.session.frames import PACKET_BYTES
from rtcmesh.peer.testing import MemoryNetwork, VirtualRoom, run_virtual, virtual_room
from rtcmesh.signaling.codes import RefusalCode
from rtcmesh.signaling.config import ClientConfig, ServiceConfig
from rtcmesh.signaling.room import RoomLimits
from support.meshes import DIRECT_ONLY, RELAY_ONLY, news, next_event, pair, until_direct


def memory(room: VirtualRoom) -> MemoryNetwork:
    assert room.memory is not None
    return room.memory


async def send_numbers(mesh: Mesh, count: int, pause: float) -> None:
    for number in range(count):
        await mesh.channel("numbers").send(number)
        await asyncio.sleep(pause)


async def expect_numbers(mesh: Mesh, count: int) -> None:
    for number in range(count):
        assert (await mesh.channel("numbers").receive()).data == number


def test_a_silent_path_is_given_up_and_another_one_continues_the_conversation() -> None:
    async def main() -> None:
        async with virtual_room(config=DIRECT_ONLY) as room:
            ann, bob = await pair(room)
            events = news(ann)
            reading = asyncio.create_task(expect_numbers(bob, 200))
            sending = asyncio.create_task(send_numbers(ann, 200, 0.1))
            await asyncio.sleep(5)
            memory(room).cut("ann", "bob")
            lost = await next_event(events, PathChanged)
            assert (lost.path, lost.reason) == (None, PathChangeReason.SILENT)
            assert ann.peers[bob.peer_id].rtt is None
            memory(room).heal("ann", "bob")
            found = await next_event(events, PathChanged)
            assert (found.path, found.reason) == (PathKind.DIRECT, PathChangeReason.OPENED)
            await sending
            await reading

    run_virtual(main())


def test_the_round_trip_time_is_measured() -> None:
    async def main() -> None:
        async with virtual_room(config=DIRECT_ONLY, memory=MemoryNetwork(delay=0.04)) as room:
            ann, bob = await pair(room)
            await asyncio.sleep(3)
            assert ann.peers[bob.peer_id].rtt == pytest.approx(0.08)

    run_virtual(main())


def test_a_slow_transport_holds_messages_back_and_takes_them_when_it_can() -> None:
    async def main() -> None:
        async with virtual_room(
            config=DIRECT_ONLY, memory=MemoryNetwork(delay=0.04, bytes_per_second=50_000)
        ) as room:
            ann, bob = await pair(room)
            buffered: list[int] = []

            async def send() -> None:
                for number in range(40):
                    await ann.channel("bulk").send(number.to_bytes(2) + bytes(20_000))
                    buffered.extend(end.buffered_amount for end in memory(room).transports.values())

            sending = asyncio.create_task(send())
            for number in range(40):
                assert int.from_bytes((await bob.channel("bulk").receive()).data[:2]) == number
            await sending
            assert 0 < max(buffered) < HIGH_WATER_BYTES + 2 * PACKET_BYTES

    run_virtual(main())


@pytest.mark.parametrize("seed", range(12))
def test_nothing_is_lost_repeated_or_reordered_whatever_dies(seed: int) -> None:
    """Three peers talk all the time while pairs are cut and healed, transports die and the server restarts."""

    async def main() -> None:
        chance = Random(seed)
        async with virtual_room(config=DIRECT_ONLY) as room:
            meshes = await asyncio.gather(*(room.join(name) for name in "abc"))
            count = 150

            async def read(mesh: Mesh) -> None:
                expected: dict[str, int] = {}
                for _ in range(2 * count):
                    message = await mesh.channel("numbers").receive()
                    assert message.data == expected.get(message.sender, 0)
                    expected[message.sender] = message.data + 1
                    if chance.random() < 0.01:
                        await asyncio.sleep(chance.uniform(0, 2))

            async def break_things() -> None:
                while True:
                    await asyncio.sleep(chance.uniform(0, 6))
                    one, other = chance.sample("abc", 2)
                    match chance.randrange(4):
                        case 0 | 1:
                            memory(room).cut(one, other)
                            await asyncio.sleep(chance.choice([0.5, 3, 8]))
                            memory(room).heal(one, other)
                        case 2 if memory(room).transports:
                            chance.choice(list(memory(room).transports.values())).lose("killed")
                        case _:
                            await room.kill_server()
                            await asyncio.sleep(chance.uniform(0, 5))
                            await room.start_server()

            for mesh in meshes:
                await mesh.wait_for_peers(2)
            breaking = asyncio.create_task(break_things())
            async with asyncio.TaskGroup() as tasks:
                for mesh in meshes:
                    tasks.create_task(send_numbers(mesh, count, 0.3))
                    tasks.create_task(read(mesh))
            breaking.cancel()
            await asyncio.gather(breaking, return_exceptions=True)
            if not room.server_is_running:
                await room.start_server()
            for one, other in ("ab", "bc", "ac"):
                memory(room).heal(one, other)

    run_virtual(main(), seed=seed)


def test_a_restarted_server_disturbs_no_path_and_finds_everybody_again() -> None:
    async def main() -> None:
        async with virtual_room(config=DIRECT_ONLY) as room:
            ann, bob = await pair(room)
            events = news(ann)
            sending = asyncio.create_task(send_numbers(ann, 300, 0.2))
            reading = asyncio.create_task(expect_numbers(bob, 300))
            await asyncio.sleep(5)
            await room.kill_server()
            await asyncio.sleep(20)
            await room.start_server()
            await sending
            await reading
            cat = await room.join("cat")
            await asyncio.gather(ann.wait_for_peers(2), cat.wait_for_peers(2))
            attempts = {remote.stats().attempts for remote in ann.peers.values()}
            await ann.aclose()
            seen = [event async for event in events]
            kinds = [type(event) for event in seen]
            assert kinds == [SignalingLost, SignalingResumed, PeerJoined, PathChanged]
            assert seen[1] == SignalingResumed(continued=False)
            assert attempts == {1}

    run_virtual(main())


def test_a_path_that_dies_while_the_server_is_down_is_restored_when_it_is_back() -> None:
    async def main() -> None:
        async with virtual_room(config=DIRECT_ONLY) as room:
            ann, bob = await pair(room)
            sending = asyncio.create_task(send_numbers(ann, 100, 0.2))
            reading = asyncio.create_task(expect_numbers(bob, 100))
            await asyncio.sleep(2)
            await room.kill_server()
            next(iter(memory(room).transports.values())).lose("killed")
            await asyncio.sleep(10)
            assert ann.peers[bob.peer_id].path is None
            await room.start_server()
            await reading
            await sending

    run_virtual(main())


def test_a_peer_that_dies_is_given_up_with_a_count_of_what_it_did_not_get() -> None:
    async def main() -> None:
        async with virtual_room(config=DIRECT_ONLY) as room:
            ann, bob = await pair(room)
            events = news(ann)
            room.isolate("bob")
            await ann.channel("chat").send("one")
            await ann.channel("chat").send("two")
            left = await next_event(events, PeerLeft)
            undelivered = (Undelivered("chat", "one"), Undelivered("chat", "two"))
            assert left == PeerLeft(bob.peer_id, LeaveReason.EXPIRED, undelivered)
            room.reconnect("bob")

    run_virtual(main())


def test_two_peers_that_lost_each_other_for_long_find_each_other_again() -> None:
    async def main() -> None:
        async with virtual_room(config=DIRECT_ONLY) as room:
            ann, bob = await pair(room)
            events = {mesh: news(mesh) for mesh in (ann, bob)}
            room.isolate("bob")
            await asyncio.sleep(300)
            assert not ann.peers
            room.reconnect("bob")
            assert (await next_event(events[ann], PeerLeft)).reason is LeaveReason.EXPIRED
            await asyncio.gather(ann.wait_for_peers(1), bob.wait_for_peers(1))
            await ann.channel("again").send("hello", to=bob.peer_id)
            assert (await bob.channel("again").receive()).data == "hello"
            await bob.channel("again").send("hello yourself", to=ann.peer_id)
            assert (await ann.channel("again").receive()).data == "hello yourself"

    run_virtual(main())


def test_a_short_isolation_costs_nothing_but_time() -> None:
    async def main() -> None:
        async with virtual_room(config=DIRECT_ONLY) as room:
            ann, bob = await pair(room)
            events = news(ann)
            await bob.channel("numbers").send(0)
            room.isolate("bob")
            await bob.channel("numbers").send(1)
            await asyncio.sleep(12)
            room.reconnect("bob")
            await bob.channel("numbers").send(2)
            await expect_numbers(ann, 3)
            await ann.aclose()
            assert [event async for event in events if isinstance(event, PeerLeft)] == []

    run_virtual(main())


def test_another_process_with_the_same_identity_is_not_taken_for_the_one_before() -> None:
    async def main() -> None:
        async with virtual_room(config=DIRECT_ONLY) as room:
            identity = Identity.create()
            ann = await room.join("ann")
            first = await room.join("bob", identity=identity)
            await asyncio.gather(ann.wait_for_peers(1), first.wait_for_peers(1))
            await asyncio.sleep(1)
            events, first_events = news(ann), news(first)
            room.isolate("bob")
            await ann.channel("chat").send("lost with the first process")
            second = await room.join("bob2", identity=identity)
            await second.wait_for_peers(1)
            undelivered = (Undelivered("chat", "lost with the first process"),)
            left = await next_event(events, PeerLeft)
            assert left == PeerLeft(second.peer_id, LeaveReason.RESTARTED, undelivered)
            assert await next_event(events, PeerJoined) == PeerJoined(second.peer_id, {})
            await ann.channel("chat").send("for the second one")
            assert (await second.channel("chat").receive()).data == "for the second one"
            room.reconnect("bob")
            lost = await next_event(first_events, SignalingLost)
            while not lost.final:
                lost = await next_event(first_events, SignalingLost)

    run_virtual(main())


def test_peers_with_different_room_secrets_never_connect(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with virtual_room(config=DIRECT_ONLY) as room:
            ann = await room.join("ann", room_secret=b"one secret of 256 bits")
            bob = await room.join("bob", room_secret=b"and another")
            await asyncio.sleep(30)
            assert (ann.peers[bob.peer_id].path, bob.peers[ann.peer_id].path) == (None, None)
            assert (
                ann.peers[bob.peer_id].stats().rejected_signals
                + bob.peers[ann.peer_id].stats().rejected_signals
                > 0
            )

    with caplog.at_level(logging.ERROR):
        run_virtual(main())


@pytest.mark.parametrize("garbage", [b"", b"\x00", b"\xff" * 100, b"\x03" + bytes(14)])
def test_a_peer_that_breaks_the_protocol_loses_its_path_and_nobody_else_notices(garbage: bytes) -> None:
    async def main() -> None:
        async with virtual_room(config=DIRECT_ONLY) as room:
            ann, bob = await pair(room)
            cat = await room.join("cat")
            await cat.wait_for_peers(2)
            events = news(ann)
            bobs = next(
                t
                for t in memory(room).transports.values()
                if t.name == "bob" and t.remote and t.remote.name == "ann"
            )
            if garbage:
                bobs.send(garbage)
            bobs.send_datagram(garbage)
            broken = await next_event(events, PathChanged)
            assert (broken.peer_id, broken.reason) == (bob.peer_id, PathChangeReason.PROTOCOL_VIOLATION)
            opened = await next_event(events, PathChanged)
            assert (opened.peer_id, opened.path) == (bob.peer_id, PathKind.DIRECT)
            assert cat.peers[ann.peer_id].stats().attempts == 1

    run_virtual(main())


def test_a_server_that_does_not_answer_is_a_typed_error() -> None:
    async def main() -> None:
        async with virtual_room(config=DIRECT_ONLY) as room:
            await room.kill_server()
            with pytest.raises(SignalingUnreachable):
                await room.join("ann", config=replace(DIRECT_ONLY, signaling=ClientConfig(connect_timeout=3)))
            await room.start_server()

    run_virtual(main())


def test_a_full_room_is_a_typed_error() -> None:
    async def main() -> None:
        service = ServiceConfig(room=RoomLimits(max_members=1))
        async with virtual_room(service=service) as room:
            await room.join("ann")
            with pytest.raises(JoinRefused) as refused:
                await room.join("bob")
            assert refused.value.code is RefusalCode.ROOM_FULL

    run_virtual(main())


@pytest.mark.parametrize("seed", range(5))
def test_where_signaling_is_back_the_relay_is_dialled_at_once(seed: int) -> None:
    """A restart of the server that runs both costs one pause of the backoff, not the longer of two."""

    async def main() -> None:
        async with virtual_room(config=RELAY_ONLY) as room:
            ann, bob = await asyncio.gather(room.join("ann"), room.join("bob"))
            for mesh in (ann, bob):
                await mesh.wait_for_peers(1)
            streams = news(ann), news(bob)
            await room.kill_server()
            await room.kill_relay()
            await asyncio.sleep(20)
            await room.start_relay()
            await room.start_server()
            for stream in streams:
                await next_event(stream, SignalingResumed)
            async with asyncio.timeout(1):
                for mesh in (ann, bob):
                    await mesh.wait_for_peers(1)

    run_virtual(main(), seed=seed)


@pytest.mark.parametrize("seconds", [20, 60, 110])
def test_a_peer_that_is_cut_off_for_less_than_the_session_timeout_continues_where_it_stood(
    seconds: float,
) -> None:
    """As a closed laptop does. The server gives it up meanwhile; those who talk to it do not."""

    async def main() -> None:
        async with virtual_room() as room:
            ann, bob = await pair(room)
            streams = news(ann), news(bob)
            room.isolate("bob")
            await ann.channel("chat").send("to bob")
            await bob.channel("chat").send("to ann")
            await asyncio.sleep(seconds)
            room.reconnect("bob")
            assert (await bob.channel("chat").receive()).data == "to bob"
            assert (await ann.channel("chat").receive()).data == "to ann"
            await until_direct(ann, bob)
            for stream in streams:
                assert not [event for event in stream._events if isinstance(event, PeerLeft | SessionExpired)]

    run_virtual(main())
