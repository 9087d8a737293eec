"""A text socket over asyncio streams, for networks without HTTP: tests, and the virtual network.

 0                   1                   2                   3
 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
+---------------+-----------------------------------------------+
|  kind (0, 1)  |             length, big-endian                |
+---------------+-----------------------------------------------+
|  kind 0: text in UTF-8;  kind 1: close code (16 bits), reason |
+---------------------------------------------------------------+
"""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from .codes import CloseCode
from .errors import ProtocolError
from .text_socket import DialFailed, SocketClosed, TextSocket

MAX_FRAME_BYTES = 2**24 - 1

_TEXT, _CLOSE = 0, 1


class StreamSocket:
    """A `TextSocket` over a stream; see `TextSocket` for what its methods guarantee."""

    def __init__(self, reader: StreamReader, writer: StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._closed: SocketClosed | None = None
        self._released = False

    async def receive(self) -> bytes:
        """See `TextSocket.receive`."""
        if self._closed is not None:
            raise self._closed
        try:
            header = await self._reader.readexactly(4)
            payload = await self._reader.readexactly(int.from_bytes(header[1:]))
        except (EOFError, OSError) as error:
            raise self._close_with(CloseCode.ABNORMAL, "") from error
        if header[0] == _CLOSE:
            raise self._close_with(int.from_bytes(payload[:2]), payload[2:].decode(errors="replace"))
        if header[0] != _TEXT:
            raise ProtocolError(f"a frame of unknown kind {header[0]}")
        return payload

    async def send(self, *frames: bytes) -> None:
        """See `TextSocket.send`."""
        for frame in frames:
            await self._write(_TEXT, frame)

    async def close(self, code: int, reason: str) -> None:
        """See `TextSocket.close`."""
        if self._closed is None:
            await self._write(_CLOSE, code.to_bytes(2) + reason.encode())
        try:
            self._writer.close()
            await self._writer.wait_closed()
            self._released = True
        except OSError as error:
            raise self._close_with(CloseCode.ABNORMAL, "") from error

    def abort(self) -> None:
        """See `TextSocket.abort`."""
        # What was written before an orderly close may still be on its way.
        if not self._released:
            self._writer.transport.abort()

    async def _write(self, kind: int, payload: bytes) -> None:
        if len(payload) > MAX_FRAME_BYTES:
            raise ProtocolError(f"a frame of {len(payload)} bytes")
        try:
            self._writer.write(bytes([kind]) + len(payload).to_bytes(3) + payload)
            await self._writer.drain()
        except OSError as error:
            raise self._close_with(CloseCode.ABNORMAL, "") from error

    def _close_with(self, code: int, reason: str) -> SocketClosed:
        if self._closed is None:
            self._closed = SocketClosed(code, reason)
        return self._closed


@asynccontextmanager
async def dial_stream(url: str) -> AsyncGenerator[TextSocket, None]:
    """Open a stream to `tcp://host:port`; a `Dial`."""
    address = urlsplit(url)
    try:
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
    except OSError as error:
        raise DialFailed(f"no connection to {url}") from error
    socket = StreamSocket(reader, writer)
    try:
        yield socket
    finally:
        socket.abort()
