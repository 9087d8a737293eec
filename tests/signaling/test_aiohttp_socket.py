"""The WebSocket adapter against servers that are deaf, mute, or something else."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from rtcmesh.signaling.aiohttp_socket import dial_websocket
from rtcmesh.signaling.client import SignalingLink
from rtcmesh.signaling.codes import CloseCode
from rtcmesh.signaling.config import ClientConfig
from rtcmesh.signaling.errors import SignalingUnreachable
from rtcmesh.signaling.messages import SUBPROTOCOL
from rtcmesh.signaling.text_socket import DialFailed, SocketClosed, TextSocket
from support.members import Member

Talk = Callable[[web.WebSocketResponse, asyncio.Event], Awaitable[None]]


@asynccontextmanager
async def server_that(
    talk: Talk, *, protocols: tuple[str, ...] = (SUBPROTOCOL,)
) -> AsyncGenerator[str, None]:
    stopped = asyncio.Event()

    async def handle(request: web.Request) -> web.WebSocketResponse:
        websocket = web.WebSocketResponse(protocols=protocols, timeout=0.1)
        await websocket.prepare(request)
        await talk(websocket, stopped)
        return websocket

    application = web.Application()
    application.router.add_get("/v1/signaling", handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        stopped.set()
        await runner.cleanup()


async def is_deaf(_: web.WebSocketResponse, stopped: asyncio.Event) -> None:
    await stopped.wait()


async def send_without_end(socket: TextSocket, sent: list[int]) -> None:
    while True:
        await socket.send(b"x" * 65_536)
        sent.append(1)


async def test_abort_ends_a_send_that_a_deaf_server_holds_up() -> None:
    async with server_that(is_deaf) as url, dial_websocket(url) as socket:
        sent: list[int] = []
        sending = asyncio.create_task(send_without_end(socket, sent))
        receiving = asyncio.create_task(socket.receive())
        rounds_without_progress, progress = 0, -1
        while rounds_without_progress < 1000:
            await asyncio.sleep(0)
            rounds_without_progress = rounds_without_progress + 1 if progress == len(sent) else 0
            progress = len(sent)
        socket.abort()
        socket.abort()
        for task in (sending, receiving):
            with pytest.raises(SocketClosed):
                await task


async def test_a_server_that_says_nothing_is_unreachable_and_does_not_hold_up_the_close() -> None:
    member = Member(number=1)
    config = ClientConfig(connect_timeout=0.2, close_timeout=0.2)
    loop = asyncio.get_running_loop()
    started_at = loop.time()
    async with server_that(is_deaf) as url:
        with pytest.raises(SignalingUnreachable):
            async with SignalingLink.open(
                url, room="lobby", identity=member.identity, prekey=member.prekey, config=config
            ):
                pass
        assert loop.time() - started_at < 1.0


async def test_the_code_and_the_reason_of_a_close_are_passed_on() -> None:
    async def closes(websocket: web.WebSocketResponse, _: asyncio.Event) -> None:
        await websocket.close(code=4003, message=b"full")

    async with server_that(closes) as url, dial_websocket(url) as socket:
        with pytest.raises(SocketClosed) as closed:
            await socket.receive()
        assert (closed.value.code, closed.value.reason) == (4003, "full")
        with pytest.raises(SocketClosed):
            await socket.send(b"late")
        await socket.close(CloseCode.NORMAL, "")


async def test_a_connection_that_breaks_is_told_from_one_that_is_closed() -> None:
    async def breaks(websocket: web.WebSocketResponse, _: asyncio.Event) -> None:
        assert websocket._req is not None
        assert websocket._req.transport is not None
        websocket._req.transport.abort()

    async with server_that(breaks) as url, dial_websocket(url) as socket:
        with pytest.raises(SocketClosed) as closed:
            await socket.receive()
        assert closed.value.code == CloseCode.ABNORMAL


async def test_a_server_of_another_protocol_is_not_talked_to() -> None:
    async with server_that(is_deaf, protocols=()) as url:
        with pytest.raises(DialFailed, match="does not speak"):
            async with dial_websocket(url):
                pass


async def test_a_long_reason_is_cut_to_what_a_close_frame_carries() -> None:
    heard: asyncio.Future[tuple[int | None, str | None]] = asyncio.get_running_loop().create_future()

    async def listens(websocket: web.WebSocketResponse, _: asyncio.Event) -> None:
        message = await websocket.receive()
        heard.set_result((message.data, message.extra))

    async with server_that(listens) as url, dial_websocket(url) as socket:
        await socket.close(4000, "é" * 100)
        code, reason = await heard
    assert code == 4000
    assert reason == "é" * 61
