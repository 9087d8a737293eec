"""Text sockets over aiohttp's WebSockets, for the peer's end of the wire.

Compression is off: it costs 100 KiB a connection and gains little on sealed bytes. aiohttp can wait for a stuck peer
for as long as that peer likes, both in `send_str` and in `close`; `abort` is what ends such a wait.
"""

import asyncio
import socket as sockets
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Literal, TypeAlias

import aiohttp
from aiohttp import ClientWebSocketResponse, WebSocketError, WSMsgType
from yarl import URL

from .codes import CloseCode
from .errors import ProtocolError
from .messages import MAX_SERVER_MESSAGE_BYTES, SUBPROTOCOL
from .text_socket import DialFailed, SocketClosed, TextSocket, Unreachable

SIGNALING_PATH = "/v1/signaling"

RELEASE_TIMEOUT = 1.0
"""Seconds for aiohttp to notice that an aborted connection has ended."""

_WebSocket: TypeAlias = ClientWebSocketResponse[Literal[False]]


class AiohttpSocket:
    """A `TextSocket` over aiohttp's WebSocket; `abort` drops the transport under it."""

    def __init__(self, websocket: _WebSocket, abort: Callable[[], None]) -> None:
        self._websocket = websocket
        self._abort = abort

    async def receive(self) -> bytes:
        """See `TextSocket.receive`."""
        try:
            message = await self._websocket.receive()
        except (aiohttp.ClientError, OSError) as error:
            raise SocketClosed(CloseCode.ABNORMAL) from error
        match message.type:
            case WSMsgType.TEXT:
                return bytes(message.data)
            case WSMsgType.BINARY:
                raise ProtocolError("a binary frame")
            case WSMsgType.CLOSE:
                raise SocketClosed(message.data or CloseCode.NO_STATUS, message.extra or "")
            case WSMsgType.ERROR:
                code = message.data.code if isinstance(message.data, WebSocketError) else CloseCode.ABNORMAL
                raise SocketClosed(code, str(message.data))
            case _:
                raise SocketClosed(CloseCode.ABNORMAL)

    async def send(self, *frames: bytes) -> None:
        """See `TextSocket.send`."""
        try:
            for frame in frames:
                await self._websocket.send_frame(frame, WSMsgType.TEXT)
        except (aiohttp.ClientError, OSError) as error:
            raise SocketClosed(CloseCode.ABNORMAL) from error

    async def close(self, code: int, reason: str) -> None:
        """See `TextSocket.close`."""
        try:
            # RFC 6455 section 5.5: a control frame carries at most 125 bytes, two of them the code, the rest UTF-8.
            message = reason.encode()[:123].decode(errors="ignore").encode()
            await self._websocket.close(code=code, message=message)
        except (aiohttp.ClientError, OSError) as error:
            raise SocketClosed(CloseCode.ABNORMAL) from error

    def abort(self) -> None:
        """See `TextSocket.abort`."""
        self._abort()


def parse_url(url: str) -> URL:
    """Return the whole URL of a server; raise `ValueError` for what is none."""
    try:
        target = URL(url)
    except ValueError as error:
        raise ValueError(f"not a signaling URL: {url!r}: {error}") from error
    if target.scheme not in ("http", "https", "ws", "wss") or not target.host or target.port == 0:
        raise ValueError(f"not a signaling URL: {url!r}: http, https, ws or wss, and a host are needed")
    return target.with_path(SIGNALING_PATH) if target.path in ("", "/") else target


@asynccontextmanager
async def dial_websocket(url: str, *, local_host: str | None = None) -> AsyncGenerator[TextSocket, None]:
    """Open a WebSocket to a server's base URL (`http`, `https`, `ws`, `wss`) or to a whole URL; a `Dial`.

    `local_host` is the address of this machine to come from, if it has several.
    """
    try:
        target = parse_url(url)
    except ValueError as error:
        raise DialFailed(str(error)) from error
    connector = None if local_host is None else aiohttp.TCPConnector(local_addr=(local_host, 0))
    async with aiohttp.ClientSession(connector=connector) as session:
        try:
            websocket = await session.ws_connect(
                target,
                protocols=(SUBPROTOCOL,),
                compress=0,
                max_msg_size=MAX_SERVER_MESSAGE_BYTES,
                decode_text=False,
            )
        except aiohttp.ClientConnectorError as error:
            raise Unreachable(f"no connection to {target}: {error}") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise DialFailed(f"no connection to {target}: {error}") from error
        socket: sockets.socket | None = websocket.get_extra_info("socket")

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
