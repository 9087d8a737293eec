"""Dialling with a fallback: a WebSocket, or plain HTTP where that is refused, swallowed, or hangs; and back again."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from .aiohttp_socket import dial_websocket
from .errors import ProtocolError
from .http_dial import dial_http
from .text_socket import Dial, DialFailed, SocketClosed, TextSocket, Unreachable
from .transport_choice import TransportChoice


class FallbackDial:
    """A `Dial` for one link. Changing the transport is a lost connection to the link, which it resumes.

    A WebSocket counts as working with its first frame, which must come within `patience` seconds. While HTTP is used,
    a WebSocket is tried every `retry_after` seconds, and when one works the HTTP connection is ended in its favour.
    """

    def __init__(
        self,
        *,
        patience: float,
        retry_after: float,
        websocket: Dial = dial_websocket,
        http: Dial = dial_http,
    ) -> None:
        self._patience = patience
        self._websocket = websocket
        self._http = http
        self._choice = TransportChoice(retry_after=retry_after)

    def __call__(self, url: str) -> AbstractAsyncContextManager[TextSocket]:
        """Dial; raises `DialFailed` when nothing gets through."""
        return self._dial(url)

    @asynccontextmanager
    async def _dial(self, url: str) -> AsyncGenerator[TextSocket, None]:
        loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            failure: DialFailed | None = None
            if self._choice.tries_websocket(loop.time()):
                try:
                    socket = await stack.enter_async_context(self._open_websocket(url))
                except Unreachable:
                    raise
                except DialFailed as error:
                    failure = error
                else:
                    self._choice.websocket_worked()
                    yield socket
                    return
            try:
                socket = await stack.enter_async_context(self._http(url))
            except DialFailed as error:
                raise failure or error from error
            if failure is not None:
                self._choice.websocket_was_blocked(loop.time())
            await stack.enter_async_context(self._looking_for_better(url, socket))
            yield socket

    @asynccontextmanager
    async def _open_websocket(self, url: str) -> AsyncGenerator[TextSocket, None]:
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(self._patience):
                    socket = await stack.enter_async_context(self._websocket(url))
                    first = await socket.receive()
            except (TimeoutError, SocketClosed, ProtocolError) as error:
                raise DialFailed(f"no frame came over a WebSocket from {url}") from error
            yield _Begun(socket, first)

    @asynccontextmanager
    async def _looking_for_better(self, url: str, socket: TextSocket) -> AsyncGenerator[None, None]:
        looking = asyncio.create_task(self._look_for_better(url, socket))
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.wait({looking})
            if not looking.cancelled():
                looking.result()

    async def _look_for_better(self, url: str, socket: TextSocket) -> None:
        loop = asyncio.get_running_loop()
        while (retry_at := self._choice.retry_at()) is not None:
            await asyncio.sleep(max(0.0, retry_at - loop.time()))
            try:
                async with self._open_websocket(url):
                    self._choice.websocket_worked()
            except DialFailed:
                self._choice.websocket_was_blocked(loop.time())
        socket.abort()


class _Begun:
    """A socket whose first frame has been read already."""

    def __init__(self, socket: TextSocket, first: bytes) -> None:
        self._socket = socket
        self._first: bytes | None = first

    async def receive(self) -> bytes:
        """See `TextSocket.receive`."""
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return await self._socket.receive()

    async def send(self, *frames: bytes) -> None:
        """See `TextSocket.send`."""
        await self._socket.send(*frames)

    async def close(self, code: int, reason: str) -> None:
        """See `TextSocket.close`."""
        await self._socket.close(code, reason)

    def abort(self) -> None:
        """See `TextSocket.abort`."""
        self._socket.abort()
