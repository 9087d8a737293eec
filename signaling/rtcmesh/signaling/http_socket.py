"""The server's side of the HTTP fallback: a text socket of server-sent events down and POSTs up."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from secrets import token_bytes

import aiohttp
import msgspec
from aiohttp import web

from .aiohttp_socket import SIGNALING_PATH
from .codes import CloseCode
from .door import call_when_lost
from .errors import ProtocolError
from .event_stream import encode_event, padding
from .messages import FRAME_OVERHEAD_BYTES
from .post import SECRET_BYTES, Close, ConnectionNames, Opened, Post, Turn, Turns
from .text_socket import SocketClosed, TextSocket

EVENTS_PATH = f"{SIGNALING_PATH}/events"
FORWARDED = "X-Rtcmesh-Forwarded"
BODY_TIMEOUT = 10.0
"""Seconds for the body of a POST to arrive, and for another server to answer one."""

_STREAM_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",
}


class HttpSocket:
    """A `TextSocket`; POSTs come in by `take`, and what is not received holds their answer back."""

    def __init__(
        self, response: web.StreamResponse, transport: asyncio.Transport, *, max_inbox_bytes: int
    ) -> None:
        self._response = response
        self._transport = transport
        self._max_inbox_bytes = max_inbox_bytes
        self._inbox: deque[bytes] = deque()
        self._inbox_bytes = 0
        self._turns = Turns()
        self._closed: SocketClosed | None = None
        self._changed = asyncio.Event()
        call_when_lost(transport, self._lose)

    async def receive(self) -> bytes:
        """See `TextSocket.receive`."""
        while not self._inbox:
            if self._closed is not None:
                raise self._closed
            await self._wait()
        frame = self._inbox.popleft()
        self._inbox_bytes -= len(frame) + FRAME_OVERHEAD_BYTES
        self._change()
        return frame

    async def send(self, *frames: bytes) -> None:
        """See `TextSocket.send`."""
        await self._write(b"".join(map(encode_event, frames)))

    async def close(self, code: int, reason: str) -> None:
        """See `TextSocket.close`."""
        closing = msgspec.json.encode(Close(code=code, reason=reason[:1024]))
        await self._write(encode_event(closing, "close"))
        try:
            await self._response.write_eof()
        except (aiohttp.ClientError, OSError) as error:
            raise SocketClosed(CloseCode.ABNORMAL) from error

    def abort(self) -> None:
        """See `TextSocket.abort`."""
        self._transport.abort()
        self._lose()

    async def open(self, connection: str) -> None:
        """Begin the stream: padding for proxies that hold back the first bytes, and the name of the connection."""
        opened = msgspec.json.encode(Opened(connection=connection))
        await self._write(padding() + encode_event(opened, "open"))

    async def take(self, post: Post) -> bool:
        """Take a POST and return once there is room for the next; False for one that is out of turn.

        A repeated one is not taken again. One that comes while there is no room is out of turn: the peer was to wait.
        """
        turn = Turn.OUT_OF_TURN
        if self._inbox_bytes <= self._max_inbox_bytes or not self._turns.is_next(post.head.sequence):
            turn = self._turns.take(post.head.sequence)
        match turn:
            case Turn.NEXT:
                self._put(post)
            case Turn.OUT_OF_TURN:
                self._end(SocketClosed(CloseCode.ABNORMAL, "a POST that was out of turn"))
                return False
            case Turn.REPEATED:
                pass
        while self._inbox_bytes > self._max_inbox_bytes and self._closed is None:
            await self._wait()
        return True

    def _put(self, post: Post) -> None:
        if self._closed is None:
            self._inbox.extend(post.frames)
            self._inbox_bytes += sum(len(frame) + FRAME_OVERHEAD_BYTES for frame in post.frames)
            self._change()
            if post.head.close is not None:
                self._end(SocketClosed(post.head.close.code, post.head.close.reason))

    async def _write(self, data: bytes) -> None:
        try:
            await self._response.write(data)
        except (aiohttp.ClientError, OSError) as error:
            raise SocketClosed(CloseCode.ABNORMAL) from error

    async def _wait(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _change(self) -> None:
        self._changed.set()

    def _lose(self) -> None:
        self._end(SocketClosed(CloseCode.ABNORMAL))

    def _end(self, closed: SocketClosed) -> None:
        if self._closed is None:
            self._closed = closed
            self._change()


class _TooLarge(Exception):
    """A body is larger than the limit."""


class HttpEndpoint:
    """Opens streams, and brings each POST to its connection: to one of this server's, or to the server that has it.

    `serve` serves a socket to its end. `names` gives connections names that other servers understand; without it a
    POST must come to the server that has its connection. A connection that nobody has is answered with 404.
    """

    def __init__(
        self,
        serve: Callable[[TextSocket, web.Request], Awaitable[None]],
        *,
        max_post_bytes: int,
        names: ConnectionNames | None = None,
    ) -> None:
        self._serve = serve
        self._max_post_bytes = max_post_bytes
        self._names = names
        self._sockets: dict[str, HttpSocket] = {}
        self._session: aiohttp.ClientSession | None = None

    async def open_stream(self, request: web.Request, headers: dict[str, str]) -> web.StreamResponse:
        """Answer a GET with the stream of a new connection."""
        response = web.StreamResponse(headers={**_STREAM_HEADERS, **headers})
        response.force_close()
        await response.prepare(request)
        transport = request.transport
        if transport is None:
            return response
        key = token_bytes(SECRET_BYTES)
        connection = key.hex() if self._names is None else self._names.name(key)
        socket = HttpSocket(response, transport, max_inbox_bytes=self._max_post_bytes)
        self._sockets[connection] = socket
        try:
            await socket.open(connection)
            await self._serve(socket, request)
        except SocketClosed:
            pass
        finally:
            del self._sockets[connection]
        return response

    async def take_post(self, request: web.Request) -> web.Response:
        """Answer a POST: 204 when it is taken, and then the next may come."""
        try:
            async with asyncio.timeout(BODY_TIMEOUT):
                body = await self._read(request)
            post = Post.decode(body)
        except _TooLarge:
            return web.Response(status=413)
        except TimeoutError:
            return web.Response(status=408)
        except (OSError, web.RequestPayloadError):
            return web.Response(
                status=400
            )  # the peer went away in the middle, or what it sent cannot be decoded
        except ProtocolError as error:
            return web.Response(status=400, text=str(error))
        socket = self._sockets.get(post.head.connection)
        if socket is None:
            return await self._forward(request, post.head.connection, body)
        return web.Response(status=204 if await socket.take(post) else 409)

    async def aclose(self) -> None:
        """Release the connections to other servers."""
        if self._session is not None:
            await self._session.close()

    async def _read(self, request: web.Request) -> bytes:
        body = bytearray()
        async for piece in request.content.iter_any():
            body += piece
            if len(body) > self._max_post_bytes:
                raise _TooLarge
        return bytes(body)

    async def _forward(self, request: web.Request, connection: str, body: bytes) -> web.Response:
        server = None if self._names is None else self._names.server_of(connection)
        if server is None or FORWARDED in request.headers:
            return web.Response(status=404)
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=BODY_TIMEOUT))
        try:
            async with self._session.post(
                server + EVENTS_PATH, data=body, headers={FORWARDED: "1"}
            ) as answer:
                return web.Response(status=answer.status)
        except (aiohttp.ClientError, OSError, TimeoutError):
            return web.Response(status=502)
