"""Something to talk to, for `rtcmesh netem shell`: echo and discard over UDP and TCP, and a web server. A program.

port 7      sends everything back, over UDP and TCP (RFC 862)
port 9      takes everything, over UDP and TCP (RFC 863)
port 80     answers GET /N with N bytes, and takes what is sent to it
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

ECHO, DISCARD, HTTP = 7, 9, 80
_BLOCK = bytes(65_536)
_LENGTH = re.compile(rb"(?im)^content-length: *(\d+)")

_Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, *, echoes: bool) -> None:
        self._echoes = echoes

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self._echoes:
            self._transport.sendto(data, addr)


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(len(_BLOCK)):
        writer.write(data)
        await writer.drain()


async def _discard(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    while await reader.read(len(_BLOCK)):
        pass


async def _web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        left = int(length[1]) if length else 0
        while left:
            left -= len(await reader.readexactly(min(left, len(_BLOCK))))
        path = head.split(b" ", 2)[1].strip(b"/")
        size = int(path) if path.isdigit() else 0
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while size:
            writer.write(_BLOCK[:size])
            size -= min(size, len(_BLOCK))
            await writer.drain()


def _closing(serve: _Serve) -> _Serve:
    async def serve_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, EOFError, IndexError, asyncio.LimitOverrunError):
            await serve(reader, writer)
        writer.close()

    return serve_and_close


async def main() -> None:
    """Serve until killed."""
    loop = asyncio.get_running_loop()
    for port, serve in ((ECHO, _echo), (DISCARD, _discard), (HTTP, _web)):
        await asyncio.start_server(_closing(serve), ["0.0.0.0", "::"], port)  # noqa: S104  (nobody else is there)
        if port != HTTP:  # one socket for both versions of IP
            await loop.create_datagram_endpoint(
                partial(_Datagrams, echoes=port == ECHO), local_addr=("::", port)
            )
    sys.stdout.write("serving\n")
    sys.stdout.flush()
    await loop.create_future()


if __name__ == "__main__":
    asyncio.run(main())
