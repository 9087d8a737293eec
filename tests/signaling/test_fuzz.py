"""Whatever arrives at whichever endpoint: no exception goes unhandled, and everybody else is served."""

import asyncio
import base64
import json
import logging
from collections.abc import Generator
from contextlib import contextmanager

import aiohttp
from hypothesis import given, settings
from hypothesis import strategies as st

from rtcmesh.signaling.config import DoorLimits, ServerConfig, ServiceConfig
from rtcmesh.signaling.messages import SUBPROTOCOL
from rtcmesh.signaling.server import SignalingServer, serve

CONFIG = ServerConfig(
    port=0,
    door=DoorLimits(head_timeout=0.2),
    service=ServiceConfig(close_timeout=0.1, drain_spread=0, join_timeout=0.2),
)
PATIENCE = 0.3
"""Seconds to wait for an answer that may never come: half a request has none."""

TOKENS = st.sampled_from(
    ["", "x", "close", "Upgrade", "websocket", "13", "99999999999", "-1", "é", "a" * 5000, "chunked"]
)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "Host",
                "Upgrade",
                "Connection",
                "Sec-WebSocket-Key",
                "Sec-WebSocket-Version",
                "Sec-WebSocket-Protocol",
                "Sec-WebSocket-Extensions",
                "Origin",
                "Content-Length",
                "Transfer-Encoding",
                "Content-Encoding",
                "X-Forwarded-For",
                "Expect",
                "X-Rtcmesh-Forwarded",
            ]
        ),
        TOKENS | st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=8),
    ),
    max_size=8,
)


def request(method: str, path: str, headers: list[tuple[str, str]], body: bytes) -> bytes:
    head = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(head).encode("latin-1", "replace") + body


REQUESTS = st.builds(
    request,
    st.sampled_from(["GET", "POST", "OPTIONS", "HEAD", "PUT", "CONNECT"]),
    st.sampled_from(
        [
            "/",
            "/v1/signaling",
            "/v1/signaling/events",
            "/livez",
            "/readyz?deep=1",
            "/metrics",
            "/%00",
            "*",
            "/" + "a" * 9000,
        ]
    ),
    HEADERS,
    st.binary(max_size=40)
    | st.just(b'{"connection":"a","sequence":1}\n{"type":"ping"}')
    | st.just(b"5\r\nhello\r\n0\r\n\r\n"),
)

UPGRADE = (
    "GET /v1/signaling HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}\r\n"
    f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
).encode()


@contextmanager
def nothing_unhandled() -> Generator[None, None, None]:
    """Assert that nothing is logged as an error meanwhile."""
    records: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    handler = Keep(logging.ERROR)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
    assert [(record.getMessage(), record.exc_info) for record in records] == []


async def say(server: SignalingServer, *pieces: bytes) -> None:
    """Say something over a connection of its own, and wait a little for an answer or the end."""
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        async with asyncio.timeout(PATIENCE):
            await reader.read(4096)
    except (ConnectionError, TimeoutError):
        pass
    finally:
        writer.transport.abort()


async def suffer(*pieces: bytes) -> None:
    with nothing_unhandled():
        async with serve(CONFIG) as server:
            await say(server, *pieces)
            async with aiohttp.ClientSession() as session, session.get(f"{server.url}/livez") as response:
                assert response.status == 200
            assert server.service.stats.endings["internal"] == 0


@settings(max_examples=150, deadline=None)
@given(REQUESTS, st.booleans())
def test_any_request_to_any_path(text: bytes, cut: bool) -> None:
    asyncio.run(suffer(*((text[: len(text) // 2], text[len(text) // 2 :]) if cut else (text,))))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=4))
def test_any_bytes_after_the_handshake_of_a_websocket(pieces: list[bytes]) -> None:
    asyncio.run(suffer(UPGRADE, *pieces))


def post(head: dict[str, object], frames: list[bytes]) -> bytes:
    return b"\n".join([json.dumps(head).encode(), *frames])


BODIES = st.binary(max_size=60) | st.builds(
    post,
    st.dictionaries(
        st.sampled_from(["connection", "sequence", "close", "x"]),
        st.none()
        | st.integers(-1, 2**60)
        | st.text(max_size=5)
        | st.just({"code": 1000})
        | st.just("a.b.http://127.0.0.1"),
    ),
    st.lists(st.binary(max_size=10), max_size=3),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(BODIES, min_size=1, max_size=3))
def test_any_post(bodies: list[bytes]) -> None:
    posts = [
        b"POST /v1/signaling/events HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        for body in bodies
    ]
    asyncio.run(suffer(*posts))
