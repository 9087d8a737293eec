"""What the relay does with peers that lie, shout, fall silent, stop reading, or are too many."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtcmesh.netem import run_virtual
from rtcmesh.relay.codes import CloseCode, GoneReason, NackReason
from rtcmesh.relay.config import MAX_SOCKET_FRAME_BYTES, RelayConfig
from rtcmesh.relay.errors import SocketClosed
from rtcmesh.relay.frames import (
    MAX_PAYLOAD_BYTES,
    Closed,
    Draining,
    FrameType,
    Join,
    Limit,
    Nack,
    PeerGone,
    Ping,
    Pong,
    Recv,
    Urgency,
    encode_join,
    encode_ping,
    key_of,
)
from rtcmesh.relay.proof import sign_join
from rtcmesh.relay.switch import SwitchLimits
from rtcmesh.signaling.ticket import TicketKey
from support.members import Member
from support.relays import Killed, RawClient, RelayLab, ticket_for
from support.virtual import on_virtual_time

ALICE, BOB, EVE = (Member(number=number) for number in (1, 2, 3))


def forged_joins(nonce: bytes) -> dict[str, tuple[Join, CloseCode]]:
    ticket = ticket_for(3)
    proof = sign_join(EVE.identity, nonce=nonce, ticket=ticket, number=1)
    join = Join(1, proof, ticket)
    other_key = ticket_for(3, key=TicketKey.create())
    return {
        "no proof": (join._replace(proof=bytes(64)), CloseCode.BAD_PROOF),
        "another's ticket": (join._replace(ticket=ticket_for(1)), CloseCode.BAD_PROOF),
        "another room's ticket": (join._replace(ticket=ticket_for(3, room="vault")), CloseCode.BAD_PROOF),
        "another number": (join._replace(number=2), CloseCode.BAD_PROOF),
        "an old nonce": (
            join._replace(proof=sign_join(EVE.identity, nonce=bytes(32), ticket=ticket, number=1)),
            CloseCode.BAD_PROOF,
        ),
        "an expired ticket": (join._replace(ticket=ticket_for(3, expires_at=-1.0)), CloseCode.BAD_TICKET),
        "a ticket of another issuer": (join._replace(ticket=other_key), CloseCode.BAD_TICKET),
        "no ticket": (join._replace(ticket="x"), CloseCode.BAD_TICKET),
    }


@pytest.mark.parametrize("forgery", forged_joins(b""))
@on_virtual_time
async def test_a_join_without_the_right_ticket_and_proof_is_refused(forgery: str) -> None:
    lab = RelayLab()
    async with lab.relay() as relay, lab.link(1) as (_, sink), lab.raw(3) as eve:
        join, code = forged_joins((await eve.challenged()).nonce)[forgery]
        await eve.socket.send(encode_join(join))
        await eve.send(1, b"behind a join that is refused")
        frames, closed_with = await eve.last_words()
        (closed,) = frames
        assert isinstance(closed, Closed)
        assert closed.code == closed_with == code
        assert relay.stats.endings[code.name.lower()] == 1
        assert relay.stats.joins == 1
        assert sink.frames == []


@on_virtual_time
async def test_frames_behind_a_join_are_forwarded_before_anything_is_answered() -> None:
    lab = RelayLab()
    async with lab.relay(), lab.link(2) as (_, to_bob), lab.raw(1) as alice:
        await alice.join()
        await alice.send(2, b"at once")
        await to_bob.got(1)
        assert to_bob.frames == [(ALICE.peer_id, b"at once")]


@on_virtual_time
async def test_a_peer_that_does_not_join_is_shown_out() -> None:
    lab = RelayLab()
    async with lab.relay() as relay, lab.raw(3) as eve:
        await eve.challenged()
        _, code = await eve.last_words()
        assert code == CloseCode.JOIN_TIMEOUT
        assert asyncio.get_running_loop().time() < 11
        assert relay.stats.connections == 0


@pytest.mark.parametrize("frame", [b"", b"\xff", bytes([FrameType.RECV]) + bytes(40), b"\x02\x01short"])
@on_virtual_time
async def test_what_is_no_frame_ends_the_connection_with_a_code(frame: bytes) -> None:
    lab = RelayLab()
    async with lab.relay(), lab.link(1) as (alice, _), lab.raw(3) as eve:
        await eve.welcomed()
        await eve.socket.send(frame)
        frames, code = await eve.last_words()
        assert code == CloseCode.PROTOCOL_VIOLATION
        assert isinstance(frames[-1], Closed)
        assert alice.is_up


@on_virtual_time
async def test_a_second_join_and_a_frame_before_the_join_are_violations() -> None:
    lab = RelayLab()
    async with lab.relay(), lab.raw(1) as alice, lab.raw(2) as bob:
        await alice.challenged()
        await alice.send(2, b"before")
        assert (await alice.last_words())[1] == CloseCode.PROTOCOL_VIOLATION
        await bob.welcomed()
        await bob.socket.send(encode_join(Join(1, bytes(64), "again")))
        assert (await bob.last_words())[1] == CloseCode.PROTOCOL_VIOLATION


@settings(max_examples=30)
@given(st.lists(st.binary(max_size=80), max_size=8))
def test_any_bytes_leave_the_others_alone(garbage: list[bytes]) -> None:
    async def main() -> None:
        lab = RelayLab()
        async with lab.relay(), lab.link(1) as (alice, sink), lab.raw(3) as eve:
            await eve.welcomed()
            try:
                for frame in garbage:
                    await eve.socket.send(frame)
                    await asyncio.sleep(0.1)
            except SocketClosed:
                pass
            alice.send(ALICE.peer_id, b"still here", Urgency.CONTROL)
            await sink.until(lambda: (ALICE.peer_id, b"still here") in sink.frames)

    run_virtual(main())


@on_virtual_time
async def test_a_payload_that_is_too_large_is_nacked_and_a_huge_frame_ends_the_connection() -> None:
    lab = RelayLab()
    async with lab.relay(), lab.link(2) as (bob, _), lab.raw(1) as alice:
        await alice.welcomed()
        await alice.send(2, bytes(MAX_PAYLOAD_BYTES + 1))
        assert await alice.receive() == Nack(key_of(BOB.peer_id), NackReason.TOO_LARGE, 1)
        await alice.socket.send(bytes(MAX_SOCKET_FRAME_BYTES + 1))
        await alice.last_words()
        assert bob.is_up


@on_virtual_time
async def test_the_relay_answers_pings_and_pings_a_silent_peer_before_it_gives_it_up() -> None:
    lab = RelayLab()
    async with lab.relay() as relay, lab.raw(1) as alice:
        await alice.welcomed()
        await alice.socket.send(encode_ping(7))
        assert await alice.receive() == Pong(7)
        frames, code = await alice.last_words()
        assert any(isinstance(frame, Ping) for frame in frames)
        assert code == CloseCode.HEARTBEAT_TIMEOUT
        assert relay.peers == 0


@on_virtual_time
async def test_a_half_open_connection_is_given_up_and_its_peers_are_told() -> None:
    lab = RelayLab()
    async with lab.relay() as relay, lab.link(1) as (alice, sink):
        async with lab.raw(2) as bob:
            await bob.welcomed()
            alice.send(BOB.peer_id, b"hello", Urgency.BULK)
            assert isinstance(await bob.receive(), Recv)
            lab.partition(2)
            await sink.saw("gone", BOB.peer_id, "lost")
            assert asyncio.get_running_loop().time() < 25
        assert relay.peers == 1


@on_virtual_time
async def test_a_newer_connection_takes_a_half_open_one_over_and_an_older_one_does_not() -> None:
    lab = RelayLab()
    async with lab.relay() as relay, lab.link(1) as (alice, _), lab.raw(2) as first:
        await first.welcomed(number=5)
        async with lab.raw(2) as older:
            await older.join(number=4)
            assert (await older.last_words())[1] == CloseCode.OLDER
        async with lab.raw(2) as newer:
            await newer.welcomed(number=6)
            assert (await first.last_words())[1] == CloseCode.REPLACED
            alice.send(BOB.peer_id, b"hello", Urgency.BULK)
            received = await newer.receive()
            assert isinstance(received, Recv)
            assert relay.peers == 2


async def keep_pinging(client: RawClient) -> None:
    number = 0
    while True:
        await asyncio.sleep(5)
        number += 1
        await client.socket.send(encode_ping(number))


@on_virtual_time
async def test_a_receiver_that_does_not_read_for_a_minute_costs_the_others_nothing() -> None:
    lab = RelayLab(config=RelayConfig(limits=SwitchLimits(max_pair_bytes=1_000_000)))
    async with lab.relay() as relay, AsyncExitStack() as stack:
        alice, to_alice = await stack.enter_async_context(lab.link(1))
        others = [await stack.enter_async_context(lab.link(number)) for number in range(10, 20)]
        bob = await stack.enter_async_context(lab.raw(2))
        await bob.welcomed()
        pinging = asyncio.create_task(keep_pinging(bob))
        sent = 0
        for second in range(60):
            for _ in range(10):
                sent += alice.send(BOB.peer_id, bytes(8000), Urgency.BULK)
            for number, (link, _) in enumerate(others):
                to = Member(number=10 + (number + 1) % 10).peer_id
                link.send(to, bytes([second]), Urgency.INTERACTIVE)
            await asyncio.sleep(1)
            assert relay.queued_bytes <= 1_000_000
            assert all(len(sink.frames) == second + 1 for _, sink in others)
        refused = to_alice.refused[BOB.peer_id, "queue_full"]
        received = 0
        while received < sent - refused:
            received += isinstance(await bob.receive(), Recv)
        assert to_alice.refused == {(BOB.peer_id, "queue_full"): refused}
        pinging.cancel()
        await asyncio.wait({pinging})


@on_virtual_time
async def test_a_receiver_that_takes_nothing_at_all_is_cut_off_in_the_end() -> None:
    lab = RelayLab()
    async with lab.relay() as relay, lab.link(1) as (alice, sink), lab.raw(2) as bob:
        await bob.welcomed()
        pinging = asyncio.create_task(keep_pinging(bob))
        for _ in range(200):
            alice.send(BOB.peer_id, bytes(8000), Urgency.BULK)
        await sink.saw("gone", BOB.peer_id, "lost")
        assert 90 < asyncio.get_running_loop().time() < 110
        assert relay.stats.endings["stalled"] == 1
        assert relay.queued_bytes == 0
        assert sink.refused[BOB.peer_id, "lost"] > 0
        assert isinstance(pinging.exception() if pinging.done() else SocketClosed(0), SocketClosed)
        pinging.cancel()
        await asyncio.wait({pinging})


@on_virtual_time
async def test_one_who_sends_too_much_is_told_and_read_no_faster_than_allowed() -> None:
    lab = RelayLab(config=RelayConfig(bytes_per_second=20_000, burst_bytes=40_000))
    async with lab.relay() as relay, lab.link(2) as (_, to_bob), lab.raw(1) as alice:
        welcome = await alice.welcomed()
        assert welcome.bytes_per_second == 20_000
        started_at = asyncio.get_running_loop().time()
        for _ in range(30):
            await alice.send(2, bytes(10_000 - 34))
        await to_bob.got(30)
        took = asyncio.get_running_loop().time() - started_at
        assert took == pytest.approx((300_000 - 40_000) / 20_000, abs=1.5)
        limit = await alice.receive()
        assert isinstance(limit, Limit)
        assert limit.bytes_per_second == 20_000
        assert await next_limit(alice) == Limit(0, 0.0)
        assert relay.stats.pauses == 1


@on_virtual_time
async def test_pings_are_read_at_the_pace_of_everything_else() -> None:
    lab = RelayLab(config=RelayConfig(bytes_per_second=20_000, burst_bytes=40_000))
    async with lab.relay(), lab.raw(1) as alice:
        await alice.welcomed()
        started_at = asyncio.get_running_loop().time()
        for number in range(200):
            await alice.socket.send(encode_ping(number))
        while (pong := await alice.receive()) != Pong(199):
            assert isinstance(pong, Pong | Limit)
        # 200 times 512 bytes, of which 40,000 are a burst.
        assert asyncio.get_running_loop().time() - started_at > 3.0


async def next_limit(client: RawClient) -> Limit:
    while not isinstance(frame := await client.receive(), Limit):
        if isinstance(frame, Ping):
            await client.socket.send(encode_ping(frame.number))
    return frame


@on_virtual_time
async def test_a_ticket_for_next_to_nothing_still_lets_a_frame_through_every_few_seconds() -> None:
    lab = RelayLab()
    async with lab.relay(), lab.raw(1) as alice:
        welcome = await alice.welcomed(ticket=ticket_for(1, bytes_per_second=1))
        assert welcome.bytes_per_second == 4096


@on_virtual_time
async def test_a_full_relay_says_so() -> None:
    lab = RelayLab(config=RelayConfig(max_connections=1))
    async with lab.relay(), lab.link(1) as (alice, _), lab.raw(2) as bob:
        assert (await bob.last_words())[1] == CloseCode.RELAY_FULL
        assert alice.is_up


@on_virtual_time
async def test_a_drained_relay_sends_what_waits_and_tells_everybody_when_to_come_back() -> None:
    lab = RelayLab(config=RelayConfig(drain_spread=3.0))
    async with AsyncExitStack() as stack, lab.relay() as relay:
        alice = await stack.enter_async_context(lab.raw(1))
        bob = await stack.enter_async_context(lab.raw(2))
        await alice.welcomed()
        await bob.welcomed()
        for _ in range(5):
            await alice.send(2, b"x")
        await asyncio.sleep(0.015)
        draining = asyncio.create_task(relay.drain())
        frames, code = await bob.last_words()
        assert code == CloseCode.SHUTTING_DOWN
        assert sum(isinstance(frame, Recv) for frame in frames) == 5
        (told,) = [frame for frame in frames if isinstance(frame, Draining)]
        assert 0 <= told.reconnect_in <= 3.0
        assert isinstance(frames[-1], Closed)
        await alice.last_words()
        await draining
        late = await stack.enter_async_context(lab.raw(3))
        assert (await late.last_words())[1] == CloseCode.SHUTTING_DOWN


@on_virtual_time
async def test_a_killed_relay_leaves_nothing_behind() -> None:
    lab = RelayLab()
    async with AsyncExitStack() as stack:
        async with lab.relay() as relay:
            alice = await stack.enter_async_context(lab.raw(1))
            await alice.welcomed()
            raise Killed
        assert relay.stats.connections == relay.peers == 0
        with pytest.raises(SocketClosed):
            await alice.receive()


@on_virtual_time
async def test_a_stranger_to_the_room_cannot_reach_into_it() -> None:
    lab = RelayLab()
    async with lab.relay(), lab.link(1) as (_, sink), lab.raw(3) as eve:
        await eve.welcomed(ticket=ticket_for(3, room="attic"))
        await eve.send(1, b"psst")
        gone = await eve.receive()
        assert gone == PeerGone(key_of(ALICE.peer_id), GoneReason.NOT_CONNECTED, 1)
        assert sink.frames == []
