"""The client link with a relay on a virtual network: restarts, cuts, limits, tickets, and the end."""

import asyncio
from contextlib import suppress

import pytest

from rtcmesh.netem import LinkConfig
from rtcmesh.relay.backlog import HIGH_WATER_BYTES, LOW_WATER_BYTES
from rtcmesh.relay.config import MAX_SOCKET_FRAME_BYTES, RelayClientConfig, RelayConfig
from rtcmesh.relay.errors import RelayError
from rtcmesh.relay.frames import (
    MAX_PAYLOAD_BYTES,
    NONCE_BYTES,
    Urgency,
    Welcome,
    encode_challenge,
    encode_closed,
    encode_draining,
    encode_limit,
    encode_ping,
    encode_recv,
    encode_welcome,
    key_of,
)
from rtcmesh.relay.link import RelayLink
from rtcmesh.relay.testing import StreamSocket
from support.members import Member
from support.relays import PORT, Killed, Recorder, RelayLab, running, ticket_for
from support.virtual import on_virtual_time

ALICE, BOB = Member(number=1).peer_id, Member(number=2).peer_id
SOON = RelayClientConfig(backoff_maximum=0.5)


def now() -> float:
    return asyncio.get_running_loop().time()


@on_virtual_time
async def test_frames_go_both_ways() -> None:
    lab = RelayLab()
    async with lab.relay(), lab.link(1) as (alice, to_alice), lab.link(2) as (bob, to_bob):
        assert alice.send(BOB, b"hello", Urgency.INTERACTIVE)
        await to_bob.got(1)
        assert to_bob.frames == [(ALICE, b"hello")]
        assert bob.send(ALICE, b"hello yourself", Urgency.CONTROL)
        await to_alice.got(1)
        assert to_alice.frames == [(BOB, b"hello yourself")]


def say_hello(link: RelayLink) -> None:
    assert link.send(BOB, b"hello", Urgency.INTERACTIVE)


@on_virtual_time
async def test_the_first_frame_leaves_with_the_join() -> None:
    lab = RelayLab(link=LinkConfig(delay=0.1))
    async with lab.relay(), lab.link(2) as (_, to_bob):
        sink = Recorder()
        sink.on_up = say_hello
        alice = lab.new_link(1, sink)
        alice.authorize(ticket_for(1))
        started_at = now()
        async with running(alice):
            await to_bob.got(1)
            # A round trip for TCP, one until the challenge is there, and one for the frame itself.
            assert now() - started_at < 3 * 0.2 + 0.01


@on_virtual_time
async def test_the_link_dials_before_it_has_a_ticket_and_joins_when_it_gets_one() -> None:
    lab = RelayLab()
    sink = Recorder()
    alice = lab.new_link(1, sink)
    async with lab.relay() as relay, running(alice):
        await asyncio.sleep(1)
        assert relay.stats.connections == 1
        assert not alice.is_up
        assert not alice.send(BOB, b"too early", Urgency.CONTROL)
        alice.authorize(ticket_for(1))
        assert sink.events == []
        await sink.saw("up")
        assert alice.is_up


@on_virtual_time
async def test_without_a_ticket_it_is_shown_out_and_waits() -> None:
    lab = RelayLab()
    sink = Recorder()
    alice = lab.new_link(1, sink)
    async with lab.relay() as relay, running(alice):
        await asyncio.sleep(300)
        assert relay.stats.endings["join_timeout"] == relay.stats.connections_total == 1
        alice.authorize(ticket_for(1))
        await sink.saw("up")


@on_virtual_time
async def test_a_refused_ticket_is_not_shown_again_and_a_newer_one_is() -> None:
    lab = RelayLab()
    sink = Recorder()
    alice = lab.new_link(1, sink, config=SOON)
    alice.authorize(ticket_for(1, expires_at=-1.0))
    async with lab.relay() as relay, running(alice):
        await sink.saw("lost", "the ticket is not valid, or not any more")
        await asyncio.sleep(60)
        assert relay.stats.connections_total == 1
        alice.authorize(ticket_for(1))
        await sink.saw("up", times=2)
        await asyncio.sleep(1)
        assert relay.peers == 1


@on_virtual_time
async def test_a_link_comes_back_to_a_relay_that_was_killed_and_one_that_was_stopped() -> None:
    lab = RelayLab()
    sink = Recorder()
    alice = lab.new_link(1, sink, config=SOON)
    alice.authorize(ticket_for(1))
    async with running(alice):
        async with lab.relay():
            await sink.saw("up")
            raise Killed
        await sink.saw("lost", "the connection broke")
        async with lab.relay():
            await sink.saw("up", times=2)
            await asyncio.sleep(1)
        await sink.saw("lost", "the relay is stopping")
        assert not alice.is_up
        async with lab.relay():
            await sink.saw("up", times=3)


@on_virtual_time
async def test_a_drained_relay_is_left_alone_as_long_as_it_asked() -> None:
    lab = RelayLab(config=RelayConfig(drain_spread=1000.0))
    sink = Recorder()
    alice = lab.new_link(1, sink, config=SOON)
    alice.authorize(ticket_for(1))
    async with running(alice):
        async with lab.relay():
            await sink.saw("up")
        dials = lab.dials
        async with lab.relay():
            await asyncio.sleep(10)
            assert lab.dials == dials
            alice.hurry()
            await sink.saw("up", times=2)


@on_virtual_time
async def test_a_dead_connection_is_noticed_within_two_heartbeats() -> None:
    lab = RelayLab()
    async with lab.relay() as relay, lab.link(1, config=SOON) as (alice, sink):
        await asyncio.sleep(35)
        assert sink.events == [("up",)]
        assert alice.rtt == pytest.approx(0.02, abs=0.005)
        lab.partition(1)
        cut_at = now()
        await sink.saw("lost", "nothing was heard for two heartbeats")
        assert now() - cut_at < 20.1
        lab.heal(1)
        await sink.saw("up", times=2)
        await asyncio.sleep(25)
        assert relay.peers == 1
        assert relay.stats.connections == 1


@on_virtual_time
async def test_a_check_notices_a_dead_connection_at_once_and_harms_no_living_one() -> None:
    lab = RelayLab()
    async with lab.relay(), lab.link(1, config=SOON) as (alice, sink):
        alice.check(1.0)
        await asyncio.sleep(5)
        assert sink.events == [("up",)]
        lab.partition(1)
        alice.check(1.0)
        cut_at = now()
        await sink.saw("lost", "nothing was heard for two heartbeats")
        assert now() - cut_at < 1.1


@on_virtual_time
async def test_what_is_urgent_overtakes_what_waits() -> None:
    lab = RelayLab(link=LinkConfig(delay=0.2))
    async with lab.relay(), lab.link(1) as (alice, sink), lab.link(2) as (_, to_bob):
        for _ in range(30):
            assert alice.send(BOB, bytes(16_000), Urgency.BULK)
        assert alice.buffered_amount > HIGH_WATER_BYTES
        assert alice.send(BOB, b"now", Urgency.CONTROL)
        await to_bob.got(31)
        assert to_bob.payloads.index(b"now") < 20
        assert alice.buffered_amount <= LOW_WATER_BYTES
        await sink.saw("writable")
        assert sink.events.count(("writable",)) == 1


@on_virtual_time
async def test_a_full_link_takes_nothing_and_a_payload_that_fits_no_frame_is_an_error() -> None:
    lab = RelayLab()
    config = RelayClientConfig(max_queue_bytes=40_000)
    async with lab.relay(), lab.link(1, config=config) as (alice, _):
        taken = [alice.send(BOB, bytes(16_000), Urgency.BULK) for _ in range(3)]
        assert taken == [True, True, False]
        with pytest.raises(ValueError, match="payload"):
            alice.send(BOB, bytes(MAX_PAYLOAD_BYTES + 1), Urgency.BULK)


@on_virtual_time
async def test_a_limited_link_keeps_the_pace_until_the_limit_is_lifted() -> None:
    lab = RelayLab(config=RelayConfig(burst_bytes=65_536))
    ticket = ticket_for(1, bytes_per_second=32_768)
    async with lab.relay() as relay, lab.link(1, ticket=ticket) as (alice, _), lab.link(2) as (_, to_bob):
        started_at = now()
        for _ in range(40):
            assert alice.send(BOB, bytes(16_000), Urgency.BULK)
        await to_bob.got(6)
        assert alice.limited
        await to_bob.got(40)
        assert now() - started_at > (40 * 16_000 - 65_536) / 32_768 - 1
        assert relay.stats.pauses == 1
        await asyncio.sleep(2)
        assert not alice.limited


@on_virtual_time
async def test_a_cancelled_link_sends_what_it_has_and_says_goodbye() -> None:
    lab = RelayLab()
    async with lab.relay() as relay, lab.link(2) as (bob, to_bob):
        async with lab.link(1) as (alice, _):
            for number in range(20):
                alice.send(BOB, bytes([number]), Urgency.BULK)
        assert not alice.is_up
        await to_bob.got(20)
        assert to_bob.payloads == [bytes([number]) for number in range(20)]
        assert relay.stats.endings["normal"] == 1
        await to_bob.saw("gone", ALICE, "left")
        assert bob.is_up


@on_virtual_time
async def test_a_cancelled_link_waits_for_a_dead_relay_no_longer_than_the_timeout() -> None:
    lab = RelayLab()
    async with lab.relay(), lab.link(1) as (_, __):
        lab.partition(1)
        stopped_at = now()
    assert now() - stopped_at < 5


@on_virtual_time
async def test_of_two_links_with_one_identity_the_newer_one_stays() -> None:
    lab = RelayLab()
    async with lab.relay() as relay, lab.link(1) as (_, older), lab.link(1) as (newer, _):
        await older.saw("lost", "the same peer connected again")
        await asyncio.sleep(120)
        assert newer.is_up
        assert relay.stats.connections_total == 2


@on_virtual_time
async def test_a_peer_that_is_not_there_is_reported_with_what_was_meant_for_it() -> None:
    lab = RelayLab()
    async with lab.relay() as relay, lab.link(1) as (alice, sink):
        for _ in range(10):
            alice.send(BOB, b"x", Urgency.BULK)
            alice.send(BOB, b"x", Urgency.BULK, datagram=True)
        await sink.until(lambda: sink.refused == {(BOB, "not_connected"): 10})
        assert 1 <= sink.events.count(("gone", BOB, "not_connected")) <= 2
        assert relay.frames.datagrams_dropped == 10


@pytest.mark.parametrize("steps", range(0, 140, 7))
@on_virtual_time
async def test_a_link_that_is_cancelled_at_any_moment_leaves_nothing_behind(steps: int) -> None:
    lab = RelayLab()
    async with lab.relay() as relay:
        sink = Recorder()
        sink.on_up = say_hello
        alice = lab.new_link(1, sink)
        alice.authorize(ticket_for(1))
        task = asyncio.create_task(alice.run())
        for _ in range(steps):
            await asyncio.sleep(0.0005)
        task.cancel()
        if steps % 2:
            await asyncio.sleep(0.001)
            task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
        assert not alice.is_up
        await asyncio.sleep(30)
        assert relay.stats.connections == relay.peers == 0


class Liar:
    """A relay that says what it likes to each connection."""

    def __init__(self, *frames: bytes) -> None:
        self.frames = frames
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        socket = StreamSocket(reader, writer)
        with suppress(RelayError):
            for frame in self.frames:
                await socket.send(frame)
            while True:
                await socket.receive()
        socket.abort()


CHALLENGE = encode_challenge(bytes(NONCE_BYTES))
WELCOME = encode_welcome(Welcome(1, 1, 1, 10.0))


@pytest.mark.parametrize(
    "frames",
    [
        (b"",),
        (b"garbage",),
        (CHALLENGE[:-1],),
        (WELCOME,),
        (encode_recv(key_of(BOB), b"x", Urgency.BULK),),
        (CHALLENGE, CHALLENGE),
        (CHALLENGE, encode_ping(1)[:-1]),
        (CHALLENGE, WELCOME, encode_recv(key_of(BOB), bytes(MAX_PAYLOAD_BYTES + 1), Urgency.BULK)),
        (CHALLENGE, WELCOME, bytes(MAX_SOCKET_FRAME_BYTES + 1)),
    ],
)
@on_virtual_time
async def test_a_relay_that_breaks_the_protocol_is_left_and_tried_again_ever_more_rarely(
    frames: tuple[bytes, ...],
) -> None:
    lab = RelayLab()
    liar = Liar(*frames)
    with lab.relay_host:
        server = await asyncio.start_server(liar.serve, lab.relay_host.address, PORT)
    sink = Recorder()
    alice = lab.new_link(1, sink)
    alice.authorize(ticket_for(1))
    async with running(alice):
        await asyncio.sleep(120)
        assert 5 < liar.connections < 60
        assert sink.frames == []
    server.close()
    await asyncio.sleep(10)


@on_virtual_time
async def test_a_relay_cannot_keep_a_link_away_or_busy_for_ever() -> None:
    lab = RelayLab()
    hasty = encode_welcome(Welcome(1, 1, 1, 0.001))
    liar = Liar(CHALLENGE, hasty, encode_draining(4_000_000.0), encode_closed(4009, ""), b"")
    with lab.relay_host:
        server = await asyncio.start_server(liar.serve, lab.relay_host.address, PORT)
    alice = lab.new_link(1, Recorder())
    alice.authorize(ticket_for(1))
    async with running(alice):
        await asyncio.sleep(130)
        assert liar.connections == 3
    server.close()
    await asyncio.sleep(10)


@pytest.mark.parametrize("frames", [(), (encode_ping(1),), (CHALLENGE,), (CHALLENGE, encode_ping(1))])
@on_virtual_time
async def test_a_relay_that_does_not_go_on_with_the_handshake_is_left(frames: tuple[bytes, ...]) -> None:
    lab = RelayLab()
    liar = Liar(*frames)
    with lab.relay_host:
        server = await asyncio.start_server(liar.serve, lab.relay_host.address, PORT)
    alice = lab.new_link(1, Recorder(), config=SOON)
    alice.authorize(ticket_for(1))
    async with running(alice):
        await asyncio.sleep(30)
        assert liar.connections >= 2
        assert not alice.is_up or frames[:1] == (CHALLENGE,)
    server.close()
    await asyncio.sleep(10)


@on_virtual_time
async def test_a_relay_that_limits_to_next_to_nothing_is_obeyed_as_far_as_a_relay_may_ask() -> None:
    lab = RelayLab()
    liar = Liar(CHALLENGE, WELCOME, encode_limit(1, 4_000_000.0))
    with lab.relay_host:
        server = await asyncio.start_server(liar.serve, lab.relay_host.address, PORT)
    sink = Recorder()
    alice = lab.new_link(1, sink)
    alice.authorize(ticket_for(1))
    async with running(alice):
        await sink.saw("up")
        await asyncio.sleep(1)
        for _ in range(3):
            assert alice.send(BOB, bytes(10_000), Urgency.BULK)
        await asyncio.sleep(10)
        assert alice.buffered_amount > 30_000
        await asyncio.sleep(30)
        assert alice.buffered_amount == 0
    server.close()
    await asyncio.sleep(10)
