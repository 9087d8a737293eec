"""Binary sockets over aiohttp's WebSockets, for both ends of the wire.

Compression is off: sealed bytes do not get smaller. aiohttp can wait for a stuck peer for as long as that peer likes,
both in `send_bytes` and in `close`; `abort` is what ends such a wait.

The kernel is told to keep little that is not under way yet, where it can be told: what waits there cannot be
overtaken by anything more urgent.
"""

import asyncio
import socket as sockets
from asyncio import BaseTransport, WriteTransport
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeAlias

import aiohttp
from aiohttp import ClientWebSocketResponse, WebSocketError, WSMsgType, web
from yarl import URL

from .binary_socket import BinarySocket
from .codes import CloseCode
from .config import MAX_SOCKET_FRAME_BYTES
from .errors import DialFailed, ProtocolError, SocketClosed
from .frames import SUBPROTOCOL

RELAY_PATH = "/v1/relay"

RELEASE_TIMEOUT = 1.0
"""Seconds for aiohttp to notice that an aborted connection has ended."""

UNSENT_BYTES = 65_536
"""How much the kernel, and again the transport before it, may hold of what was not sent yet."""

_WebSocket: TypeAlias = ClientWebSocketResponse | web.WebSocketResponse


class AiohttpSocket:
    """A `BinarySocket` over either of aiohttp's WebSockets; `abort` drops the transport under it."""

    def __init__(self, websocket: _WebSocket, abort: Callable[[], None]) -> None:
        self._websocket = websocket
        self._abort = abort

    async def receive(self) -> bytes:
        """See `BinarySocket.receive`."""
        try:
            message = await self._websocket.receive()
        except (aiohttp.ClientError, OSError) as error:
            raise SocketClosed(CloseCode.ABNORMAL) from error
        match message.type:
            case WSMsgType.BINARY:
                return bytes(message.data)
            case WSMsgType.TEXT:
                raise ProtocolError("a text frame")
            case WSMsgType.CLOSE:
                raise SocketClosed(message.data or CloseCode.NO_STATUS, message.extra or "")
            case WSMsgType.ERROR:
                code = message.data.code if isinstance(message.data, WebSocketError) else CloseCode.ABNORMAL
                raise SocketClosed(code, str(message.data))
            case _:
                raise SocketClosed(CloseCode.ABNORMAL)

    async def send(self, frame: bytes) -> None:
        """See `BinarySocket.send`."""
        try:
            await self._websocket.send_bytes(frame)
        except (aiohttp.ClientError, OSError) as error:
            raise SocketClosed(CloseCode.ABNORMAL) from error

    async def close(self, code: int, reason: str) -> None:
        """See `BinarySocket.close`."""
        try:
            # RFC 6455 section 5.5: a control frame carries at most 125 bytes, two of them the code, the rest UTF-8.
            message = reason.encode()[:123].decode(errors="ignore").encode()
            await self._websocket.close(code=code, message=message)
        except (aiohttp.ClientError, OSError) as error:
            raise SocketClosed(CloseCode.ABNORMAL) from error

    def abort(self) -> None:
        """See `BinarySocket.abort`."""
        self._abort()


def offers_subprotocol(request: web.Request) -> bool:
    """Whether a handshake names the protocol that is spoken here."""
    offered = ",".join(request.headers.getall("Sec-WebSocket-Protocol", []))
    return SUBPROTOCOL in (name.strip() for name in offered.split(","))


async def accept_websocket(request: web.Request) -> tuple[web.WebSocketResponse, AiohttpSocket]:
    """Answer a WebSocket handshake and return the response with its socket."""
    websocket = web.WebSocketResponse(
        protocols=(SUBPROTOCOL,), compress=False, max_msg_size=MAX_SOCKET_FRAME_BYTES
    )
    await websocket.prepare(request)
    transport = request.transport
    _bound_unsent(None if transport is None else transport.get_extra_info("socket"), transport)

    def abort() -> None:
        if request.transport is not None:
            request.transport.abort()

    return websocket, AiohttpSocket(websocket, abort)


def parse_url(url: str) -> URL:
    """Return the whole URL of a relay; raise `ValueError` for what is none."""
    try:
        target = URL(url)
    except ValueError as error:
        raise ValueError(f"not a relay URL: {url!r}: {error}") from error
    if target.scheme not in ("http", "https", "ws", "wss") or not target.host or target.port == 0:
        raise ValueError(f"not a relay URL: {url!r}: http, https, ws or wss, and a host are needed")
    return target.with_path(RELAY_PATH) if target.path in ("", "/") else target


@asynccontextmanager
async def dial_websocket(url: str) -> AsyncGenerator[BinarySocket, None]:
    """Open a WebSocket to a relay's base URL (`http`, `https`, `ws`, `wss`) or to a whole URL; a `Dial`."""
    try:
        target = parse_url(url)
    except ValueError as error:
        raise DialFailed(str(error)) from error
    async with aiohttp.ClientSession() as session:
        try:
            websocket = await session.ws_connect(
                target, protocols=(SUBPROTOCOL,), compress=0, max_msg_size=MAX_SOCKET_FRAME_BYTES
            )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise DialFailed(f"no connection to {target}: {error}") from error
        socket: sockets.socket | None = websocket.get_extra_info("socket")
        _bound_unsent(socket, None)

        def abort() -> None:
            # aiohttp does not show the client's transport; without its socket the transport ends at once.
            if socket is not None:
                with suppress(OSError):
                    socket.shutdown(sockets.SHUT_RDWR)

        try:
            if websocket.protocol != SUBPROTOCOL:
                raise DialFailed(f"the server at {target} does not speak {SUBPROTOCOL}")
            yield AiohttpSocket(websocket, abort)
        finally:
            abort()
            # Nothing is on the way any more; this only lets aiohttp release what it holds.
            with suppress(aiohttp.ClientError, OSError, TimeoutError):
                async with asyncio.timeout(RELEASE_TIMEOUT):
                    await websocket.close()


def _bound_unsent(socket: sockets.socket | None, transport: BaseTransport | None) -> None:
    if isinstance(transport, WriteTransport):
        transport.set_write_buffer_limits(high=UNSENT_BYTES)
    if socket is not None and hasattr(sockets, "TCP_NOTSENT_LOWAT"):
        with suppress(OSError):
            socket.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
