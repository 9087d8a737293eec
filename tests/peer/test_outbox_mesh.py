"""What an application sees of a channel with an outbox, on virtual time: restarts, absences, full and broken files."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from rtcmesh.peer import (
    Channel,
    Closed,
    Delivery,
    Identity,
    LeaveReason,
    Mesh,
    MeshConfig,
    MessageRejected,
    OutboxExpired,
    OutboxFailed,
    OutboxFull,
    OutboxInUse,
    OutboxMismatch,
    PeerGone,
    PeerLeft,
    PeerUnreachable,
    SessionExpired,
)
from rtcmesh.peer.codec import encode
from rtcmesh.peer.conversation import Outgoing
from rtcmesh.peer.outbox.stamps import RECEIPTS_LABEL, Receipt, Stamp, encode_receipts, stamped
from rtcmesh.peer.testing import VirtualRoom, run_virtual, virtual_room
from support.meshes import news, next_event

ANN, BOB, CAT = (Identity.create() for _ in range(3))


def in_room(scenario: Callable[[VirtualRoom], Awaitable[None]], config: MeshConfig | None = None) -> None:
    async def main() -> None:
        async with virtual_room(config=config) as room:
            await scenario(room)

    run_virtual(main())


async def take(channel: Channel[Any], count: int) -> list[Any]:
    return [(await channel.receive()).data for _ in range(count)]


async def nothing_more(channel: Channel[Any]) -> bool:
    try:
        async with asyncio.timeout(60):
            await channel.receive()
    except TimeoutError:
        return True
    return False


async def crash(room: VirtualRoom, name: str, mesh: Mesh) -> None:
    """End a mesh that nobody hears from any more: what it did not write before is not written, nor said."""
    room.isolate(name)
    await mesh.aclose()
    room.reconnect(name)


def test_a_message_is_delivered_and_then_forgotten(tmp_path: Path) -> None:
    async def scenario(room: VirtualRoom) -> None:
        ann = await room.join("ann", identity=ANN)
        bob = await room.join("bob", identity=BOB)
        chat = ann.channel("chat", outbox=tmp_path / "ann.db")
        await ann.wait_for_peers(1)
        for number in range(100):
            await chat.send(number)
        assert await take(bob.channel("chat"), 100) == list(range(100))
        await chat.flush()
        assert chat.waiting() == {}

    in_room(scenario)


def test_what_is_addressed_to_an_absent_peer_is_delivered_when_it_joins(tmp_path: Path) -> None:
    async def scenario(room: VirtualRoom) -> None:
        ann = await room.join("ann", identity=ANN)
        chat = ann.channel("chat", outbox=tmp_path / "ann.db")
        for number in range(10):
            await chat.send(number, to=[BOB.peer_id, CAT.peer_id])
        assert chat.waiting() == {BOB.peer_id: 10, CAT.peer_id: 10}
        bob = await room.join("bob", identity=BOB)
        assert await take(bob.channel("chat"), 10) == list(range(10))
        await chat.flush(to=BOB.peer_id)
        assert chat.waiting() == {CAT.peer_id: 10}

    in_room(scenario)


def test_a_sender_that_restarts_sends_what_was_not_delivered_and_nothing_twice(tmp_path: Path) -> None:
    async def scenario(room: VirtualRoom) -> None:
        ann = await room.join("ann", identity=ANN)
        bob = await room.join("bob", identity=BOB)
        chat = ann.channel("chat", outbox=tmp_path / "ann.db")
        await ann.wait_for_peers(1)
        for number in range(50):
            await chat.send(number)
        received = await take(bob.channel("chat"), 20)
        room.isolate("ann")
        for number in range(50, 100):
            await chat.send(number, to=BOB.peer_id)
        received += await take(bob.channel("chat"), 10)
        await crash(room, "ann", ann)
        ann = await room.join("ann", identity=ANN)
        chat = ann.channel("chat", outbox=tmp_path / "ann.db")
        await chat.send(100, to=BOB.peer_id)
        received += await take(bob.channel("chat"), 71)
        assert received == list(range(101))
        assert await nothing_more(bob.channel("chat"))
        assert chat.waiting() == {}

    in_room(scenario)


@pytest.mark.parametrize("durable", [True, False])
def test_a_receiver_that_restarts_is_sent_what_its_application_had_not_taken(
    tmp_path: Path, *, durable: bool
) -> None:
    async def scenario(room: VirtualRoom) -> None:
        outbox = tmp_path / "bob.db" if durable else None
        ann = await room.join("ann", identity=ANN)
        bob = await room.join("bob", identity=BOB)
        chat = ann.channel("chat", outbox=tmp_path / "ann.db")
        await ann.wait_for_peers(1)
        for number in range(50):
            await chat.send(number)
        received = await take(bob.channel("chat", outbox=outbox), 20)
        await asyncio.sleep(1)
        assert chat.waiting() == {BOB.peer_id: 30}
        events = news(ann)
        await crash(room, "bob", bob)
        bob = await room.join("bob", identity=BOB)
        left = await next_event(events, PeerLeft)
        assert left == PeerLeft(BOB.peer_id, LeaveReason.RESTARTED, ())
        received += await take(bob.channel("chat", outbox=outbox), 30)
        assert received == list(range(50))
        assert await nothing_more(bob.channel("chat", outbox=outbox))

    in_room(scenario)


@pytest.mark.parametrize("durable", [True, False])
def test_only_a_receipt_that_neither_arrived_nor_was_stored_lets_a_message_come_twice(
    tmp_path: Path, *, durable: bool
) -> None:
    async def scenario(room: VirtualRoom) -> None:
        outbox = tmp_path / "bob.db" if durable else None
        ann = await room.join("ann", identity=ANN)
        bob = await room.join("bob", identity=BOB)
        chat = ann.channel("chat", outbox=tmp_path / "ann.db")
        await ann.wait_for_peers(1)
        await chat.send("once")
        await asyncio.sleep(1)
        room.isolate("bob")
        assert await take(bob.channel("chat", outbox=outbox), 1) == ["once"]
        await asyncio.sleep(1)
        await crash(room, "bob", bob)
        bob = await room.join("bob", identity=BOB)
        again = await nothing_more(bob.channel("chat", outbox=outbox))
        assert again is durable
        await asyncio.sleep(1)
        assert chat.waiting() == {}

    in_room(scenario)


def test_both_restart_at_once(tmp_path: Path) -> None:
    async def scenario(room: VirtualRoom) -> None:
        ann = await room.join("ann", identity=ANN)
        bob = await room.join("bob", identity=BOB)
        await ann.wait_for_peers(1)
        received: list[int] = []
        for life in range(5):
            here = ann.channel("chat", outbox=tmp_path / "ann.db")
            there = bob.channel("chat", outbox=tmp_path / "bob.db")
            for number in range(20):
                await here.send(20 * life + number, to=BOB.peer_id)
            received += await take(there, 7)
            room.isolate("ann")
            received += await take(there, 2)
            await asyncio.gather(crash(room, "bob", bob), crash(room, "ann", ann))
            ann, bob = await asyncio.gather(room.join("ann", identity=ANN), room.join("bob", identity=BOB))
        ann.channel("chat", outbox=tmp_path / "ann.db")
        received += await take(bob.channel("chat", outbox=tmp_path / "bob.db"), 100 - len(received))
        assert received == list(range(100))
        assert await nothing_more(bob.channel("chat", outbox=tmp_path / "bob.db"))

    in_room(scenario)


def test_a_message_left_unread_by_the_session_before_is_not_delivered_again_by_the_next(
    tmp_path: Path,
) -> None:
    async def scenario(room: VirtualRoom) -> None:
        ann = await room.join("ann", identity=ANN)
        bob = await room.join("bob", identity=BOB)
        chat = ann.channel("chat", outbox=tmp_path / "ann.db")
        await ann.wait_for_peers(1)
        for number in range(10):
            await chat.send(number)
        await asyncio.sleep(1)
        await crash(room, "ann", ann)
        ann = await room.join("ann", identity=ANN)
        chat = ann.channel("chat", outbox=tmp_path / "ann.db")
        await chat.send(10, to=BOB.peer_id)
        await asyncio.sleep(10)
        assert await take(bob.channel("chat"), 11) == list(range(11))
        assert await nothing_more(bob.channel("chat"))

    in_room(scenario)


def test_a_session_that_expires_gives_back_what_no_outbox_keeps_and_the_rest_is_sent_again(
    tmp_path: Path,
) -> None:
    async def scenario(room: VirtualRoom) -> None:
        ann = await room.join("ann", identity=ANN)
        bob = await room.join("bob", identity=BOB)
        await ann.wait_for_peers(1)
        await bob.wait_for_peers(1)
        room.isolate("bob")
        events = news(ann)
        stored = ann.channel("stored", outbox=tmp_path / "ann.db")
        await stored.send("kept")
        await ann.channel("plain").send("given back")
        expired = await next_event(events, SessionExpired)
        assert [lost.data for lost in expired.undelivered] == ["given back"]
        room.reconnect("bob")
        assert await take(bob.channel("stored"), 1) == ["kept"]

    in_room(scenario, MeshConfig(session_timeout=20, rejoin_grace=600))


def test_a_session_with_nothing_but_stored_messages_does_not_expire(tmp_path: Path) -> None:
    async def scenario(room: VirtualRoom) -> None:
        ann = await room.join("ann", identity=ANN)
        bob = await room.join("bob", identity=BOB)
        await ann.wait_for_peers(1)
        await bob.wait_for_peers(1)
        room.isolate("bob")
        events = news(ann)
        stored = ann.channel("stored", outbox=tmp_path / "ann.db")
        for _ in range(100):
            await stored.send(bytes(10_000))
        await asyncio.sleep(25)
        room.reconnect("bob")
        assert len(await take(bob.channel("stored"), 100)) == 100
        await ann.aclose()
        assert not [event async for event in events if isinstance(event, SessionExpired | PeerLeft)]

    in_room(scenario, MeshConfig(session_timeout=20, rejoin_grace=600))


def test_a_peer_that_leaves_does_not_get_its_stored_messages_given_back(tmp_path: Path) -> None:
    async def scenario(room: VirtualRoom) -> None:
        ann = await room.join("ann", identity=ANN)
        bob = await room.join("bob", identity=BOB)
        chat = ann.channel("chat", outbox=tmp_path / "ann.db")
        await ann.wait_for_peers(1)
        events = news(ann)
        for number in range(100):
            await chat.send(bytes(10_000) + bytes([number]))
        await bob.aclose()
        assert (await next_event(events, PeerLeft)).undelivered == ()
        assert chat.waiting() == {BOB.peer_id: 100}
        bob = await room.join("bob", identity=BOB)
        assert [data[-1] for data in await take(bob.channel("chat"), 100)] == list(range(100))

    in_room(scenario)


def test_confirm_waits_for_the_remote_application_across_its_restart(tmp_path: Path) -> None:
    async def scenario(room: VirtualRoom) -> None:
        ann = await room.join("ann", identity=ANN)
        bob = await room.join("bob", identity=BOB)
        chat = ann.channel("chat", outbox=tmp_path / "ann.db")
        await ann.wait_for_peers(1)
        sending = asyncio.create_task(chat.send("hello", confirm=True))
        await asyncio.sleep(5)
        assert not sending.done()
        await crash(room, "bob", bob)
        bob = await room.join("bob", identity=BOB)
        assert await take(bob.channel("chat"), 1) == ["hello"]
        await sending

    in_room(scenario)


def test_closing_waits_for_the_receipts_of_those_who_read(tmp_path: Path) -> None:
    async def scenario(room: VirtualRoom) -> None:
        ann = await room.join("ann", identity=ANN)
        bob = await room.join("bob", identity=BOB)
        chat = ann.channel("chat", outbox=tmp_path / "ann.db")
        await ann.wait_for_peers(1)
        reading = asyncio.create_task(take(bob.channel("chat"), 1000))
        for number in range(1000):
            await chat.send(number)
        started = asyncio.get_running_loop().time()
        await ann.aclose()
        assert asyncio.get_running_loop().time() - started < 2
        assert await reading == list(range(1000))
        ann = await room.join("ann", identity=ANN)
        assert ann.channel("chat", outbox=tmp_path / "ann.db").waiting() == {}

    in_room(scenario)


def test_what_a_closed_mesh_had_not_given_to_its_application_comes_again(tmp_path: Path) -> None:
    async def scenario(room: VirtualRoom) -> None:
        ann = await room.join("ann", identity=ANN)
        bob = await room.join("bob", identity=BOB)
        chat = ann.channel("chat", outbox=tmp_path / "ann.db")
        await ann.wait_for_peers(1)
        for number in range(10):
            await chat.send(number)
        received = await take(bob.channel("chat"), 4)
        await bob.aclose()
        assert [message async for message in bob.channel("chat")] == []
        bob = await room.join("bob", identity=BOB)
        received += await take(bob.channel("chat"), 6)
        assert received == list(range(10))

    in_room(scenario)


def test_channels_that_share_a_file_keep_apart(tmp_path: Path) -> None:
    async def scenario(room: VirtualRoom) -> None:
        ann = await room.join("ann", identity=ANN)
        one, two = (ann.channel(label, outbox=tmp_path / "ann.db") for label in ("one", "two"))
        for number in range(10):
            await (one if number % 2 else two).send(number, to=BOB.peer_id)
        bob = await room.join("bob", identity=BOB)
        assert await take(bob.channel("one"), 5) == [1, 3, 5, 7, 9]
        assert two.waiting() == {BOB.peer_id: 5}
        assert await take(bob.channel("two"), 5) == [0, 2, 4, 6, 8]

    in_room(scenario)


SMALL = MeshConfig(outbox_max_bytes=20_000)


def test_a_full_outbox_lets_send_wait_while_somebody_reads(tmp_path: Path) -> None:
    async def scenario(room: VirtualRoom) -> None:
        ann = await room.join("ann", identity=ANN)
        bob = await room.join("bob", identity=BOB)
        chat = ann.channel("chat", outbox=tmp_path / "ann.db")
        await ann.wait_for_peers(1)
        sending = asyncio.create_task(send_all(chat, [bytes(5_000)] * 20))
        await asyncio.sleep(5)
        assert not sending.done()
        with pytest.raises(OutboxFull):
            chat.send_nowait(bytes(5_000), to=BOB.peer_id)
        assert len(await take(bob.channel("chat"), 20)) == 20
        await sending

    in_room(scenario, SMALL)


def test_a_full_outbox_says_so_when_nobody_is_there_to_make_room(tmp_path: Path) -> None:
    async def scenario(room: VirtualRoom) -> None:
        ann = await room.join("ann", identity=ANN)
        bob = await room.join("bob", identity=BOB)
        chat = ann.channel("chat", outbox=tmp_path / "ann.db")
        await ann.wait_for_peers(1)
        sending = asyncio.create_task(send_all(chat, [bytes(5_000)] * 20))
        await asyncio.sleep(5)
        await bob.aclose()
        with pytest.raises(OutboxFull) as raised:
            await sending
        assert raised.value.waiting == {BOB.peer_id: 3}
        with pytest.raises(OutboxFull):
            await chat.send(bytes(5_000), to=CAT.peer_id)
        assert chat.discard(to=BOB.peer_id) == 3
        await chat.send(bytes(5_000), to=CAT.peer_id)
        assert chat.waiting() == {CAT.peer_id: 1}
        with pytest.raises(OutboxFull):
            await chat.send(bytes(30_000), to=CAT.peer_id)
        assert chat.discard(to=CAT.peer_id) == 1
        first, second = await asyncio.gather(
            *(chat.send(bytes(12_000), to=CAT.peer_id) for _ in range(2)), return_exceptions=True
        )
        assert first is None
        assert isinstance(second, OutboxFull)

    in_room(scenario, SMALL)


def test_a_send_that_is_cancelled_while_it_waits_for_room_makes_way_for_the_next(tmp_path: Path) -> None:
    async def scenario(room: VirtualRoom) -> None:
        ann = await room.join("ann", identity=ANN)
        bob = await room.join("bob", identity=BOB)
        chat = ann.channel("chat", outbox=tmp_path / "ann.db")
        await ann.wait_for_peers(1)
        await chat.send(bytes(10_000))
        large = asyncio.create_task(chat.send(bytes(15_000)))
        small = asyncio.create_task(chat.send(b"small"))
        await asyncio.sleep(1)
        large.cancel()
        await small
        assert [len(data) for data in await take(bob.channel("chat"), 2)] == [10_000, 5]
        assert await nothing_more(bob.channel("chat"))

    in_room(scenario, SMALL)


def test_what_waits_too_long_expires_and_says_so(tmp_path: Path) -> None:
    async def scenario(room: VirtualRoom) -> None:
        ann = await room.join("ann", identity=ANN)
        events = news(ann)
        chat = ann.channel("chat", outbox=tmp_path / "ann.db")
        await chat.send("early", to=BOB.peer_id)
        confirming = asyncio.create_task(chat.send("early too", to=BOB.peer_id, confirm=True))
        await asyncio.sleep(400)
        await chat.send("late", to=BOB.peer_id)
        await asyncio.sleep(400)
        assert await next_event(events, OutboxExpired) == OutboxExpired(BOB.peer_id, "chat", 2)
        with pytest.raises(PeerUnreachable):
            await confirming
        bob = await room.join("bob", identity=BOB)
        assert await take(bob.channel("chat"), 1) == ["late"]

    in_room(scenario, MeshConfig(outbox_max_age=600))


def test_an_outbox_needs_an_identity_a_reliable_channel_and_a_mesh_that_is_open(tmp_path: Path) -> None:
    async def scenario(room: VirtualRoom) -> None:
        ann = await room.join("ann", identity=None)
        with pytest.raises(ValueError, match="identity that lasts"):
            ann.channel("chat", outbox=tmp_path / "ann.db")
        assert not (tmp_path / "ann.db").exists()
        bob = await room.join("bob", identity=BOB)
        with pytest.raises(ValueError, match="keeps reliable"):
            bob.channel("chat", delivery=Delivery.LATEST, outbox=tmp_path / "bob.db")
        chat = bob.channel("chat", outbox=tmp_path / "bob.db")
        assert bob.channel("chat", outbox=str(tmp_path / "bob.db")) is chat
        with pytest.raises(ValueError, match="another type, delivery, priority or outbox"):
            bob.channel("chat")
        for wrong in (BOB.peer_id, "nobody"):
            with pytest.raises(PeerGone):
                await chat.send("x", to=wrong)  # type: ignore[arg-type]
        await bob.aclose()
        with pytest.raises(Closed):
            await chat.send("x")
        with pytest.raises(Closed):
            bob.channel("other", outbox=tmp_path / "bob.db")

    in_room(scenario)


def test_one_file_serves_one_mesh_of_one_identity(tmp_path: Path) -> None:
    async def scenario(room: VirtualRoom) -> None:
        ann = await room.join("ann", identity=ANN)
        bob = await room.join("bob", identity=BOB)
        ann.channel("chat", outbox=tmp_path / "ann.db")
        with pytest.raises(OutboxInUse):
            bob.channel("chat", outbox=tmp_path / "ann.db")
        await ann.aclose()
        with pytest.raises(OutboxMismatch, match="belongs to"):
            bob.channel("chat", outbox=tmp_path / "ann.db")
        bob.channel("chat", outbox=tmp_path / "bob.db")

    in_room(scenario)


def test_a_file_that_is_no_outbox_or_of_another_version_is_left_alone(tmp_path: Path) -> None:
    async def scenario(room: VirtualRoom) -> None:
        ann = await room.join("ann", identity=ANN)
        text = tmp_path / "text"
        text.write_text("not a database, but long enough to have a header that is read" * 100)
        before = text.read_bytes()
        other = tmp_path / "other.db"
        with sqlite3.connect(other) as database:
            database.execute("CREATE TABLE song (title TEXT)")
        database.close()
        for path in (text, other):
            with pytest.raises(OutboxMismatch):
                ann.channel("chat", outbox=path)
        assert text.read_bytes() == before
        await (await room.join("cat", identity=CAT)).aclose()
        newer = tmp_path / "newer.db"
        dan = await room.join("dan", identity=CAT)
        dan.channel("chat", outbox=newer)
        await dan.aclose()
        with sqlite3.connect(newer) as database:
            database.execute("PRAGMA user_version = 2")
        database.close()
        with pytest.raises(OutboxMismatch, match="version 2"):
            ann.channel("chat", outbox=newer)
        with pytest.raises(OutboxFailed):
            ann.channel("chat", outbox=tmp_path / "missing" / "ann.db")
        with pytest.raises(OutboxFailed):
            ann.channel("chat", outbox=tmp_path)

    in_room(scenario)


def test_a_full_disk_fails_the_send_and_loses_nothing_that_was_stored(tmp_path: Path) -> None:
    async def scenario(room: VirtualRoom) -> None:
        ann = await room.join("ann", identity=ANN)
        chat = ann.channel("chat", outbox=tmp_path / "ann.db")
        await chat.send("before", to=BOB.peer_id)
        database = ann._outboxes._by_label["chat"]._file._database
        (pages,) = database.execute("PRAGMA page_count").fetchone()
        database.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(OutboxFailed) as raised:
            await chat.send(bytes(100_000), to=BOB.peer_id)
        assert "full" in str(raised.value.__cause__)
        with pytest.raises(OutboxFailed):
            chat.send_nowait(bytes(100_000), to=BOB.peer_id)
        database.execute("PRAGMA max_page_count = 100000")
        await chat.send("after", to=BOB.peer_id)
        assert chat.waiting() == {BOB.peer_id: 2}
        bob = await room.join("bob", identity=BOB)
        assert await take(bob.channel("chat"), 2) == ["before", "after"]

    in_room(scenario)


def test_a_damaged_file_fails_those_who_use_it_and_nobody_else(tmp_path: Path) -> None:
    async def scenario(room: VirtualRoom) -> None:
        ann = await room.join("ann", identity=ANN)
        chat = ann.channel("chat", outbox=tmp_path / "ann.db")
        confirming = asyncio.create_task(chat.send("lost", to=BOB.peer_id, confirm=True))
        await asyncio.sleep(1)
        ann._outboxes._by_label["chat"]._file._database.execute("DELETE FROM message")
        bob = await room.join("bob", identity=BOB)
        with pytest.raises(OutboxFailed):
            await confirming
        with pytest.raises(OutboxFailed):
            await chat.send("x")
        await ann.channel("plain").send("x")
        assert await take(bob.channel("plain"), 1) == ["x"]

    in_room(scenario)


def test_an_outbox_restored_from_a_backup_sends_its_new_messages_all_the_same(tmp_path: Path) -> None:
    async def scenario(room: VirtualRoom) -> None:
        bob = await room.join("bob", identity=BOB)
        for life in range(3):
            ann = await room.join("ann", identity=ANN)
            chat = ann.channel("chat", outbox=tmp_path / "ann.db")
            for number in range(5):
                await chat.send((life, number), to=BOB.peer_id)
            assert await take(bob.channel("chat"), 5) == [[life, number] for number in range(5)]
            await ann.aclose()
            if life == 0:
                shutil.copy(tmp_path / "ann.db", tmp_path / "backup.db")
            shutil.copy(tmp_path / "backup.db", tmp_path / "ann.db")

    in_room(scenario)


def test_a_send_that_is_cancelled_before_it_is_stored_is_in_the_outbox_for_all_or_for_none(
    tmp_path: Path,
) -> None:
    async def scenario(room: VirtualRoom) -> None:
        ann = await room.join("ann", identity=ANN)
        chat = ann.channel("chat", outbox=tmp_path / "ann.db")
        for turns in range(4):
            sending = asyncio.create_task(chat.send(turns, to=[BOB.peer_id, CAT.peer_id], confirm=True))
            for _ in range(turns):
                await asyncio.sleep(0)
            sending.cancel()
            await asyncio.wait([sending])
            flushing = asyncio.create_task(chat.flush(to=BOB.peer_id))
            for _ in range(turns):
                await asyncio.sleep(0)
            flushing.cancel()
            await asyncio.wait([flushing])
        await asyncio.sleep(1)
        waiting = chat.waiting()
        assert waiting[BOB.peer_id] == waiting[CAT.peer_id] in (2, 3)
        assert not any(ann._outboxes._by_label["chat"]._unconfirmed.values())
        await chat.send("last", to=BOB.peer_id)
        bob = await room.join("bob", identity=BOB)
        received = await take(bob.channel("chat"), waiting[BOB.peer_id] + 1)
        assert received[-1] == "last"
        assert received[:-1] == sorted(received[:-1])

    in_room(scenario)


def test_what_a_hostile_peer_says_of_outboxes_touches_its_own_messages_alone(tmp_path: Path) -> None:
    async def scenario(room: VirtualRoom) -> None:
        ann = await room.join("ann", identity=ANN)
        bob = await room.join("bob", identity=BOB)
        await ann.wait_for_peers(1)
        await bob.wait_for_peers(1)
        events = news(ann)
        chat = ann.channel("chat", outbox=tmp_path / "ann.db")
        await chat.send("x", to=[BOB.peer_id, CAT.peer_id])
        hostile = bob._members.remotes[ANN.peer_id].conversation

        def say(label: str, payload: bytes, delivery: Delivery, *, stored: bool = False) -> None:
            hostile.send(Outgoing(label, payload, delivery, stored=stored))

        outbox = ann._outboxes._by_label["chat"].outbox
        say(RECEIPTS_LABEL, b"\xc1 no msgpack", Delivery.RELIABLE)
        say(
            RECEIPTS_LABEL,
            encode_receipts([Receipt("chat", outbox + 1, 2**63), Receipt("none", outbox, 2**64 - 1)]),
            Delivery.RELIABLE,
        )
        say("short", b"no stamp", Delivery.RELIABLE, stored=True)
        say("large", b"\xff" * 40, Delivery.RELIABLE, stored=True)
        say("anyhow", stamped(Stamp(1, 5), encode("five")), Delivery.UNORDERED, stored=True)
        for label in ("short", "large"):
            reading = asyncio.create_task(ann.channel(label).receive())
            assert (await next_event(events, MessageRejected)).peer_id == BOB.peer_id
            await asyncio.sleep(1)
            reading.cancel()
        assert await take(ann.channel("anyhow"), 1) == ["five"]
        assert chat.waiting() == {BOB.peer_id: 1, CAT.peer_id: 1}
        say(RECEIPTS_LABEL, encode_receipts([Receipt("chat", outbox, 2**64 - 1)]), Delivery.RELIABLE)
        await chat.flush(to=BOB.peer_id)
        assert chat.waiting() == {CAT.peer_id: 1}

    in_room(scenario)


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    async def scenario(room: VirtualRoom) -> None:
        ann = await room.join("ann", identity=ANN)
        await ann.channel("chat", outbox=tmp_path / "ann.db").send("secret", to=BOB.peer_id)
        assert modes(tmp_path) == {"ann.db": 0o600, "ann.db-wal": 0o600}

    in_room(scenario)


def test_a_second_mesh_that_was_refused_the_file_has_not_broken_the_lock_of_the_first(tmp_path: Path) -> None:
    async def scenario(room: VirtualRoom) -> None:
        ann = await room.join("ann", identity=ANN)
        bob = await room.join("bob", identity=BOB)
        ann.channel("chat", outbox=tmp_path / "ann.db")
        with pytest.raises(OutboxInUse):
            bob.channel("chat", outbox=tmp_path / "ann.db")
        assert "database is locked" in opened_elsewhere(tmp_path / "ann.db")

    in_room(scenario)


def test_two_files_of_one_mesh_and_messages_to_all(tmp_path: Path) -> None:
    async def scenario(room: VirtualRoom) -> None:
        ann = await room.join("ann", identity=ANN)
        bob = await room.join("bob", identity=BOB)
        cat = await room.join("cat", identity=CAT)
        await ann.wait_for_peers(2)
        one = ann.channel("one", outbox=tmp_path / "one.db")
        two = ann.channel("two", outbox=tmp_path / "two.db")
        await asyncio.gather(one.send(bytes(300_000)), two.send("two"), one.send("after"))
        one.send_nowait("last")
        for mesh in (bob, cat):
            assert await take(mesh.channel("one"), 3) == [bytes(300_000), "after", "last"]
            assert await take(mesh.channel("two"), 1) == ["two"]
        await asyncio.gather(one.flush(), two.flush())
        assert ann._outboxes._by_label["one"]._outbox.cost_bytes == 0
        await ann.aclose()
        with sqlite3.connect(tmp_path / "one.db") as database:
            counts = [
                database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                for table in ("pending", "message")
            ]
        database.close()
        assert counts == [0, 0]

    in_room(scenario)


def modes(directory: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()}


def opened_elsewhere(path: Path) -> str:
    """Return what another process says that reads the file."""
    program = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('SELECT * FROM owner')"
    command = [sys.executable, "-c", program, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


async def send_all(channel: Channel[Any], messages: list[Any]) -> None:
    for message in messages:
        await channel.send(message, to=BOB.peer_id)
