"""The relay over loopback, with real WebSockets."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from rtcmesh.relay.aiohttp_socket import dial_websocket, parse_url
from rtcmesh.relay.codes import CloseCode
from rtcmesh.relay.config import MAX_SOCKET_FRAME_BYTES, RelayClientConfig, RelayConfig, RelayServerConfig
from rtcmesh.relay.errors import DialFailed
from rtcmesh.relay.frames import MAX_PAYLOAD_BYTES, SUBPROTOCOL, Closed, Recv, Urgency
from rtcmesh.relay.link import RelayLink
from rtcmesh.relay.server import RelayEndpoint, RelayServer, serve
from rtcmesh.relay.service import RelayService
from rtcmesh.signaling.config import ServerConfig, ServiceConfig
from rtcmesh.signaling.server import serve as serve_signaling
from support.members import Member
from support.relays import KEY, RawClient, Recorder, running, ticket_for

ALICE, BOB = Member(number=1).peer_id, Member(number=2).peer_id
IMPATIENT = RelayConfig(close_timeout=0.2, drain_spread=0.0)


@asynccontextmanager
async def relaying(origins: tuple[str, ...] = ()) -> AsyncGenerator[RelayServer, None]:
    async with serve(KEY, RelayServerConfig(port=0, allowed_origins=origins, relay=IMPATIENT)) as server:
        yield server


@asynccontextmanager
async def link(url: str, number: int) -> AsyncGenerator[tuple[RelayLink, Recorder], None]:
    sink = Recorder()
    config = RelayClientConfig(backoff_maximum=0.1, close_timeout=0.2)
    link = RelayLink(url, identity=Member(number=number).identity, sink=sink, config=config)
    link.authorize(ticket_for(number, expires_at=time.time() + 60))
    async with running(link):
        await sink.saw("up")
        yield link, sink


@asynccontextmanager
async def raw(url: str, number: int) -> AsyncGenerator[RawClient, None]:
    async with dial_websocket(url) as socket:
        yield RawClient(socket, number)


async def test_frames_of_every_size_go_both_ways() -> None:
    async with relaying() as server, link(server.url, 1) as (alice, to_alice):
        async with link(server.url, 2) as (bob, to_bob):
            payloads = [
                bytes([size % 251]) * size for size in (0, 1, 125, 126, 65, 16_384, MAX_PAYLOAD_BYTES)
            ]
            await to_bob.saw("up")
            await until_peers(server, 2)
            for payload in payloads:
                assert alice.send(BOB, payload, Urgency.INTERACTIVE)
                assert bob.send(ALICE, payload, Urgency.BULK)
            await to_bob.got(len(payloads))
            await to_alice.got(len(payloads))
            assert to_bob.payloads == to_alice.payloads == payloads
        await to_alice.saw("gone", BOB, "left")


async def until_peers(server: RelayServer, count: int) -> None:
    async with asyncio.timeout(20):
        while server.service.peers < count:
            async with aiohttp.ClientSession() as session, session.get(f"{server.url}/livez") as response:
                await response.read()


async def test_a_link_survives_a_relay_that_stops_and_comes_back() -> None:
    async with serve(KEY, RelayServerConfig(port=0, relay=IMPATIENT)) as first:
        port = int(first.url.rsplit(":", 1)[1])
        sink = Recorder()
        config = RelayClientConfig(backoff_maximum=0.1)
        alice = RelayLink(first.url, identity=Member(number=1).identity, sink=sink, config=config)
        alice.authorize(ticket_for(1, expires_at=time.time() + 60))
        task = asyncio.create_task(alice.run())
        await sink.saw("up")
        await until_peers(first, 1)
    await sink.saw("lost", "the relay is stopping")
    async with serve(KEY, RelayServerConfig(port=port, relay=IMPATIENT)):
        await sink.saw("up", times=2)
        task.cancel()
        await asyncio.wait({task})


async def test_a_receiver_that_stops_reading_slows_nobody_else() -> None:
    async with relaying() as server, raw(server.url, 3) as stuck, link(server.url, 1) as (alice, sink):
        await stuck.welcomed(ticket=ticket_for(3, expires_at=time.time() + 60))
        async with link(server.url, 2) as (_, to_bob):
            await until_peers(server, 3)
            to = Member(number=3).peer_id
            sent = 0
            while not sink.refused:
                sent += alice.send(to, bytes(16_384), Urgency.BULK)
                await asyncio.sleep(0)
            alice.send(BOB, b"hello", Urgency.INTERACTIVE)
            await to_bob.got(1)
            assert server.service.queued_bytes <= 2_097_152


async def test_what_is_not_binary_and_what_is_too_long_ends_the_connection_with_a_code() -> None:
    async with relaying() as server:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{server.url}/v1/relay", protocols=(SUBPROTOCOL,)) as websocket,
        ):
            await websocket.receive_bytes()
            await websocket.send_str("text")
            await websocket.receive_bytes()
            message = await websocket.receive()
            assert message.data == CloseCode.PROTOCOL_VIOLATION
        async with raw(server.url, 1) as alice:
            await alice.challenged()
            await alice.socket.send(bytes(MAX_SOCKET_FRAME_BYTES + 1))
            _, code = await alice.last_words()
            assert code == CloseCode.TOO_LARGE


async def test_a_server_that_speaks_something_else_is_a_failed_dial() -> None:
    async with serve_signaling(ServerConfig(port=0)) as server:
        with pytest.raises(DialFailed):
            async with dial_websocket(f"{server.url}/v1/signaling"):
                pass


async def test_only_a_websocket_of_an_allowed_origin_that_speaks_the_protocol_gets_in() -> None:
    async with relaying(origins=("https://good.example",)) as server, aiohttp.ClientSession() as session:
        url = f"{server.url}/v1/relay"
        async with session.get(url) as response:
            assert response.status == 426
        upgrade = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        }
        async with session.get(url, headers=upgrade) as response:
            assert response.status == 400
        async with session.get(url, headers={**upgrade, "Origin": "https://evil.example"}) as response:
            assert response.status == 403
        good = session.ws_connect(url, protocols=(SUBPROTOCOL,), origin="https://good.example")
        async with good as websocket:
            assert len(await websocket.receive_bytes()) == 33
        assert +server.service.stats.rejections == {"not_websocket": 1, "origin": 1, "subprotocol": 1}


async def test_the_probes_and_the_metrics() -> None:
    async with relaying() as server, aiohttp.ClientSession() as session, link(server.url, 1) as (alice, sink):
        alice.send(ALICE, b"to myself", Urgency.CONTROL)
        await sink.got(1)
        for path, text in (("/livez", "alive"), ("/readyz", "ready")):
            async with session.get(server.url + path) as response:
                assert (response.status, await response.text()) == (200, text)
        async with session.get(f"{server.url}/metrics") as response:
            metrics = await response.text()
        assert "rtcmesh_relay_peers 1.0" in metrics
        assert 'rtcmesh_relay_bytes_sent_total{class="control"} 9.0' in metrics
        assert 'rtcmesh_relay_nacks_total{reason="queue_full"} 0.0' in metrics
        await server.service.drain()
        async with session.get(f"{server.url}/readyz") as response:
            assert response.status == 503


async def test_signaling_and_a_relay_share_a_port() -> None:
    service = RelayService(KEY, IMPATIENT)
    config = ServerConfig(port=0, service=ServiceConfig(close_timeout=0.2))
    async with (
        serve_signaling(config, guests=[RelayEndpoint(service)]) as server,
        raw(server.url, 1) as alice,
        aiohttp.ClientSession() as session,
    ):
        await alice.welcomed(ticket=ticket_for(1, expires_at=time.time() + 60))
        await alice.send(1, b"to myself")
        assert isinstance(await alice.receive(), Recv)
        async with session.get(f"{server.url}/metrics") as response:
            metrics = await response.text()
        assert "rtcmesh_relay_peers 1.0" in metrics
        assert "rtcmesh_signaling_connections 0.0" in metrics
        draining = asyncio.create_task(service.drain())
        frames, code = await alice.last_words()
        assert isinstance(frames[-1], Closed)
        assert code == CloseCode.SHUTTING_DOWN
        await draining


@pytest.mark.parametrize("url", ["", "ftp://host", "http://", "http://host:0", "nonsense", "http://host:x"])
async def test_what_is_no_url_is_a_failed_dial(url: str) -> None:
    with pytest.raises(DialFailed):
        async with dial_websocket(url):
            pass


def test_the_path_is_added_where_none_is_given() -> None:
    assert str(parse_url("http://host:1")) == "http://host:1/v1/relay"
    assert str(parse_url("wss://host/relays/7")) == "wss://host/relays/7"
