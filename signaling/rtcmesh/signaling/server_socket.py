"""The server's WebSocket: a handshake of aiohttp's, and after it a connection that aiohttp has nothing to do with.

aiohttp keeps the request, its headers, its parser and three coroutines for as long as a WebSocket lasts, 12 KB of
them, and a message passes five of its objects. So once the handshake is answered the transport is taken from it.
"""

import asyncio
from asyncio import Future, Transport
from base64 import b64encode
from contextlib import suppress
from hashlib import sha1
from typing import Any, cast

from aiohttp import web
from aiohttp.http import WS_KEY

from .codes import CloseCode
from .door import hand_over
from .errors import ProtocolError
from .messages import SUBPROTOCOL
from .text_socket import SocketClosed
from .websocket_frames import (
    FrameError,
    FrameReader,
    Opcode,
    Received,
    close_frame,
    control_frame,
    read_close,
    text_header,
)

HELD_BYTES = 65_536
"""How much of what was not received yet is held; beyond it nothing is read."""

CONTROLS_AT_ONCE = 8
"""How many pings and pongs of one connection are dealt with before the others have a turn."""


class ServerSocket(asyncio.Protocol):
    """A `TextSocket`; frames that are sent together are written together, in one system call."""

    __slots__ = (
        "_closed",
        "_closing",
        "_failed",
        "_frames",
        "_lost",
        "_news",
        "_owed_pong",
        "_resumed",
        "_transport",
    )

    def __init__(self, *, max_frame_bytes: int) -> None:
        self._frames = FrameReader(max_frame_bytes)
        self._transport: Transport | None = None
        self._news: Future[None] | None = None
        """What `receive`, or `close`, waits for."""
        self._resumed: Future[None] | None = None
        """What `send` waits for; there while the transport is full."""
        self._owed_pong: bytes | None = None
        self._closing = False
        """Whether this side has sent its close frame."""
        self._closed: SocketClosed | None = None
        """How the other side closed, or what it did that ends the connection."""
        self._failed = False
        """Whether nothing that still comes can be understood."""
        self._lost = False

    async def receive(self) -> bytes:
        """See `TextSocket.receive`."""
        received = await self._next()
        if received.opcode is not Opcode.TEXT:
            raise ProtocolError("a binary frame")
        return received.payload

    async def send(self, *frames: bytes) -> None:
        """See `TextSocket.send`."""
        self._write(b"".join([part for frame in frames for part in (text_header(len(frame)), frame)]))
        if self._resumed is not None:
            await self._resumed
            if self._lost:
                raise SocketClosed(CloseCode.ABNORMAL)

    async def close(self, code: int, reason: str) -> None:
        """See `TextSocket.close`."""
        if not self._closing:
            self._write(close_frame(code, reason))
            self._closing = True
        # Whoever receives has nothing to wait for any more.
        self._wake()
        with suppress(SocketClosed):
            while True:
                await self._next(closing=True)
                # What is dropped costs its sender little: the others have a turn after each.
                await asyncio.sleep(0)
        with suppress(SocketClosed):
            while self._failed:
                await self._wait()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """See `TextSocket.abort`."""
        if self._transport is not None:
            self._transport.abort()

    async def _next(self, *, closing: bool = False) -> Received:
        """Return the next message; answer pings, and raise `SocketClosed` when the connection ends."""
        controls = 0
        while True:
            if self._closed is not None:
                raise self._closed
            if self._closing and not closing:
                raise SocketClosed(CloseCode.ABNORMAL)
            try:
                received = self._frames.next()
                if received is None:
                    await self._wait()
                    continue
                if received.opcode < Opcode.CLOSE:
                    return received
                self._take_control(received)
            except FrameError as error:
                self._fail(error)
            controls += 1
            if controls % CONTROLS_AT_ONCE == 0:
                await asyncio.sleep(0)

    async def _wait(self) -> None:
        if self._lost or self._transport is None:
            raise SocketClosed(CloseCode.ABNORMAL)
        self._transport.resume_reading()
        self._news = news = asyncio.get_running_loop().create_future()
        await news

    def _take_control(self, received: Received) -> None:
        if received.opcode is Opcode.CLOSE:
            self._closed = SocketClosed(*read_close(received.payload))
        elif received.opcode is Opcode.PING:
            # Whoever pings and does not read is owed the newest pong alone (RFC 6455 section 5.5.3).
            self._owed_pong = received.payload
            self._pay_pong()

    def _fail(self, error: FrameError) -> None:
        """Say why, and take no more; what still comes is dropped, or a reset would overtake what was said."""
        self._closed, self._failed = SocketClosed(error.code, str(error)), True
        if self._transport is not None and not self._closing and not self._transport.is_closing():
            self._transport.write(close_frame(error.code, str(error)))
            self._transport.write_eof()
        self._closing = True

    def _pay_pong(self) -> None:
        if self._owed_pong is not None and self._resumed is None and not self._closing:
            pong, self._owed_pong = control_frame(Opcode.PONG, self._owed_pong), None
            self._write(pong)

    def _write(self, data: bytes) -> None:
        if self._closing or self._transport is None or self._transport.is_closing():
            raise SocketClosed(CloseCode.ABNORMAL)
        self._transport.write(data)

    def _wake(self) -> None:
        news, self._news = self._news, None
        if news is not None and not news.done():
            news.set_result(None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        self._transport = cast("Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Hold what has arrived until it is received; once this is much, read no more."""
        if self._failed:
            return
        self._frames.feed(data)
        if self._news is not None:
            self._wake()
        elif self._frames.held_bytes > HELD_BYTES and self._transport is not None:
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        """Let `send` wait."""
        if self._resumed is None:
            self._resumed = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """Let `send` go on."""
        resumed, self._resumed = self._resumed, None
        if resumed is not None and not resumed.done():
            resumed.set_result(None)
        with suppress(SocketClosed):
            self._pay_pong()

    def connection_lost(self, exc: Exception | None) -> None:
        """End every wait."""
        self._lost, self._transport = True, None
        self._wake()
        self.resume_writing()


class _Tail:
    """What aiohttp had already read behind the handshake; it hands that over to whoever it takes for its parser."""

    def __init__(self) -> None:
        self.data = b""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        pass


def offers_subprotocol(request: web.Request) -> bool:
    """Whether a handshake names the protocol that is spoken here."""
    offered = ",".join(request.headers.getall("Sec-WebSocket-Protocol", []))
    return SUBPROTOCOL in (name.strip() for name in offered.split(","))


def accept_websocket(request: web.Request, *, max_frame_bytes: int) -> ServerSocket:
    """Answer a WebSocket handshake that can be answered, and take the connection from aiohttp.

    The request has no connection afterwards: what its handler returns goes nowhere. Raises `SocketClosed` if the
    peer has gone.
    """
    transport = request.transport
    if transport is None or transport.is_closing():
        raise SocketClosed(CloseCode.ABNORMAL)
    key = request.headers["Sec-WebSocket-Key"].encode()
    accept = b64encode(sha1(key + WS_KEY, usedforsecurity=False).digest()).decode()
    head = (
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept}",
        f"Sec-WebSocket-Protocol: {SUBPROTOCOL}",
        "\r\n",
    )
    transport.write("\r\n".join(head).encode())
    tail = _Tail()
    request.protocol.set_parser(cast("Any", tail))
    # Or aiohttp would close it, when it sees it as lost.
    request.protocol.transport = None
    socket = ServerSocket(max_frame_bytes=max_frame_bytes)
    hand_over(transport, socket)
    if tail.data:
        socket.data_received(tail.data)
    return socket
