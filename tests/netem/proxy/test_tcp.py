"""TCP through a proxy that treats connections badly, on real sockets of loopback."""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import pytest

from rtcmesh.netem.packet import Endpoint
from rtcmesh.netem.proxy.tcp import TcpProxy
from rtcmesh.netem.proxy.toxics import Toxics

PATIENCE = 20.0


class Server:
    """Echoes, and remembers how its connections ended; one that does not read waits instead."""

    def __init__(self, *, reads: bool = True) -> None:
        self.ended: asyncio.Queue[str] = asyncio.Queue()
        self._reads = reads
        self.over = asyncio.Event()

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            if not self._reads:
                await self.over.wait()
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            self.ended.put_nowait("end")
        except OSError:
            self.ended.put_nowait("reset")
        finally:
            writer.close()


@asynccontextmanager
async def proxied(
    server: Server, there: Toxics | None = None, back: Toxics | None = None
) -> AsyncGenerator[tuple[TcpProxy, StreamReader, StreamWriter]]:
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    target = Endpoint(*listening.sockets[0].getsockname())
    try:
        async with asyncio.timeout(PATIENCE), TcpProxy(target, there=there, back=back) as proxy:
            reader, writer = await asyncio.open_connection(proxy.endpoint.address, proxy.endpoint.port)
            try:
                yield proxy, reader, writer
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
    finally:
        server.over.set()
        listening.close()
        await listening.wait_closed()


async def test_a_stream_comes_back_whole_and_late() -> None:
    data = bytes(range(256)) * 1000
    async with proxied(Server(), Toxics(latency=0.1), Toxics(latency=0.1)) as (_, reader, writer):
        sent_at = asyncio.get_running_loop().time()
        writer.write(data)
        assert await reader.readexactly(len(data)) == data
        assert asyncio.get_running_loop().time() - sent_at >= 0.199


async def test_the_end_of_a_stream_is_passed_on_both_ways() -> None:
    server = Server()
    async with proxied(server) as (_, reader, writer):
        writer.write(b"last words")
        writer.write_eof()
        assert await reader.read() == b"last words"
        assert await server.ended.get() == "end"


async def test_a_cut_holds_everything_and_a_heal_lets_it_go() -> None:
    async with proxied(Server()) as (proxy, reader, writer):
        proxy.cut()
        writer.write(b"held")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await reader.read(10)
        proxy.heal()
        assert await reader.readexactly(4) == b"held"


async def test_a_reset_is_seen_at_both_ends() -> None:
    server = Server()
    async with proxied(server) as (proxy, reader, writer):
        writer.write(b"x")
        await reader.readexactly(1)
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        assert await server.ended.get() == "reset"
        assert proxy.counters.reset == 1


async def test_a_half_closed_connection_still_answers() -> None:
    server = Server()
    async with proxied(server) as (proxy, reader, writer):
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"
        proxy.half_close()
        assert await server.ended.get() == "end"
        assert await reader.read() == b""


async def test_a_limit_closes_the_connection() -> None:
    async with proxied(Server(), back=Toxics(limit_bytes=5)) as (proxy, reader, writer):
        writer.write(b"longer than that")
        assert await reader.read() == b"longe"
        assert proxy.counters.limited == 1


async def test_toxics_change_while_a_connection_lasts() -> None:
    async with proxied(Server()) as (proxy, reader, writer):
        writer.write(b"a")
        await reader.readexactly(1)
        proxy.poison(there=Toxics(latency=0.3))
        sent_at = asyncio.get_running_loop().time()
        writer.write(b"b")
        await reader.readexactly(1)
        assert asyncio.get_running_loop().time() - sent_at >= 0.299


async def test_a_peer_that_stops_reading_holds_up_its_sender() -> None:
    async with proxied(Server(reads=False)) as (proxy, _, writer):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(_send_for_ever(writer), timeout=1.0)
        assert proxy.buffered_bytes < 1_000_000
        writer.transport.abort()


async def _send_for_ever(writer: StreamWriter) -> None:
    while True:
        writer.write(bytes(65536))
        await writer.drain()


async def test_a_target_that_is_not_there_closes_the_connection_and_is_counted() -> None:
    async with asyncio.timeout(PATIENCE), TcpProxy(Endpoint("127.0.0.1", 1)) as proxy:
        reader, writer = await asyncio.open_connection(proxy.endpoint.address, proxy.endpoint.port)
        assert await reader.read() == b""
        assert proxy.counters.refused == 1
        writer.close()
        await writer.wait_closed()


async def test_a_proxy_that_is_left_ends_what_goes_through_it() -> None:
    server = Server()
    async with proxied(server, Toxics(latency=1000)) as (_, reader, writer):
        writer.write(b"never arrives")
        await writer.drain()
    assert await reader.read() == b""
