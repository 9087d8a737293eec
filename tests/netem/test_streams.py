"""TCP-like streams, through asyncio's own stream functions."""

import asyncio
import contextlib
import errno
from collections.abc import AsyncGenerator
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtcmesh.netem import Host, LinkConfig, NoCurrentHost, current_host, run_virtual
from rtcmesh.netem.virtual.streams import StreamServer
from support.virtual import on_virtual_time, pair

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def now() -> float:
    return asyncio.get_running_loop().time()


@contextlib.asynccontextmanager
async def connected(client: Host, server: Host) -> AsyncGenerator[tuple[Ends, Ends]]:
    """Connect two hosts; yield the client's and the server's end."""
    accepted: asyncio.Future[Ends] = asyncio.get_running_loop().create_future()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set_result((reader, writer))

    with server:
        listener = await asyncio.start_server(accept, "0.0.0.0", 80)
    with client:
        ends = await asyncio.open_connection(server.name, 80)
    other_ends = await accepted
    try:
        yield ends, other_ends
    finally:
        for _, writer in (ends, other_ends):
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        listener.close()
        await listener.wait_closed()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send everything back, then close."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
    await writer.wait_closed()


@settings(max_examples=30)
@given(
    st.lists(st.builds(bytes.__mul__, st.binary(max_size=50), st.integers(1, 2000)), max_size=8),
    st.integers(0, 99),
)
def test_an_unmodified_echo_server_returns_every_byte_over_a_lossy_link(
    chunks: list[bytes], seed: int
) -> None:
    async def main() -> bytes:
        _, alice, bob = pair(
            LinkConfig(delay=0.05, jitter=0.01, loss=0.05, duplication=0.05, reordering=0.05)
        )
        with bob:
            server = await asyncio.start_server(echo, "bob", 80)
        with alice:
            reader, writer = await asyncio.open_connection("bob", 80)
        async with server, asyncio.TaskGroup() as tasks:
            answer = tasks.create_task(reader.read())
            for chunk in chunks:
                writer.write(chunk)
                await writer.drain()
            writer.write_eof()
            received = await answer
            writer.close()
            await writer.wait_closed()
        return received

    assert run_virtual(main(), seed=seed) == b"".join(chunks)


@on_virtual_time
async def test_connecting_takes_a_round_trip_and_shows_the_ends() -> None:
    _, alice, bob = pair(LinkConfig(delay=0.05))
    async with connected(alice, bob) as ((_, client), (_, server)):
        assert now() == pytest.approx(0.15)
        assert client.get_extra_info("peername") == ("10.0.0.2", 80)
        assert client.get_extra_info("sockname") == server.get_extra_info("peername")


@on_virtual_time
async def test_nobody_listening_is_a_refusal_after_one_round_trip() -> None:
    _, alice, _ = pair(LinkConfig(delay=0.05))
    with alice, pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("bob", 81)
    assert now() == pytest.approx(0.1)


@on_virtual_time
async def test_connecting_into_a_partition_times_out_and_to_nowhere_fails_at_once() -> None:
    network, alice, bob = pair()
    network.partition(alice, bob)
    with alice:
        with pytest.raises(OSError, match=r"192\.0\.2\.1") as caught:
            await asyncio.open_connection("192.0.2.1", 80)
        assert caught.value.errno == errno.EHOSTUNREACH
        assert now() == 0
        with pytest.raises(TimeoutError):
            await asyncio.open_connection("bob", 80)
    assert 120 <= now() < 240


@on_virtual_time
async def test_cancelling_a_connection_attempt_frees_the_port() -> None:
    network, alice, bob = pair()
    network.partition(alice, bob)
    loop = asyncio.get_running_loop()
    with alice:
        for _ in range(2):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await loop.create_connection(asyncio.Protocol, "bob", 80, local_addr=("alice", 5000))


@on_virtual_time
async def test_a_partition_delays_bytes_and_loses_none() -> None:
    network, alice, bob = pair(LinkConfig(delay=0.05))
    async with connected(alice, bob) as ((_, writer), (reader, _)):
        network.partition(alice, bob)
        writer.write(b"hello")
        await asyncio.sleep(20)
        network.heal(alice, bob)
        assert await reader.readexactly(5) == b"hello"
        assert now() < 32


@on_virtual_time
async def test_a_long_partition_ends_the_connection_with_a_timeout() -> None:
    network, alice, bob = pair()
    async with connected(alice, bob) as ((reader, writer), _):
        network.partition(alice, bob)
        writer.write(b"hello")
        with pytest.raises(TimeoutError):
            await reader.read()
        assert writer.is_closing()


@on_virtual_time
async def test_an_abort_is_a_reset_for_the_other_end() -> None:
    _, alice, bob = pair()
    async with connected(alice, bob) as ((_, writer), (reader, _)):
        writer.transport.abort()
        with pytest.raises(ConnectionResetError):
            await reader.read()


@on_virtual_time
async def test_closing_is_eof_for_the_other_end_after_all_bytes() -> None:
    _, alice, bob = pair(LinkConfig(delay=0.05, loss=0.2))
    async with connected(alice, bob) as ((_, writer), (reader, _)):
        writer.write(bytes(500_000))
        writer.close()
        writer.write(b"ignored")
        assert len(await reader.read()) == 500_000
        await writer.wait_closed()


@on_virtual_time
async def test_half_closed_streams_go_on_the_other_way() -> None:
    _, alice, bob = pair()
    async with connected(alice, bob) as ((client_reader, client), (server_reader, server)):
        client.write(b"question")
        assert client.can_write_eof()
        client.write_eof()
        with pytest.raises(RuntimeError, match="write_eof"):
            client.write(b"more")
        assert await server_reader.read() == b"question"
        server.write(b"answer")
        server.close()
        assert await client_reader.read() == b"answer"


@on_virtual_time
async def test_a_reader_that_stops_holds_a_bounded_number_of_bytes_and_slows_the_writer() -> None:
    _, alice, bob = pair(LinkConfig(delay=0.01))
    async with connected(alice, bob) as ((_, writer), (reader, _)):
        written = 0

        async def write_on() -> None:
            nonlocal written
            while True:
                writer.write(bytes(10_000))
                written += 10_000
                await writer.drain()

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(write_on(), 100)
        assert written < 600_000
        assert writer.transport.get_write_buffer_size() < 100_000
        assert len(await reader.readexactly(written)) == written
        await writer.drain()


class Pauser(asyncio.Protocol):
    """Pauses after each chunk until resumed."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.transport.pause_reading()

    def eof_received(self) -> None:
        self.events.append("eof")

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.append(repr(exc))

    def pause_writing(self) -> None:
        self.events.append("pause")

    def resume_writing(self) -> None:
        self.events.append("resume")


async def open_protocols(client: Host, server: Host) -> tuple[Pauser, Pauser]:
    accepted: asyncio.Future[Pauser] = asyncio.get_running_loop().create_future()

    def factory() -> Pauser:
        accepted.set_result(protocol := Pauser())
        return protocol

    loop = asyncio.get_running_loop()
    with server:
        listener = await loop.create_server(factory, "0.0.0.0", 80)
    with client:
        _, protocol = await loop.create_connection(Pauser, server.name, 80)
    other = await accepted
    listener.close()
    return protocol, other


@on_virtual_time
async def test_a_paused_protocol_receives_nothing_until_it_resumes() -> None:
    client, server = await open_protocols(*pair()[1:])
    client.transport.write(b"one")
    await asyncio.sleep(1)
    client.transport.write(b"two")
    client.transport.close()
    await asyncio.sleep(1)
    assert (server.received, server.events) == (b"one", [])
    assert not server.transport.is_reading()
    server.transport.resume_reading()
    await asyncio.sleep(1)
    assert (server.received, server.events) == (b"onetwo", [])
    server.transport.resume_reading()
    await asyncio.sleep(1)
    assert server.events == ["eof", "None"]
    assert client.events == ["None"]


@on_virtual_time
async def test_write_limits_pause_and_resume_the_protocol() -> None:
    client, server = await open_protocols(*pair()[1:])
    server.transport.pause_reading()
    client.transport.set_write_buffer_limits(high=1000)
    assert client.transport.get_write_buffer_limits() == (250, 1000)
    client.transport.write(bytes(300_000))
    assert client.events == ["pause"]
    await asyncio.sleep(1)
    for _ in range(20):
        server.transport.resume_reading()
        await asyncio.sleep(1)
    assert client.events == ["pause", "resume"]
    assert len(server.received) == 300_000
    with pytest.raises(ValueError, match="low"):
        client.transport.set_write_buffer_limits(high=1, low=2)
    client.transport.abort()
    await asyncio.sleep(1)
    assert server.events == ["ConnectionResetError(104, 'Connection reset by peer')"]


@on_virtual_time
async def test_an_error_in_a_protocol_ends_its_connection_and_nothing_else() -> None:
    class Broken(Pauser):
        def data_received(self, data: bytes) -> None:
            raise KeyError("broken")

    _, alice, bob = pair()
    reported: list[dict[str, object]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reported.append(context))
    client, server = await open_protocols(alice, bob)
    broken = Broken()
    broken.connection_made(server.transport)
    server.transport.set_protocol(broken)
    assert server.transport.get_protocol() is broken
    client.transport.write(b"x")
    await asyncio.sleep(1)
    assert broken.events == ["KeyError('broken')"]
    assert "Reset" in client.events[0]
    assert isinstance(reported[0]["exception"], KeyError)
    with pytest.raises(TypeError, match="BufferedProtocol"):
        server.transport.set_protocol(asyncio.BufferedProtocol())


@on_virtual_time
async def test_an_error_while_a_protocol_is_connected_fails_the_connection_attempt() -> None:
    class Broken(Pauser):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            raise KeyError("broken")

    _, alice, bob = pair()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: None)
    with bob:
        await loop.create_server(Pauser, port=80)
    with alice, pytest.raises(KeyError, match="broken"):
        await loop.create_connection(Broken, "bob", 80)


@on_virtual_time
async def test_a_server_serves_on_its_own_host_until_it_is_closed() -> None:
    _, alice, bob = pair()
    served_on: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served_on.append(current_host().name)
        await echo(reader, writer)

    with bob:
        server = await asyncio.start_server(serve, port=80)
        with pytest.raises(OSError, match="port 80"):
            await asyncio.start_server(serve, port=80)
    assert server.is_serving()
    assert server.sockets[0].getsockname() == ("0.0.0.0", 80)
    with alice:
        reader, writer = await asyncio.open_connection("bob", 80)
    writer.write(b"x")
    assert await reader.readexactly(1) == b"x"
    server.close()
    assert server.sockets == ()
    with alice, pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("bob", 80)
    closing = asyncio.create_task(server.wait_closed())
    await asyncio.sleep(1)
    assert not closing.done()
    writer.close()
    await closing
    assert served_on == ["bob"]


@on_virtual_time
async def test_a_server_can_close_or_abort_those_it_accepted() -> None:
    loop = asyncio.get_running_loop()
    _, alice, bob = pair()
    with bob:
        server: asyncio.AbstractServer = await loop.create_server(Pauser, port=80)
    assert isinstance(server, StreamServer)
    assert server.get_loop() is loop
    await server.start_serving()

    async def connect() -> Pauser:
        with alice:
            _, client = await loop.create_connection(Pauser, "bob", 80)
        await asyncio.sleep(1)
        return client

    closed = await connect()
    server.close_clients()
    await asyncio.sleep(1)
    assert closed.events == ["eof", "None"]
    aborted = await connect()
    server.abort_clients()
    await asyncio.sleep(1)
    assert "Reset" in aborted.events[0]
    server.close()
    await server.wait_closed()


@on_virtual_time
async def test_serving_forever_ends_by_cancellation() -> None:
    _, _, bob = pair()
    with bob:
        server = await asyncio.start_server(echo, port=80)
    serving = asyncio.create_task(server.serve_forever())
    await asyncio.sleep(1)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert not server.is_serving()


@on_virtual_time
async def test_streams_need_a_current_host_and_carry_no_tls() -> None:
    _, alice, _ = pair()
    loop = asyncio.get_running_loop()
    with pytest.raises(NoCurrentHost):
        await asyncio.open_connection("bob", 80)
    with alice, pytest.raises(NotImplementedError, match="TLS"):
        await loop.create_connection(asyncio.Protocol, "bob", 80, ssl=True)


@on_virtual_time
async def test_a_stream_fills_a_bottleneck_and_no_more() -> None:
    link = LinkConfig(delay=0.01, rate_bytes_per_second=1e6, max_queue_bytes=512 * 1024)
    network, alice, bob = pair(link)
    async with connected(alice, bob) as ((_, writer), (reader, _)):
        began = now()
        writer.write(bytes(3_000_000))
        await reader.readexactly(3_000_000)
        on_the_wire = 3_000_000 * 1440 / 1400
        assert now() - began == pytest.approx(on_the_wire / 1e6, rel=0.02)
        assert network.link(alice, bob).counters.dropped == 0


@on_virtual_time
async def test_a_stream_arrives_whole_through_a_queue_that_is_too_short_for_it() -> None:
    link = LinkConfig(delay=0.01, rate_bytes_per_second=1e6, max_queue_bytes=20_000)
    network, alice, bob = pair(link)
    data = Random(1).randbytes(1_000_000)
    async with connected(alice, bob) as ((_, writer), (reader, _)):
        writer.write(data)
        assert await reader.readexactly(len(data)) == data
        assert network.link(alice, bob).counters.dropped > 0
