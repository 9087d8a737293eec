"""The client link against servers that break the protocol: it drops them, and comes back to a better one."""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from rtcmesh.signaling.client import SignalingLink
from rtcmesh.signaling.codes import LeaveReason, RefusalCode
from rtcmesh.signaling.config import ClientConfig
from rtcmesh.signaling.errors import JoinRefused, SignalingUnreachable
from rtcmesh.signaling.events import LinkLost, LinkResumed
from rtcmesh.signaling.messages import (
    Ack,
    Challenge,
    IceServer,
    IceServersRenewed,
    Limits,
    PeerLeft,
    Pong,
    Refused,
    ServerMessage,
    Welcome,
    encode,
)
from rtcmesh.signaling.stream_socket import StreamSocket
from rtcmesh.signaling.text_socket import SocketClosed, TextSocket
from support.links import PORT, Lab
from support.members import Member
from support.rooms import NAMES
from support.virtual import on_virtual_time

LIMITS = Limits(
    max_message_bytes=65_536,
    max_signal_bytes=1000,
    max_presence_bytes=1000,
    max_unacknowledged_signals=4,
    join_timeout=5.0,
)
CHALLENGE = Challenge(nonce=b"n", server_time=0.0, limits=LIMITS)
WELCOME = Welcome(epoch="e", offset=5, resumed=False, resume_token="t", heartbeat=10.0)
Script = list[ServerMessage | bytes]


@asynccontextmanager
async def scripted_server(lab: Lab, *scripts: Script) -> AsyncGenerator[None, None]:
    """Say one script to each connection in turn, the last to all that follow, then listen until the peer goes."""
    remaining = list(scripts)
    tasks: set[asyncio.Task[None]] = set()

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        socket = StreamSocket(reader, writer)
        script = remaining.pop(0) if len(remaining) > 1 else remaining[0]
        try:
            for line in script:
                await socket.send(line if isinstance(line, bytes) else encode(line))
            while True:
                await socket.receive()
        except SocketClosed:
            pass
        finally:
            socket.abort()

    def accept(reader: StreamReader, writer: StreamWriter) -> None:
        tasks.add(asyncio.create_task(talk(reader, writer)))

    with lab.server_host:
        server = await asyncio.start_server(accept, lab.server_host.address, PORT)
    try:
        yield
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def left(offset: int) -> PeerLeft:
    return PeerLeft(offset=offset, peer_id=NAMES[0], reason=LeaveReason.LEFT)


@pytest.mark.parametrize(
    "nonsense",
    [[b"not json"], [CHALLENGE], [Ack(id=1)], [left(5)], [left(6), left(6)], [b'{"type":"join"}']],
    ids=["no message", "a second challenge", "an answer to nothing", "old", "repeated", "a peer's message"],
)
@on_virtual_time
async def test_a_server_that_breaks_the_protocol_is_dropped_and_joined_anew(nonsense: Script) -> None:
    lab = Lab()
    async with (
        scripted_server(lab, [CHALLENGE, WELCOME, *nonsense], [CHALLENGE, WELCOME]),
        lab.link(1) as link,
    ):
        events = [await anext(link)]
        while not isinstance(events[-1], LinkResumed):
            events.append(await anext(link))
        assert LinkLost(RefusalCode.PROTOCOL_VIOLATION.meaning) in events
        assert events.count(left(6)) <= 1


@on_virtual_time
async def test_a_resume_that_nobody_asked_for_is_a_violation() -> None:
    lab = Lab()
    resumed = Welcome(epoch="e", offset=5, resumed=True, resume_token="t", heartbeat=10.0)
    async with scripted_server(lab, [CHALLENGE, resumed], [CHALLENGE, WELCOME]), lab.link(1) as link:
        assert not link.welcome.resumed


@on_virtual_time
async def test_what_kept_the_link_from_joining_is_the_cause_of_unreachable() -> None:
    lab = Lab()
    refused = Refused(code=RefusalCode.SERVER_FULL, message="come back later")
    async with scripted_server(lab, [CHALLENGE, refused]):
        with pytest.raises(SignalingUnreachable) as unreachable:
            async with lab.link(1, config=ClientConfig(connect_timeout=2.0)):
                pass
        assert isinstance(unreachable.value.__cause__, JoinRefused)
        assert unreachable.value.__cause__.code is RefusalCode.SERVER_FULL


@on_virtual_time
async def test_renewed_ice_servers_are_passed_on() -> None:
    lab = Lab()
    renewed = IceServersRenewed(ice_servers=(IceServer(urls=("turn:a",), username="u", credential="c"),))
    async with scripted_server(lab, [CHALLENGE, WELCOME, renewed, Pong()]), lab.link(1) as link:
        assert await anext(link) == renewed


@on_virtual_time
async def test_a_fault_of_the_program_itself_ends_the_link_with_that_error() -> None:
    lab = Lab()

    def broken(url: str) -> AbstractAsyncContextManager[TextSocket]:
        raise RuntimeError(url)

    alice = Member(number=1)
    with pytest.raises(RuntimeError, match="tcp://"):
        async with SignalingLink.open(
            lab.url, room="lobby", identity=alice.identity, prekey=alice.prekey, dial=broken
        ):
            pass
