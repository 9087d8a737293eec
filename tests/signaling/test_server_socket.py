"""The server's WebSocket, taken over from aiohttp: closing, failing, pings, and peers that do not read."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from rtcmesh.signaling.codes import CloseCode
from rtcmesh.signaling.config import ServerConfig, ServiceConfig
from rtcmesh.signaling.messages import SUBPROTOCOL
from rtcmesh.signaling.server import SignalingServer, serve
from rtcmesh.signaling.server_socket import ServerSocket
from rtcmesh.signaling.websocket_frames import Opcode, control_frame, text_header, unmasked

KEY = b"abcd"
UPGRADE = (
    "GET /v1/signaling HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    f"Sec-WebSocket-Protocol: other, {SUBPROTOCOL}\r\n\r\n"
).encode()


def masked(opcode: Opcode, payload: bytes) -> bytes:
    plain = control_frame(opcode, payload) if opcode >= Opcode.CLOSE else text_header(len(payload)) + payload
    head = len(plain) - len(payload)
    return plain[:1] + bytes((plain[1] | 0x80,)) + plain[2:head] + KEY + unmasked(payload, KEY)


class Wire:
    """A client that sees every byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def frame(self) -> tuple[Opcode, bytes]:
        first, size = await self.reader.readexactly(2)
        if size == 126:
            size = int.from_bytes(await self.reader.readexactly(2))
        return Opcode(first & 0x0F), await self.reader.readexactly(size)

    async def until(self, wanted: Opcode) -> bytes:
        while True:
            opcode, payload = await self.frame()
            if opcode is wanted:
                return payload

    def send(self, opcode: Opcode, payload: bytes) -> None:
        self.writer.write(masked(opcode, payload))


@asynccontextmanager
async def running() -> AsyncGenerator[SignalingServer]:
    service = ServiceConfig(close_timeout=0.3, drain_spread=0.0)
    async with asyncio.timeout(20), serve(ServerConfig(port=0, service=service)) as server:
        yield server


@asynccontextmanager
async def wire(server: SignalingServer, *behind: bytes) -> AsyncGenerator[Wire]:
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(UPGRADE + b"".join(behind))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        # The key and its answer of RFC 6455 section 1.3.
        assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head
        assert f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n".encode() in head
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()


async def test_what_comes_with_the_handshake_is_not_lost() -> None:
    async with running() as server, wire(server, masked(Opcode.PING, b"early")) as peer:
        assert await peer.until(Opcode.PONG) == b"early"


async def test_a_close_is_answered_and_the_connection_ends() -> None:
    async with running() as server, wire(server) as peer:
        peer.send(Opcode.CLOSE, CloseCode.GOING_AWAY.to_bytes(2) + b"bye")
        assert await peer.until(Opcode.CLOSE) == CloseCode.NORMAL.to_bytes(2) + b"bye"
        assert await peer.reader.read() == b""
        await until_gone(server)
        assert server.service.stats.endings["going_away"] == 1


async def test_what_is_no_websocket_is_told_so_though_more_of_it_comes() -> None:
    async with running() as server, wire(server) as peer:
        peer.writer.write(b"\x81\x05plain" + bytes(200_000))
        assert (await peer.until(Opcode.CLOSE))[:2] == CloseCode.PROTOCOL_ERROR.to_bytes(2)
        assert await peer.reader.read() == b""
        peer.writer.close()
        await until_gone(server)
        assert server.service.stats.endings["protocol_error"] == 1


async def test_a_frame_over_all_limits_ends_with_its_code() -> None:
    async with running() as server, wire(server) as peer:
        peer.writer.write(b"\x81\xff" + (1 << 40).to_bytes(8) + KEY)
        assert (await peer.until(Opcode.CLOSE))[:2] == CloseCode.TOO_LARGE.to_bytes(2)
        peer.writer.close()
        await until_gone(server)
        assert server.service.stats.endings["too_large"] == 1


class FullTransport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return False

    def resume_reading(self) -> None:
        pass


async def test_whoever_pings_and_does_not_read_is_owed_the_newest_pong_alone() -> None:
    transport, socket = FullTransport(), ServerSocket(max_frame_bytes=1000)
    socket.connection_made(transport)
    socket.pause_writing()
    receiving = asyncio.create_task(socket.receive())
    for number in range(1000):
        socket.data_received(masked(Opcode.PING, number.to_bytes(2)))
    socket.data_received(masked(Opcode.TEXT, b"hello"))
    assert await receiving == b"hello"
    assert transport.written == []
    socket.resume_writing()
    assert transport.written == [control_frame(Opcode.PONG, (999).to_bytes(2))]


async def test_a_peer_that_vanishes_leaves_nothing_behind() -> None:
    async with running() as server:
        async with wire(server) as peer:
            await peer.until(Opcode.TEXT)
            peer.writer.write(masked(Opcode.TEXT, b"half a frame")[:5])
            await peer.writer.drain()
        await until_gone(server)


async def test_the_end_of_the_server_ends_a_peer_that_says_nothing() -> None:
    async with running() as server, wire(server) as peer:
        await peer.until(Opcode.TEXT)
        ending = asyncio.create_task(server.service.drain())
        assert (await peer.until(Opcode.CLOSE))[:2] == (4010).to_bytes(2)
        await ending
        assert await peer.reader.read() == b""


async def until_gone(server: SignalingServer) -> None:
    # The service has no event for it that a test could wait for before it happens.
    while server.service.stats.connections:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("version", ["12", ""])
async def test_a_handshake_that_cannot_be_answered_is_refused(version: str) -> None:
    async with running() as server:
        host, port = server.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(UPGRADE.replace(b"Version: 13", b"Version: " + version.encode()))
        assert (await reader.readline()).startswith(b"HTTP/1.1 426 ")
        writer.transport.abort()
