"""What an application sees of a mesh, on virtual time over memory transports."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from rtcmesh.peer import (
    Closed,
    EventsMissed,
    Identity,
    Mesh,
    MeshConfig,
    MessageRejected,
    MessageTooLarge,
    NotEncodable,
    PathChanged,
    PathChangeReason,
    PathKind,
    PeerGone,
    PeerJoined,
    PeerLeft,
    PresenceChanged,
)
from rtcmesh.peer.events import LeaveReason
from rtcmesh.peer.testing import MemoryNetwork, VirtualRoom, run_virtual, virtual_meshes, virtual_room
from rtcmesh.signaling.testing import dial_stream
from support.meshes import news, next_event, pair, until_direct

STRANGER = Identity.create().peer_id


class Pose(msgspec.Struct):
    x: int
    y: int


def in_room(scenario: Callable[[VirtualRoom], Awaitable[None]], config: MeshConfig | None = None) -> None:
    """Run a scenario in a room that runs."""

    async def main() -> None:
        async with virtual_room(config=config) as room:
            await scenario(room)

    run_virtual(main())


def with_meshes(
    count: int, scenario: Callable[..., Awaitable[None]], config: MeshConfig | None = None
) -> None:
    """Run a scenario with this many connected meshes."""

    async def main() -> None:
        async with virtual_meshes(count, config=config) as meshes:
            await scenario(*meshes)

    run_virtual(main())


def test_a_message_to_all_reaches_all() -> None:
    async def scenario(ann: Mesh, bob: Mesh, cat: Mesh) -> None:
        await ann.channel("chat").send("hello")
        for mesh in (bob, cat):
            message = await mesh.channel("chat").receive()
            assert (message.sender, message.data, message.channel) == (ann.peer_id, "hello", "chat")

    with_meshes(3, scenario)


def test_a_message_to_one_or_to_some_reaches_nobody_else() -> None:
    async def scenario(ann: Mesh, bob: Mesh, cat: Mesh, dan: Mesh) -> None:
        chat = ann.channel("chat")
        await chat.send("bob only", to=bob.peer_id)
        await chat.send("bob and cat", to=[bob.peer_id, cat.peer_id, bob.peer_id])
        await chat.send("all")
        got = [
            [(await mesh.channel("chat").receive()).data for _ in range(n)]
            for mesh, n in ((bob, 3), (cat, 2), (dan, 1))
        ]
        assert got == [["bob only", "bob and cat", "all"], ["bob and cat", "all"], ["all"]]

    with_meshes(4, scenario)


def test_every_kind_of_data_arrives_as_it_was_sent() -> None:
    async def scenario(ann: Mesh, bob: Mesh) -> None:
        values = [b"\x00bytes", "text", "", b"", {"a": [1, 2.5, None]}, bytes(63 * 1024 - 1), 7, None]
        for value in values:
            await ann.channel("any").send(value)
        await ann.channel("pose", type=Pose).send(Pose(1, 2))
        received = bob.channel("any")
        assert [(await received.receive()).data for _ in values] == values
        assert (await bob.channel("pose", type=Pose).receive()).data == Pose(1, 2)

    with_meshes(2, scenario)


def test_what_comes_before_the_channel_is_opened_waits_for_the_first_reader() -> None:
    async def scenario(ann: Mesh, bob: Mesh) -> None:
        for number in range(10):
            await ann.channel("early").send(number)
        await asyncio.sleep(60)
        assert [(await bob.channel("early").receive()).data for _ in range(10)] == list(range(10))

    with_meshes(2, scenario)


def test_what_is_sent_before_a_path_is_open_is_delivered_by_the_first_one() -> None:
    async def scenario(room: VirtualRoom) -> None:
        ann = await room.join("ann")
        bob = await room.join("bob")
        await next_event(ann.events(), PeerJoined)
        assert ann.peers[bob.peer_id].path is None
        await ann.channel("chat").send("early bird", to=bob.peer_id)
        assert (await bob.channel("chat").receive()).data == "early bird"

    in_room(scenario)


def test_local_misuse_is_a_typed_error_and_sends_nothing() -> None:
    async def scenario(ann: Mesh, bob: Mesh) -> None:
        chat = ann.channel("chat")
        with pytest.raises(MessageTooLarge) as too_large:
            await chat.send(bytes(16 * 1024 * 1024))
        assert too_large.value.limit_bytes == 16 * 1024 * 1024
        with pytest.raises(NotEncodable):
            await chat.send(object())
        with pytest.raises(PeerGone) as gone:
            await chat.send("to bob and a stranger", to=[STRANGER, bob.peer_id])
        assert gone.value.peer_ids == (STRANGER,)
        for label in ("", "x" * 256):
            with pytest.raises(ValueError, match="label"):
                ann.channel(label)
        with pytest.raises(ValueError, match="another type"):
            ann.channel("chat", type=Pose)
        assert ann.channel("chat") is chat
        await chat.send("good")
        received = bob.channel("chat")
        assert [(await received.receive()).data for _ in range(2)] == ["to bob and a stranger", "good"]

    with_meshes(2, scenario)


def test_there_are_at_most_as_many_channels_as_configured() -> None:
    async def scenario(ann: Mesh) -> None:
        for number in range(63):
            ann.channel(str(number))
        with pytest.raises(ValueError, match="at most 63"):
            ann.channel("one more")

    with_meshes(1, scenario)


def test_a_message_of_the_wrong_type_is_dropped_and_told() -> None:
    async def scenario(ann: Mesh, bob: Mesh) -> None:
        events = news(bob)
        await ann.channel("pose").send("not a pose")
        await ann.channel("pose").send({"x": 3, "y": 4})
        assert (await bob.channel("pose", type=Pose).receive()).data == Pose(3, 4)
        rejected = await next_event(events, MessageRejected)
        assert (rejected.peer_id, rejected.channel) == (ann.peer_id, "pose")

    with_meshes(2, scenario)


def test_events_tell_who_comes_how_they_are_reached_and_who_goes() -> None:
    async def scenario(room: VirtualRoom) -> None:
        ann = await room.join("ann")
        events = news(ann)
        bob = await room.join("bob", presence={"name": "Bob"})
        assert await anext(events) == PeerJoined(bob.peer_id, {"name": "Bob"})
        for kind, reason in (
            (PathKind.RELAYED, PathChangeReason.OPENED),
            (PathKind.DIRECT, PathChangeReason.UPGRADED),
        ):
            changed = await next_event(events, PathChanged)
            assert (changed.path, changed.reason) == (kind, reason)
        await bob.set_presence({"name": "Bob", "away": True})
        assert await anext(events) == PresenceChanged(bob.peer_id, {"name": "Bob", "away": True})
        assert ann.peers[bob.peer_id].presence == {"name": "Bob", "away": True}
        await bob.aclose()
        assert await anext(events) == PeerLeft(bob.peer_id, LeaveReason.LEFT, ())
        assert not ann.peers

    in_room(scenario)


def test_a_late_reader_of_events_is_told_who_is_there() -> None:
    async def scenario(ann: Mesh, bob: Mesh) -> None:
        events = ann.events()
        assert await anext(events) == PeerJoined(bob.peer_id, {})
        changed = await anext(events)
        assert isinstance(changed, PathChanged)
        assert (changed.path, changed.reason) == (ann.peers[bob.peer_id].path, PathChangeReason.OPENED)

    with_meshes(2, scenario)


def test_a_reader_that_is_too_slow_is_told_how_many_events_it_missed() -> None:
    async def scenario(ann: Mesh, bob: Mesh) -> None:
        await until_direct(ann, bob)
        events = news(ann)
        for number in range(10):
            await bob.set_presence({"number": number})
            await asyncio.sleep(1)
        assert await anext(events) == EventsMissed(6)
        rest = [await anext(events) for _ in range(4)]
        assert rest[-1] == PresenceChanged(bob.peer_id, {"number": 9})

    with_meshes(2, scenario, MeshConfig(max_queued_events=4))


def test_a_peer_that_stops_reading_slows_its_senders_and_costs_the_others_nothing() -> None:
    async def scenario(ann: Mesh, stuck: Mesh, bob: Mesh) -> None:
        loop = asyncio.get_running_loop()
        bulk = ann.channel("bulk")

        async def send_to_all() -> None:
            for number in range(200):
                await bulk.send(number.to_bytes(2) + bytes(10_000))

        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(send_to_all())
            received = bob.channel("bulk")
            first = 0
            while True:
                try:
                    async with asyncio.timeout(5):
                        assert int.from_bytes((await received.receive()).data[:2]) == first
                except TimeoutError:
                    break
                first += 1
            assert 90 < first < 115, (
                "what fits into the stuck peer's window, and into what is kept for it, went to bob"
            )
            assert not sending.done()
            await ann.channel("other").send("still goes", to=stuck.peer_id)
            assert (await stuck.channel("other").receive()).data == "still goes"
            before = loop.time()
            await asyncio.gather(read_numbers(stuck, 0, 200), read_numbers(bob, first, 200))
            assert loop.time() - before < 5

    async def read_numbers(mesh: Mesh, start: int, end: int) -> None:
        for number in range(start, end):
            assert int.from_bytes((await mesh.channel("bulk").receive()).data[:2]) == number

    with_meshes(3, scenario)


def test_a_cancelled_send_has_sent_all_or_nothing_to_each_peer() -> None:
    async def scenario(ann: Mesh, bob: Mesh) -> None:
        bulk = ann.channel("bulk")
        sent = 0

        async def send() -> None:
            nonlocal sent
            while True:
                await bulk.send(sent.to_bytes(2) + bytes(20_000))
                sent += 1

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(send(), 1)
        received = bob.channel("bulk")

        async def read() -> None:
            for number in range(sent):
                assert (await received.receive()).data == number.to_bytes(2) + bytes(20_000)
            assert (await received.receive()).data == b"after the cancelled one"

        await asyncio.gather(bulk.send(b"after the cancelled one"), read())

    with_meshes(2, scenario)


def test_closing_delivers_what_was_sent_and_then_says_goodbye() -> None:
    async def scenario(room: VirtualRoom) -> None:
        ann, bob = await pair(room)
        events = news(bob)
        for number in range(20):
            await ann.channel("chat").send(number.to_bytes(2) + bytes(9_000))
        await ann.aclose()
        assert (await next_event(events, PeerLeft)).reason is LeaveReason.LEFT
        for number in range(20):
            assert int.from_bytes((await bob.channel("chat").receive()).data[:2]) == number

    in_room(scenario)


def test_after_closing_everything_says_so() -> None:
    async def scenario(room: VirtualRoom) -> None:
        ann, bob = await pair(room)
        chat, events = ann.channel("chat"), news(ann)
        await bob.channel("chat").send("unread")
        await asyncio.sleep(1)
        waiting = asyncio.create_task(ann.wait_for_peers(5))
        await asyncio.gather(ann.aclose(), ann.aclose())
        await ann.aclose()
        with pytest.raises(Closed):
            await waiting
        with pytest.raises(Closed):
            await chat.send("too late")
        assert [message.data async for message in chat] == ["unread"]
        with pytest.raises(Closed):
            await chat.receive()
        assert [event async for event in events] == []
        assert [event async for event in news(ann)] == []

    in_room(scenario)


def test_senders_that_wait_while_the_mesh_closes_are_told() -> None:
    async def scenario(room: VirtualRoom) -> None:
        ann, _ = await pair(room)

        async def fill() -> None:
            while True:
                await ann.channel("bulk").send(bytes(30_000))

        sending = asyncio.create_task(fill())
        await asyncio.sleep(1)
        assert not sending.done()
        await ann.aclose()
        with pytest.raises(Closed):
            await sending

    in_room(scenario)


@pytest.mark.parametrize("moment", [0.0, 0.005, 0.011, 0.021, 0.031, 0.041, 0.052, 0.1])
def test_closing_at_any_moment_of_connecting_leaves_nothing_behind(moment: float) -> None:
    async def scenario(room: VirtualRoom) -> None:
        ann, bob = await asyncio.gather(room.join("ann"), room.join("bob"))
        events = news(bob)
        await asyncio.sleep(moment)
        before = asyncio.get_running_loop().time()
        await ann.aclose()
        assert asyncio.get_running_loop().time() - before < 2
        assert (await next_event(events, PeerLeft)).peer_id == ann.peer_id
        assert room.memory is not None
        await asyncio.sleep(1)
        assert not room.memory.transports

    in_room(scenario)


def test_a_peer_that_is_gone_cannot_be_waited_for() -> None:
    async def scenario(room: VirtualRoom) -> None:
        ann, bob = await pair(room)
        bob_id = bob.peer_id

        async def fill() -> None:
            while True:
                await ann.channel("bulk").send(bytes(30_000), to=bob_id)

        sending = asyncio.create_task(fill())
        await asyncio.sleep(1)
        await bob.aclose()
        with pytest.raises(PeerGone):
            await sending
        await ann.channel("bulk").send(b"nobody is there, and that is all of them")

    in_room(scenario)


def test_a_mesh_has_no_glare() -> None:
    async def scenario(room: VirtualRoom) -> None:
        meshes = await asyncio.gather(*(room.join(f"peer{number}") for number in range(8)))
        for mesh in meshes:
            await mesh.wait_for_peers(7)
        await until_direct(*meshes)
        assert {remote.stats().attempts for mesh in meshes for remote in mesh.peers.values()} == {1}
        assert room.memory is not None
        assert len(room.memory.transports) == 8 * 7

    in_room(scenario)


def test_what_the_block_raises_comes_out_as_it_is_and_the_mesh_is_closed() -> None:
    class OopsError(Exception):
        pass

    async def scenario(room: VirtualRoom) -> None:
        ann = await room.join("ann")
        events = news(ann)
        transports = MemoryNetwork().factory("bob")
        bobs: list[Mesh] = []

        async def join_and_fail() -> None:
            async with Mesh.join(room.url, room="virtual", dial=dial_stream, transports=transports) as bob:
                bobs.append(bob)
                await next_event(events, PeerJoined)
                raise OopsError

        with room.network.add_host("bob"), pytest.raises(OopsError):
            await join_and_fail()
        assert (await next_event(events, PeerLeft)).reason is LeaveReason.LEFT
        with pytest.raises(Closed):
            await bobs[0].channel("chat").send("too late")

    in_room(scenario)


def test_an_empty_room_secret_is_refused_at_once() -> None:
    async def scenario(room: VirtualRoom) -> None:
        with pytest.raises(ValueError, match="empty"):
            await room.join("ann", room_secret=b"")

    in_room(scenario)
