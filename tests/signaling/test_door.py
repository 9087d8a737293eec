"""What happens to TCP connections that are silent, slow, too many, or no HTTP: they cost little, and are counted."""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rtcmesh.signaling.config import DoorLimits, ServerConfig, ServiceConfig
from rtcmesh.signaling.limits.address import UNKNOWN, address_of, is_within, origin_of, parse_network
from rtcmesh.signaling.limits.bucket import Rate
from rtcmesh.signaling.limits.crowd import Crowd, Crowded
from rtcmesh.signaling.server import SignalingServer, serve

PROXIES = (parse_network("10.0.0.0/8"), parse_network("fd00::/8"))


@asynccontextmanager
async def running(limits: DoorLimits | None = None) -> AsyncGenerator[SignalingServer, None]:
    door = DoorLimits() if limits is None else limits
    config = ServerConfig(port=0, door=door, service=ServiceConfig(close_timeout=0.2, drain_spread=0))
    async with serve(config) as server:
        yield server


@asynccontextmanager
async def connected(server: SignalingServer) -> AsyncGenerator[tuple[StreamReader, StreamWriter], None]:
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)


async def rest_of(reader: StreamReader) -> bytes:
    """Read until the server ends the connection, in whatever way."""
    try:
        return await reader.read()
    except ConnectionError:
        return b""


async def is_alive(server: SignalingServer) -> bool:
    async with aiohttp.ClientSession() as session, session.get(f"{server.url}/livez") as response:
        return response.status == 200


async def test_a_connection_that_says_nothing_is_dropped_in_time() -> None:
    async with running(DoorLimits(head_timeout=0.1)) as server:
        async with connected(server) as (reader, _), connected(server) as (slow, writer):
            writer.write(b"GET /livez HTTP/1.1\r\nHost: a\r\n")
            assert await rest_of(reader) == b""
            assert await rest_of(slow) == b""
        assert server.service.stats.rejections["head_timeout"] == 2
        assert await is_alive(server)


async def test_too_many_silent_connections_crowd_the_oldest_out_and_nobody_else() -> None:
    async with running(DoorLimits(max_waiting=2)) as server:
        async with connected(server) as (oldest, _), connected(server), connected(server):
            assert await rest_of(oldest) == b""
            assert await is_alive(server)
        assert server.service.stats.rejections["crowded_out"] >= 1


async def test_an_address_has_so_many_connections_and_gets_them_back() -> None:
    async with running(DoorLimits(max_sockets_per_address=1)) as server:
        async with connected(server) as (_, writer):
            writer.write(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
            async with connected(server) as (reader, _):
                assert await rest_of(reader) == b""
        assert server.service.stats.rejections["address_full"] == 1
        while True:
            try:
                assert await is_alive(server)
                break
            except aiohttp.ClientError:
                await asyncio.sleep(0)  # the server has not seen the end of the first one yet


async def test_an_address_that_comes_too_often_waits_outside() -> None:
    limits = DoorLimits(sockets_per_address=Rate(per_second=0.001, burst=2))
    async with running(limits) as server:
        for _ in range(2):
            assert await is_alive(server)
        async with connected(server) as (reader, _):
            assert await rest_of(reader) == b""
        assert server.service.stats.rejections["address_rate"] == 1


async def test_a_trusted_proxy_comes_as_often_as_it_likes() -> None:
    limits = DoorLimits(
        sockets_per_address=Rate(per_second=0.001, burst=1), trusted_proxies=(parse_network("127.0.0.0/8"),)
    )
    async with running(limits) as server:
        for _ in range(5):
            assert await is_alive(server)


async def test_who_is_turned_away_holds_nobody_up_who_comes_behind() -> None:
    # In a minute 11 connections are accepted if each counts as one.
    limits = DoorLimits(
        sockets=Rate(per_second=1 / 60, burst=10), sockets_per_address=Rate(per_second=0.001, burst=1)
    )
    async with running(limits) as server, asyncio.timeout(30):
        for _ in range(40):
            async with connected(server) as (reader, writer):
                writer.write(b"\n")
                await rest_of(reader)
        assert server.service.stats.rejections["address_rate"] == 39


async def test_a_full_server_turns_away_whoever_comes() -> None:
    async with running(DoorLimits(max_sockets=1)) as server, connected(server):
        async with connected(server) as (reader, _):
            assert await rest_of(reader) == b""
        assert server.service.stats.rejections["sockets_full"] == 1


@pytest.mark.parametrize(
    "text",
    [
        b"\x16\x03\x01\x02\x00",
        b"get / HTTP/1.1\r\n",
        b"PRI * HTTP/2.0\r\n\r\n",
        b"SSH-2.0-x\r\n",
        b"\n",
        b" ",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1 \r\n\r\n",
        b"GET\x00",
    ],
)
async def test_bytes_that_are_no_http_are_told_so_and_counted(text: bytes) -> None:
    async with running() as server, connected(server) as (reader, writer):
        writer.write(text)
        assert (await rest_of(reader)).startswith(b"HTTP/1.1 400")
        assert server.service.stats.rejections["not_http"] == 1


async def test_an_endless_head_is_cut_short() -> None:
    async with running() as server, connected(server) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5000)
        assert (await rest_of(reader)).startswith(b"HTTP/1.1 431")
        assert server.service.stats.rejections["head_too_large"] == 1


async def test_a_head_in_pieces_with_a_body_and_a_second_request_is_understood() -> None:
    async with running() as server, connected(server) as (reader, writer):
        request = b"GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"
        for n in range(len(request)):
            writer.write(request[n : n + 1])
            await writer.drain()
            await asyncio.sleep(0)
        writer.write(b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        answers = await rest_of(reader)
        assert answers.count(b"200 OK") == 2
        assert answers.endswith(b"ready")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=4))
def test_whatever_is_said_at_the_door_the_server_goes_on(pieces: list[bytes]) -> None:
    async def run() -> None:
        async with running(DoorLimits(head_timeout=0.05)) as server:
            async with connected(server) as (reader, writer):
                for piece in pieces:
                    writer.write(piece)
                await rest_of(reader)
            # Before the next request, which a slow machine may turn away for its own head.
            assert sum(server.service.stats.rejections.values()) == 1
            assert await is_alive(server)

    asyncio.run(run())


def test_an_address_is_what_one_host_has_only_one_of() -> None:
    assert address_of("192.0.2.1") == "192.0.2.1"
    assert address_of("::ffff:192.0.2.1") == "192.0.2.1"
    assert address_of("2001:db8::1") == address_of("2001:db8::2:3") != address_of("2001:db8:0:1::1")
    assert address_of("fe80::1%eth0") == "fe80::/64"
    assert address_of("") == address_of("nonsense") == UNKNOWN
    assert is_within("::ffff:10.1.2.3", PROXIES)
    assert not is_within("nonsense", PROXIES)


@pytest.mark.parametrize(
    ("host", "forwarded_for", "origin"),
    [
        ("192.0.2.1", "", "192.0.2.1"),
        ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
        ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "203.0.113.5, 198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "198.51.100.7, 10.0.0.2", "198.51.100.7"),
        ("10.0.0.1", "", UNKNOWN),
        ("10.0.0.1", "10.0.0.2", UNKNOWN),
        ("10.0.0.1", "garbage", UNKNOWN),
        ("10.0.0.1", " , ,", UNKNOWN),
    ],
)
def test_only_what_trusted_proxies_say_is_believed(host: str, forwarded_for: str, origin: str) -> None:
    assert origin_of(host, forwarded_for, PROXIES) == origin


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.floats(0, 2)), max_size=60))
def test_a_crowd_never_exceeds_its_bounds(steps: list[tuple[bool, int, float]]) -> None:
    crowd, now = Crowd(max_at_once=3, rate=Rate(per_second=1, burst=5)), 0.0
    present: list[str] = []
    entered: list[str] = []
    for enters, number, quiet in steps:
        now += quiet
        address = address_of(f"192.0.2.{number}")
        if not enters and address in present:
            crowd.leave(address)
            present.remove(address)
        elif enters:
            refusal = crowd.enter(address, now)
            assert (refusal is Crowded.TOO_MANY) == (present.count(address) == 3)
            if refusal is None:
                present.append(address)
                entered.append(address)
        assert len(crowd) == len(present)
        assert all(entered.count(a) <= 5 + now + 1e-6 for a in entered)
