"""Signaling over plain HTTP: the same protocol, the same guarantees, through whatever blocks WebSockets."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace

import aiohttp
import pytest
from aiohttp import web

from rtcmesh.signaling.aiohttp_socket import dial_websocket
from rtcmesh.signaling.client import SignalingLink
from rtcmesh.signaling.codes import CloseCode, RefusalCode
from rtcmesh.signaling.config import ClientConfig, ServerConfig, ServiceConfig
from rtcmesh.signaling.events import LinkLost, LinkResumed
from rtcmesh.signaling.fallback import FallbackDial
from rtcmesh.signaling.http_dial import dial_http
from rtcmesh.signaling.http_socket import EVENTS_PATH
from rtcmesh.signaling.messages import Challenge, Pong, Signal, Welcome
from rtcmesh.signaling.post import ConnectionNames, Post, PostHead
from rtcmesh.signaling.server import SignalingServer, serve
from rtcmesh.signaling.text_socket import Dial, DialFailed, SocketClosed, TextSocket
from support.members import Member
from support.wire import RawPeer

IMPATIENT = ServiceConfig(close_timeout=0.2, drain_spread=0.0)


@asynccontextmanager
async def running(config: ServerConfig | None = None) -> AsyncGenerator[SignalingServer, None]:
    config = ServerConfig(service=IMPATIENT) if config is None else config
    async with serve(replace(config, port=0)) as server:
        yield server


@asynccontextmanager
async def raw_peer(url: str, number: int = 1) -> AsyncGenerator[RawPeer, None]:
    async with dial_http(url) as socket:
        yield RawPeer(socket, Member(number=number))


def link(
    url: str, number: int, dial: Dial | None = dial_http, config: ClientConfig | None = None
) -> AbstractAsyncContextManager[SignalingLink]:
    member = Member(number=number)
    return SignalingLink.open(
        url, room="lobby", identity=member.identity, prekey=member.prekey, dial=dial, config=config
    )


async def until(condition: Callable[[], bool]) -> None:
    """Let the server run until it has noticed."""
    while True:
        if condition():
            return
        await asyncio.sleep(0)


async def next_signal(link: SignalingLink) -> bytes:
    while not isinstance(event := await anext(link), Signal):
        pass
    return event.sealed


async def test_two_links_over_http_and_one_over_a_websocket_are_in_the_same_room() -> None:
    async with (
        running() as server,
        link(server.url, 1) as alice,
        link(server.url, 2) as bob,
        link(server.url, 3, dial_websocket) as eve,
    ):
        assert len(eve.welcome.members) == 2
        for n in range(200):
            await alice.signal(Member(number=2).peer_id, n.to_bytes(2))
            assert await next_signal(bob) == n.to_bytes(2)
        await eve.signal(Member(number=1).peer_id, b"\x00" * 32_768)
        assert await next_signal(alice) == b"\x00" * 32_768


async def test_many_signals_at_once_arrive_in_order() -> None:
    async with running() as server, link(server.url, 1) as alice, link(server.url, 2) as bob:
        to = Member(number=2).peer_id
        async with asyncio.TaskGroup() as group:
            for n in range(300):
                group.create_task(alice.signal(to, n.to_bytes(2) + bytes(2000)))
            received = [(await next_signal(bob))[:2] for _ in range(300)]
    assert received == [n.to_bytes(2) for n in range(300)]


async def test_the_code_and_the_reason_of_a_close_are_passed_on_both_ways() -> None:
    async with running() as server:
        async with raw_peer(server.url) as peer:
            await peer.receive()
            await peer.socket.send(b"nonsense")
            refused, code = await peer.last_words()
            assert refused is not None
            assert code == refused.code.close_code == RefusalCode.PROTOCOL_VIOLATION.close_code
        async with raw_peer(server.url) as peer:
            await peer.join()
            await peer.socket.close(CloseCode.GOING_AWAY, "é" * 100)
            with pytest.raises(SocketClosed) as closed:
                await peer.socket.send(b"late")
            assert closed.value.code == CloseCode.GOING_AWAY
        await until(lambda: server.service.stats.endings["going_away"] == 1)


async def test_the_server_notices_a_peer_that_is_cut_off() -> None:
    async with running() as server:
        async with raw_peer(server.url) as peer:
            await peer.join()
            peer.socket.abort()
            peer.socket.abort()
            with pytest.raises(SocketClosed):
                await peer.receive()
        await until(lambda: server.service.stats.connections == 0)
        assert server.service.stats.endings["abnormal"] == 1


async def test_a_peer_that_stops_reading_is_cut_off_and_the_others_go_on() -> None:
    async with (
        running(ServerConfig(service=ServiceConfig(close_timeout=0.2))) as server,
        aiohttp.ClientSession() as session,
        session.get(server.url + EVENTS_PATH) as stuck,
    ):
        peer = RawPeer(await unread(stuck, session, server.url), Member(number=1))
        await peer.join()
        async with link(server.url, 2) as alice:
            endings = server.service.stats.endings
            for _ in range(2000):
                await alice.signal(Member(number=1).peer_id, bytes(32_768))
                if endings["slow_consumer"]:
                    break
            assert endings["slow_consumer"] == 1


class Unread:
    """A connection whose stream is read line by line, and no further than somebody asks."""

    def __init__(self, stream: aiohttp.ClientResponse, session: aiohttp.ClientSession, url: str) -> None:
        self.stream, self.session, self.url = stream, session, url
        self.connection = ""
        self.sequence = 0

    async def receive(self) -> bytes:
        while not (line := await self.stream.content.readline()).startswith(b"data: "):
            pass
        return line.removeprefix(b"data: ").strip()

    async def send(self, *frames: bytes) -> None:
        for frame in frames:
            self.sequence += 1
            assert await self.post(self.sequence, frame) == 204

    async def post(self, sequence: int, frame: bytes, connection: str | None = None) -> int:
        head = PostHead(connection=connection or self.connection, sequence=sequence)
        async with self.session.post(self.url + EVENTS_PATH, data=Post(head, (frame,)).encode()) as answer:
            return answer.status

    async def close(self, code: int, reason: str) -> None: ...

    def abort(self) -> None: ...


async def unread(stream: aiohttp.ClientResponse, session: aiohttp.ClientSession, url: str) -> Unread:
    socket = Unread(stream, session, url)
    opened = await socket.receive()
    socket.connection = opened.split(b'"')[3].decode()
    return socket


async def test_a_post_counts_once_in_its_turn_and_for_its_own_connection_only() -> None:
    async with running() as server, aiohttp.ClientSession() as session:
        async with session.get(server.url + EVENTS_PATH) as stream:
            assert stream.headers["X-Accel-Buffering"] == "no"
            socket = await unread(stream, session, server.url)
            peer = RawPeer(socket, Member(number=1))
            await peer.join()
            ping = b'{"type":"ping"}'
            assert [await socket.post(2, ping) for _ in range(3)] == [204] * 3
            assert await peer.receive() == Pong()
            assert await socket.post(1, ping, connection="0" * 64) == 404
            assert await socket.post(4, ping) == 409
            refused, _ = await ending(peer)
            assert refused is None
        counts = server.service.stats.rejections
        assert (counts["post_unknown"], counts["post_out_of_turn"]) == (1, 1)


async def ending(peer: RawPeer) -> tuple[object, int]:
    """Read to the end of a stream; the repeated pings must not have been answered again."""
    socket = peer.socket
    assert isinstance(socket, Unread)
    rest = await socket.stream.content.read()
    assert b"pong" not in rest
    return None, 0


async def test_a_body_that_is_no_post_or_too_large_is_refused_and_counted() -> None:
    async with running() as server, aiohttp.ClientSession() as session:
        for body, status in ((b"", 400), (b"{}", 400), (b"\xff", 400), (b"x" * 300_000, 413)):
            async with session.post(server.url + EVENTS_PATH, data=body) as answer:
                assert answer.status == status
        counts = server.service.stats.rejections
        assert (counts["post_invalid"], counts["post_too_large"]) == (3, 1)


async def test_pages_of_other_origins_need_leave() -> None:
    config = ServerConfig(allowed_origins=("https://app.example",), service=IMPATIENT)
    async with running(config) as server, aiohttp.ClientSession() as session:
        for origin, status in (("https://app.example", 400), ("https://evil.example", 403)):
            async with session.post(server.url + EVENTS_PATH, data=b"", headers={"Origin": origin}) as answer:
                assert answer.status == status
                assert answer.headers.get("Access-Control-Allow-Origin") == (
                    origin if status == 400 else None
                )
        async with session.get(
            server.url + EVENTS_PATH, headers={"Origin": "https://evil.example"}
        ) as answer:
            assert answer.status == 403
        async with session.get(server.url + EVENTS_PATH, headers={"Origin": "https://app.example"}) as answer:
            assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"


async def test_a_restart_of_the_server_is_a_resume_or_a_snapshot_as_over_any_transport() -> None:
    async with AsyncExitStack() as stack:
        async with running() as server:
            alice = await stack.enter_async_context(link(server.url, 1))
            port = int(server.url.rsplit(":", 1)[1])
        assert isinstance(await anext(alice), LinkLost)
        async with serve(ServerConfig(port=port, service=IMPATIENT)):
            resumed = await anext(alice)
            assert isinstance(resumed, LinkResumed)
            assert not resumed.resumed


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def listening(handler: Handler) -> AsyncGenerator[str, None]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(application, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


class Proxy:
    """Passes plain HTTP on to servers in turn, and does with WebSockets what `websocket` says."""

    def __init__(self, *servers: str, websocket: str = "refuse") -> None:
        self.servers = list(servers)
        self.websocket = websocket
        self.requests = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if "Upgrade" in request.headers:
            return await self._upgrade(request)
        self.requests += 1
        server = self.servers[self.requests % len(self.servers)]
        async with (
            aiohttp.ClientSession() as session,
            session.request(request.method, server + request.path, data=await request.read()) as answer,
        ):
            response = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.content_type})
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
            return response

    async def _upgrade(self, request: web.Request) -> web.StreamResponse:
        match self.websocket:
            case "refuse":
                return web.Response(status=403)
            case "hang":
                await asyncio.Event().wait()
            case "swallow":
                websocket = web.WebSocketResponse(protocols=("rtcmesh.v1",))
                await websocket.prepare(request)
                await asyncio.Event().wait()
            case _:
                pass
        return await self._pass(request)

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        near = web.WebSocketResponse(protocols=("rtcmesh.v1",))
        await near.prepare(request)
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(self.servers[0] + request.path, protocols=("rtcmesh.v1",)) as far,
        ):

            async def up() -> None:
                async for message in near:
                    await far.send_str(message.data)
                await far.close()

            task = asyncio.create_task(up())
            async for message in far:
                await near.send_str(message.data)
            task.cancel()
            await asyncio.wait({task})
        return near


@pytest.mark.parametrize("fate", ["refuse", "hang", "swallow"])
async def test_a_link_falls_back_where_websockets_are_blocked_and_returns_when_they_are_not(
    fate: str,
) -> None:
    async with running() as server:
        proxy = Proxy(server.url, websocket=fate)
        config = ClientConfig(websocket_patience=0.3, websocket_retry_after=0.5, backoff_base=0.01)
        async with listening(proxy.handle) as url, link(url, 1, None, config) as alice:
            assert proxy.requests > 0
            await alice.set_presence({"by": "http"})
            proxy.websocket = "pass"
            assert isinstance(await anext(alice), LinkLost)
            resumed = await anext(alice)
            assert isinstance(resumed, LinkResumed)
            assert resumed.resumed, "another transport is just a resume"
            before = proxy.requests
            await alice.signal(Member(number=1).peer_id, b"to myself")
            assert await next_signal(alice) == b"to myself"
            assert proxy.requests == before


async def test_posts_reach_the_server_that_has_the_connection_wherever_they_arrive() -> None:
    secret = b"a secret that these servers share"
    async with AsyncExitStack() as stack:
        servers: list[SignalingServer] = []
        for _ in range(2):
            # The port is known once the server runs, so the first run only finds one that is free.
            async with running() as probe:
                port = int(probe.url.rsplit(":", 1)[1])
            config = ServerConfig(
                port=port,
                advertised_url=f"http://127.0.0.1:{port}",
                fleet_secret=secret,
                service=IMPATIENT,
            )
            servers.append(await stack.enter_async_context(serve(config)))
        proxy = Proxy(*(server.url for server in servers))
        url = await stack.enter_async_context(listening(proxy.handle))
        async with link(url, 1) as alice:
            for n in range(20):
                await alice.signal(Member(number=1).peer_id, n.to_bytes(1))
                assert await next_signal(alice) == n.to_bytes(1)
        assert proxy.requests > 20
        assert not any(
            count
            for server in servers
            for name, count in server.service.stats.rejections.items()
            if "post" in name
        )


async def test_a_connection_whose_server_is_gone_ends() -> None:
    secret = b"a secret that these servers share"
    async with running() as probe:
        dead = probe.url
    config = ServerConfig(advertised_url="http://127.0.0.1:9", fleet_secret=secret, service=IMPATIENT)

    async with running(config) as server, aiohttp.ClientSession() as session:
        name = ConnectionNames(secret, dead).name(bytes(32))
        body = Post(PostHead(connection=name, sequence=1)).encode()
        async with session.post(server.url + EVENTS_PATH, data=body) as answer:
            assert answer.status == 502
        assert server.service.stats.rejections["post_undeliverable"] == 1


async def test_a_server_that_is_down_is_not_taken_for_one_that_blocks_websockets() -> None:
    dialled: list[str] = []

    def counting(name: str, dial: Dial) -> Dial:
        def counted(url: str) -> AbstractAsyncContextManager[TextSocket]:
            dialled.append(name)
            return dial(url)

        return counted

    dial = FallbackDial(
        patience=1,
        retry_after=100,
        websocket=counting("ws", dial_websocket),
        http=counting("http", dial_http),
    )
    for _ in range(2):
        with pytest.raises(DialFailed):
            async with dial("http://127.0.0.1:9"):
                pass
    assert dialled == ["ws", "ws"]


@pytest.mark.parametrize("answer", ["text", "silent", "endless"])
async def test_a_dial_to_something_else_fails_with_our_error(answer: str) -> None:
    async def something(request: web.Request) -> web.StreamResponse:
        if answer == "text":
            return web.Response(text="hello")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: " + b"x" * 100 if answer == "endless" else b": hello\n\n")
        return response

    async with listening(something) as url:
        with pytest.raises(DialFailed):
            async with dial_http(url):
                pass
    for url in ("nonsense", "http://127.0.0.1:9"):
        with pytest.raises(DialFailed):
            async with dial_http(url):
                pass


async def test_a_challenge_and_a_welcome_come_over_http_as_over_a_websocket() -> None:
    async with running() as server, raw_peer(server.url) as peer:
        challenge = await peer.receive()
        assert isinstance(challenge, Challenge)
        await peer.send(peer.proved(challenge))
        assert isinstance(await peer.receive(), Welcome)
