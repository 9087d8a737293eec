"""The peer's side of the HTTP fallback: dials a stream of server-sent events, and sends frames up in POSTs."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import aiohttp
from yarl import URL

from .aiohttp_socket import parse_url
from .codes import CloseCode
from .errors import ProtocolError
from .event_stream import Event, EventStream
from .messages import MAX_SERVER_MESSAGE_BYTES
from .post import Close, Opened, Post, PostHead, decode_json
from .text_socket import DialFailed, SocketClosed, TextSocket

EVENTS_SUFFIX = "/events"

HIGH_WATER_BYTES = 65_536
"""What may wait for the next POST before `send` waits; also the size of a POST, unless one frame is larger."""

RETRY_PAUSES = (0.0, 0.2, 1.0, 3.0)
"""Seconds before each attempt to send the same POST; then the connection is over."""

_POST_TIMEOUT = aiohttp.ClientTimeout(total=30.0)
_STREAM_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10.0, sock_read=None)
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)


class HttpDialSocket:
    """A `TextSocket`. One POST is under way at a time; a frame is sent again until it is answered, and counts once.

    Its owner runs `read_all` and `post_all` as tasks while the socket is used.
    """

    def __init__(self, session: aiohttp.ClientSession, url: URL, stream: aiohttp.ClientResponse) -> None:
        self._session = session
        self._url = url
        self._stream = stream
        self._connection = ""
        self._events = EventStream(max_bytes=MAX_SERVER_MESSAGE_BYTES)
        self._inbox: deque[bytes] = deque()
        self._inbox_bytes = 0
        self._outbox: deque[bytes] = deque()
        self._outbox_bytes = 0
        self._sequence = 0
        self._closing: Close | None = None
        self._end: SocketClosed | ProtocolError | None = None
        self._changed = asyncio.Event()

    async def opened(self) -> None:
        """Return once the server has named the connection, or it has ended."""
        while not self._connection and self._end is None:
            await self._wait()
        if self._end is not None:
            raise self._end

    async def receive(self) -> bytes:
        """See `TextSocket.receive`."""
        while not self._inbox:
            if self._end is not None:
                raise self._end
            await self._wait()
        frame = self._inbox.popleft()
        self._inbox_bytes -= len(frame)
        self._changed.set()
        return frame

    async def send(self, *frames: bytes) -> None:
        """See `TextSocket.send`."""
        if any(b"\n" in frame for frame in frames):
            raise ProtocolError("a frame of more than one line")
        self._outbox.extend(frames)
        self._outbox_bytes += sum(map(len, frames))
        self._changed.set()
        while self._outbox_bytes > HIGH_WATER_BYTES and self._end is None:
            await self._wait()
        if isinstance(self._end, SocketClosed):
            raise self._end

    async def close(self, code: int, reason: str) -> None:
        """See `TextSocket.close`."""
        self._closing = Close(code=code, reason=reason[:1024])
        self._changed.set()
        while self._end is None:
            await self._wait()

    def abort(self) -> None:
        """See `TextSocket.abort`."""
        self._finish(SocketClosed(CloseCode.ABNORMAL))

    async def read_all(self) -> None:
        """Read events until the connection is over; what is not received holds the stream back."""
        try:
            async for piece in self._stream.content.iter_any():
                for event in self._events.feed(piece):
                    self._take(event)
                while self._inbox_bytes > HIGH_WATER_BYTES and self._end is None:
                    await self._wait()
        except ProtocolError as error:
            self._finish(error)
        except (aiohttp.ClientError, OSError):
            pass
        self._finish(SocketClosed(CloseCode.ABNORMAL))

    async def post_all(self) -> None:
        """Send what `send` takes until the connection is over."""
        while self._end is None:
            if self._connection and (self._outbox or self._closing is not None):
                await self._post(self._next_post())
            else:
                await self._wait()

    def _take(self, event: Event) -> None:
        match event.name:
            case "message":
                self._inbox.append(event.data)
                self._inbox_bytes += len(event.data)
                self._changed.set()
            case "open":
                self._connection = decode_json(event.data, Opened).connection
                self._changed.set()
            case "close":
                closed = decode_json(event.data, Close)
                self._finish(SocketClosed(closed.code, closed.reason))
            case _:
                pass  # an event of a newer server

    def _finish(self, end: SocketClosed | ProtocolError) -> None:
        if self._end is None:
            self._end = end
            self._changed.set()

    async def _wait(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _next_post(self) -> Post:
        frames: list[bytes] = []
        size_bytes = 0
        while self._outbox and (not frames or size_bytes + len(self._outbox[0]) <= HIGH_WATER_BYTES):
            frames.append(self._outbox.popleft())
            size_bytes += len(frames[-1])
        self._sequence += 1
        closing = self._closing if not self._outbox else None
        return Post(
            PostHead(connection=self._connection, sequence=self._sequence, close=closing), tuple(frames)
        )

    async def _post(self, post: Post) -> None:
        body, status = post.encode(), 0
        for pause in RETRY_PAUSES:
            await asyncio.sleep(pause)
            if self._end is not None:
                return
            status = await self._try(body)
            if status not in _TRANSIENT:
                break
        if status != 204:
            self._finish(SocketClosed(CloseCode.ABNORMAL, f"a POST was answered with {status}"))
        elif post.head.close is not None:
            self._finish(SocketClosed(post.head.close.code, post.head.close.reason))
        self._outbox_bytes -= sum(map(len, post.frames))
        self._changed.set()

    async def _try(self, body: bytes) -> int:
        try:
            async with self._session.post(
                self._url, data=body, headers={"Content-Type": "text/plain"}, timeout=_POST_TIMEOUT
            ) as answer:
                return answer.status
        except (aiohttp.ClientError, OSError, TimeoutError):
            return 503


@asynccontextmanager
async def dial_http(url: str) -> AsyncGenerator[TextSocket, None]:
    """Open a connection without WebSockets to a server's base URL or to a whole URL of signaling; a `Dial`."""
    try:
        target = parse_url(url)
    except ValueError as error:
        raise DialFailed(str(error)) from error
    scheme = {"ws": "http", "wss": "https"}.get(target.scheme, target.scheme)
    target = target.with_scheme(scheme).with_path(target.path.rstrip("/") + EVENTS_SUFFIX)
    async with aiohttp.ClientSession() as session:
        try:
            stream = await session.get(
                target, headers={"Accept": "text/event-stream"}, timeout=_STREAM_TIMEOUT
            )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise DialFailed(f"no connection to {target}: {error}") from error
        try:
            if stream.status != 200 or stream.content_type != "text/event-stream":
                raise DialFailed(f"{target} is no stream of events: {stream.status} {stream.content_type}")
            async with _running(HttpDialSocket(session, target, stream)) as socket:
                yield socket
        finally:
            stream.close()


@asynccontextmanager
async def _running(socket: HttpDialSocket) -> AsyncGenerator[HttpDialSocket, None]:
    tasks = [asyncio.create_task(work) for work in (socket.read_all(), socket.post_all())]
    try:
        try:
            await socket.opened()
        except (SocketClosed, ProtocolError) as error:
            raise DialFailed("the stream ended before the connection had a name") from error
        yield socket
    finally:
        socket.abort()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
