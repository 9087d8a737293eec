"""A WebSocket for peers that put load on a server: it costs so little that the server is what is measured.

It masks with zeros, which leaves the payload as it is (RFC 6455 section 5.3), expects whole messages that are not
fragmented, and hands the payloads of all that has arrived over at once.
"""

import asyncio
import socket as sockets
from asyncio import Future, Transport
from base64 import b64encode
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from secrets import token_bytes
from typing import cast
from urllib.parse import urlsplit

from rtcmesh.signaling.codes import CloseCode
from rtcmesh.signaling.text_socket import DialFailed, SocketClosed

KEPT_BYTES = 65_536
"""What the kernel keeps for a peer that reads nothing."""

_NO_MASK = bytes(4)
_CLOSE, _PING = 0x88, 0x89


class LoadSocket(asyncio.Protocol):
    """Until `listen` is called, what arrives is kept for `receive`."""

    def __init__(self) -> None:
        self._transport: Transport | None = None
        self._buffer = b""
        self._upgraded = False
        self._inbox: list[bytes] = []
        self._listener: Callable[[list[bytes]], None] | None = None
        self._news: Future[None] | None = None
        self.ended = asyncio.Event()
        """Set when it is over."""

    async def receive(self) -> bytes:
        """Return the next message; `SocketClosed` at the end."""
        while not self._inbox:
            if self.ended.is_set():
                raise SocketClosed(CloseCode.ABNORMAL)
            self._news = asyncio.get_running_loop().create_future()
            await self._news
        return self._inbox.pop(0)

    def listen(self, listener: Callable[[list[bytes]], None]) -> None:
        """Call with the messages of each arrival from now on."""
        self._listener = listener
        if self._inbox:
            arrived, self._inbox = self._inbox, []
            listener(arrived)

    def stop_reading(self) -> None:
        """Take nothing more from the network, and let the kernel keep little of what comes."""
        if self._transport is not None:
            self._transport.pause_reading()
            plain = self._transport.get_extra_info("socket")
            plain.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, KEPT_BYTES)

    def send(self, *payloads: bytes) -> None:
        """Send text messages, in one system call; nothing once it is over."""
        if self._transport is not None and not self.ended.is_set():
            self._transport.write(
                b"".join([part for payload in payloads for part in (_head(payload), payload)])
            )

    def abort(self) -> None:
        """Drop the connection."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        self._transport = cast("Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end."""
        self.ended.set()
        self._wake()

    def data_received(self, data: bytes) -> None:
        """Cut what has arrived into messages."""
        self._buffer = self._buffer + data if self._buffer else data
        if not self._upgraded and not self._finish_handshake():
            return
        arrived = self._messages()
        if self._listener is not None:
            self._listener(arrived)
        else:
            self._inbox += arrived
            self._wake()

    def _finish_handshake(self) -> bool:
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return False
        if not head.startswith(b"HTTP/1.1 101 "):
            self.abort()
            return False
        self._upgraded, self._buffer = True, rest
        return True

    def _messages(self) -> list[bytes]:
        buffer, at, found = self._buffer, 0, list[bytes]()
        available = len(buffer)
        while available - at >= 2:
            size_bytes, begins = buffer[at + 1], at + 2
            if size_bytes >= 126:
                width = 2 if size_bytes == 126 else 8
                if available - begins < width:
                    break
                size_bytes = int.from_bytes(buffer[begins : begins + width])
                begins += width
            ends = begins + size_bytes
            if ends > available:
                break
            kind = buffer[at]
            if kind < _CLOSE:
                found.append(buffer[begins:ends])
            elif kind == _CLOSE:
                self.abort()
            elif kind == _PING and self._transport is not None:
                self._transport.write(bytes((0x8A, 0x80 | size_bytes)) + _NO_MASK + buffer[begins:ends])
            at = ends
        self._buffer = buffer[at:]
        return found

    def _wake(self) -> None:
        news, self._news = self._news, None
        if news is not None and not news.done():
            news.set_result(None)


def _head(payload: bytes) -> bytes:
    size_bytes = len(payload)
    if size_bytes < 126:
        return bytes((0x81, 0x80 | size_bytes)) + _NO_MASK
    if size_bytes < 2**16:
        return b"\x81\xfe" + size_bytes.to_bytes(2) + _NO_MASK
    return b"\x81\xff" + size_bytes.to_bytes(8) + _NO_MASK


@asynccontextmanager
async def load_socket(
    url: str, path: str, *, subprotocol: str | None = None, local_host: str | None = None
) -> AsyncGenerator[LoadSocket, None]:
    """Open a WebSocket to a server at this URL, from this address of ours; raises `DialFailed`."""
    address = urlsplit(url)
    head = [
        f"GET {path} HTTP/1.1",
        f"Host: {address.netloc}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {b64encode(token_bytes(16)).decode()}",
    ]
    if subprotocol is not None:
        head.append(f"Sec-WebSocket-Protocol: {subprotocol}")
    local = None if local_host is None else (local_host, 0)
    try:
        transport, socket = await asyncio.get_running_loop().create_connection(
            LoadSocket, address.hostname or "", address.port or 80, local_addr=local
        )
    except OSError as error:
        raise DialFailed(f"no connection to {url}: {error}") from error
    transport.write("\r\n".join([*head, "", ""]).encode())
    try:
        yield socket
    finally:
        socket.abort()
