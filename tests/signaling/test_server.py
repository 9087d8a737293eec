"""The HTTP server over loopback, with real WebSockets."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import aiohttp
import pytest

from rtcmesh.signaling.aiohttp_socket import dial_websocket
from rtcmesh.signaling.client import SignalingLink
from rtcmesh.signaling.codes import CloseCode, RefusalCode
from rtcmesh.signaling.config import ServerConfig, ServiceConfig
from rtcmesh.signaling.events import LinkLost
from rtcmesh.signaling.messages import SUBPROTOCOL, IceServer, PeerJoined, PeerLeft, Signal
from rtcmesh.signaling.server import SignalingServer, is_origin_allowed, serve
from rtcmesh.signaling.text_socket import DialFailed
from support.members import Member
from support.wire import RawPeer

IMPATIENT = ServiceConfig(close_timeout=0.2, drain_spread=0.0)


@asynccontextmanager
async def running(
    service: ServiceConfig = IMPATIENT, origins: tuple[str, ...] = ()
) -> AsyncGenerator[SignalingServer, None]:
    async with serve(ServerConfig(port=0, allowed_origins=origins, service=service)) as server:
        yield server


@asynccontextmanager
async def raw_peer(server: SignalingServer, number: int = 1) -> AsyncGenerator[RawPeer, None]:
    async with dial_websocket(server.url) as socket:
        yield RawPeer(socket, Member(number=number))


@asynccontextmanager
async def websocket(
    server: SignalingServer, origin: str | None = None
) -> AsyncGenerator[aiohttp.ClientWebSocketResponse, None]:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{server.url}/v1/signaling", protocols=(SUBPROTOCOL,), origin=origin) as ws,
    ):
        yield ws


def link(server: SignalingServer, number: int) -> AbstractAsyncContextManager[SignalingLink]:
    member = Member(number=number)
    return SignalingLink.open(server.url, room="lobby", identity=member.identity, prekey=member.prekey)


async def test_two_links_meet_and_exchange_a_signal() -> None:
    service = ServiceConfig(ice_servers=(IceServer(urls=("stun:127.0.0.1",)),))
    async with running(service) as server, link(server, 1) as alice:
        assert alice.welcome.members == ()
        assert alice.welcome.ice_servers == service.ice_servers
        async with link(server, 2) as bob:
            assert [member.peer_id for member in bob.welcome.members] == [Member(number=1).peer_id]
            assert isinstance(await anext(alice), PeerJoined)
            await bob.signal(Member(number=1).peer_id, b"\x00sealed")
            signal = await anext(alice)
            assert isinstance(signal, Signal)
            assert (signal.sender, signal.sealed) == (Member(number=2).peer_id, b"\x00sealed")
        assert isinstance(await anext(alice), PeerLeft)


async def test_a_peer_that_stops_reading_is_cut_off_and_the_others_go_on() -> None:
    config = ServiceConfig(close_timeout=0.2)
    async with running(config) as server, AsyncExitStack() as stack:
        stuck = await stack.enter_async_context(raw_peer(server, 1))
        await stuck.join()
        alice = await stack.enter_async_context(link(server, 2))
        receiver = Member(number=1).peer_id
        endings = server.service.stats.endings
        for _ in range(2000):
            await alice.signal(receiver, bytes(32_768))
            if endings["slow_consumer"]:
                break
        assert endings["slow_consumer"] == 1
        await alice.set_presence({"still": "here"})


@pytest.mark.parametrize("text", ["", "not json", "[]", '{"type": "dance"}', '{"type": "welcome"}', "null"])
async def test_a_frame_that_is_no_message_closes_its_connection_with_a_code(text: str) -> None:
    async with running() as server, raw_peer(server) as peer:
        await peer.receive()
        await peer.socket.send(text.encode())
        refused, code = await peer.last_words()
        assert refused is not None
        assert refused.code is RefusalCode.PROTOCOL_VIOLATION
        assert code == RefusalCode.PROTOCOL_VIOLATION.close_code
    assert server.service.stats.endings["protocol_violation"] == 1


async def test_a_binary_frame_is_a_protocol_violation() -> None:
    async with running() as server, websocket(server) as ws:
        await ws.receive()
        await ws.send_bytes(b"\xff\x00")
        assert json.loads((await ws.receive()).data)["code"] == "protocol_violation"
        await ws.receive()
        assert ws.close_code == RefusalCode.PROTOCOL_VIOLATION.close_code


async def test_a_message_over_the_limit_is_refused_by_name() -> None:
    async with running() as server, raw_peer(server) as peer:
        await peer.receive()
        await peer.socket.send(b" " * (65_536 + 1))
        refused, code = await peer.last_words()
        assert refused is not None
        assert refused.code is RefusalCode.MESSAGE_TOO_LARGE
        assert code == RefusalCode.MESSAGE_TOO_LARGE.close_code


async def test_a_huge_frame_is_not_even_read() -> None:
    async with running() as server, websocket(server) as ws:
        await ws.receive()
        await ws.send_str(" " * 2_000_000)
        async for _ in ws:
            pass
        assert ws.close_code in (CloseCode.TOO_LARGE, CloseCode.ABNORMAL)
    assert server.service.stats.endings["too_large"] == 1


async def test_text_that_is_not_utf_8_closes_the_connection() -> None:
    async with running() as server, websocket(server) as ws:
        await ws.receive()
        await ws.send_frame(b"\xc3\x28", aiohttp.WSMsgType.TEXT)
        async for _ in ws:
            pass
        assert ws.close_code == RefusalCode.PROTOCOL_VIOLATION.close_code


async def test_a_handshake_without_our_subprotocol_is_turned_away() -> None:
    async with running() as server, aiohttp.ClientSession() as session:
        for protocols in ((), ("rtcmesh.v2",), ("chat",)):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(f"{server.url}/v1/signaling", protocols=protocols)
            assert refused.value.status == 400
        async with session.get(f"{server.url}/v1/signaling") as response:
            assert response.status == 426
        assert +server.service.stats.rejections == {"subprotocol": 3, "not_websocket": 1}


async def test_a_page_of_another_origin_may_not_connect_unless_it_is_listed() -> None:
    async with running(origins=("https://app.example",)) as server:
        for origin in ("https://app.example", server.url):
            async with websocket(server, origin=origin) as ws:
                assert json.loads((await ws.receive()).data)["type"] == "challenge"
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with websocket(server, origin="https://evil.example"):
                pass
        assert refused.value.status == 403


def test_the_origin_policy_compares_whole_hosts() -> None:
    assert is_origin_allowed(None, "a:1", ())
    assert is_origin_allowed("http://A:1", "a:1", ())
    assert is_origin_allowed("http://b", "a:1", ("*",))
    for origin in ("null", "", "http://a", "http://a:12", "http://a:1.evil", "http://evil/a:1"):
        assert not is_origin_allowed(origin, "a:1", ("http://a:1/",))


async def test_a_graceful_stop_tells_the_peers_and_takes_no_longer_than_it_may() -> None:
    async with AsyncExitStack() as stack:
        async with running() as server:
            alice = await stack.enter_async_context(link(server, 1))
        assert await anext(alice) == LinkLost(RefusalCode.SHUTTING_DOWN.meaning)
    assert server.service.stats.endings["shutting_down"] == 1


async def test_a_stuck_peer_does_not_hold_up_the_stop() -> None:
    async with AsyncExitStack() as stack:
        async with running() as server:
            stuck = await stack.enter_async_context(raw_peer(server, 1))
            await stuck.join()
            async with link(server, 2) as alice:
                for _ in range(40):
                    await alice.signal(Member(number=1).peer_id, bytes(32_768))
            started_at = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - started_at < 2.0


async def test_a_server_that_drains_is_alive_but_not_ready() -> None:
    async with running() as server, aiohttp.ClientSession() as session:

        async def get(path: str) -> tuple[int, str]:
            async with session.get(server.url + path) as response:
                return response.status, await response.text()

        assert await get("/livez") == (200, "alive")
        assert await get("/readyz") == (200, "ready")
        await server.service.drain()
        assert await get("/livez") == (200, "alive")
        assert await get("/readyz") == (503, "draining")
        async with raw_peer(server) as peer:
            refused, code = await peer.last_words()
            assert refused is not None
            assert refused.code is RefusalCode.SHUTTING_DOWN
            assert code == RefusalCode.SHUTTING_DOWN.close_code


async def test_metrics_show_every_reason_from_the_start_and_no_names() -> None:
    async with (
        running() as server,
        link(server, 1),
        aiohttp.ClientSession() as session,
        session.get(f"{server.url}/metrics") as response,
    ):
        text = await response.text()
        assert response.content_type == "text/plain"
    for code in RefusalCode:
        assert f'rtcmesh_signaling_connections_ended_total{{reason="{code.value}"}} 0.0' in text
    assert "rtcmesh_signaling_members 1.0" in text
    assert 'rtcmesh_signaling_signals_total{result="unknown_peer"} 0.0' in text
    assert Member(number=1).peer_id[:8] not in text
    assert "lobby" not in text


async def test_a_dial_to_something_else_fails_with_our_error() -> None:
    async with running() as server:
        for url in (f"{server.url}/livez", "http://127.0.0.1:1", "nonsense"):
            with pytest.raises(DialFailed):
                async with dial_websocket(url):
                    pass
