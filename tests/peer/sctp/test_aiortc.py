"""Against aiortc's association, both ways round, packet by packet and on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from random import Random
from typing import cast

import pytest
from aiortc import (
    RTCDataChannel,
    RTCDataChannelParameters,
    RTCDtlsTransport,
    RTCSctpCapabilities,
    RTCSctpTransport,
)

from rtcmesh.netem import virtual_aiortc
from rtcmesh.peer.sctp import (
    Association,
    AssociationAnswered,
    AssociationClosed,
    AssociationConnected,
    ChannelClosed,
    ChannelOpened,
    ChannelWritable,
    Event,
    MessagesReceived,
    Role,
    SctpConfig,
)
from support.sctp import Heard, heard
from support.virtual import on_virtual_time

DELAY = 0.01
SIZES = [0, 1, 16 * 1024, 60_000]


class Path:
    """Both directions between an association of ours and one of aiortc, which takes it for its DTLS transport."""

    state = "connected"

    def __init__(self, role: Role, seed: int, loss: float) -> None:
        self.association = Association(SctpConfig(role=role), Random(seed))
        self.association.remote_max_message_bytes = 262_144
        self.events: asyncio.Queue[Event | Heard] = asyncio.Queue()
        self._role = "server" if role is Role.CLIENT else "client"
        self._loop = asyncio.get_running_loop()
        self._random = Random(seed)
        self._loss = loss
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._there: asyncio.Queue[bytes] = asyncio.Queue()
        self._receiver: RTCSctpTransport | None = None

    def drain(self) -> None:
        now = self._loop.time()
        for event in self.association.events():
            for message in heard(event):
                self.association.consumed(len(message.data))
                self.events.put_nowait(message)
            if not isinstance(event, ChannelWritable | MessagesReceived):
                self.events.put_nowait(event)
        for packet in self.association.packets_to_send(now):
            if self._random.random() >= self._loss:
                self._loop.call_later(DELAY, self._there.put_nowait, packet)
        for event in self.association.events():
            if not isinstance(event, ChannelWritable):
                self.events.put_nowait(event)
        if self._timer is not None:
            self._timer.cancel()
        due = self.association.deadline()
        self._timer = None if due is None else self._loop.call_at(due, self._due)

    async def carry(self) -> None:
        """Hand over what ours has sent, one packet after the other, as aiortc's DTLS transport does."""
        while True:
            packet = await self._there.get()
            if self._receiver is not None:
                await self._receiver._handle_data(packet)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _due(self) -> None:
        self.association.handle_timeout(self._loop.time())
        self.drain()

    def _arrived(self, packet: bytes) -> None:
        self.association.receive_packets([packet], self._loop.time())
        self.drain()

    # What aiortc calls

    async def _send_data(self, packet: bytes) -> None:
        if self._random.random() >= self._loss:
            self._loop.call_later(DELAY, self._arrived, packet)

    def _register_data_receiver(self, receiver: RTCSctpTransport) -> None:
        self._receiver = receiver

    def _unregister_data_receiver(self, _receiver: RTCSctpTransport) -> None:
        self._receiver = None


@asynccontextmanager
async def established(
    role: Role, *, seed: int = 1, loss: float = 0.0, connect: bool = True
) -> AsyncGenerator[tuple[Path, RTCSctpTransport]]:
    with virtual_aiortc():
        path = Path(role, seed, loss)
        theirs = RTCSctpTransport(cast("RTCDtlsTransport", path))
        carrying = asyncio.ensure_future(path.carry())
        try:
            await theirs.start(RTCSctpCapabilities(maxMessageSize=262_144), 5000)
            if connect:
                path.association.connect(asyncio.get_running_loop().time())
                path.drain()
            if connect:
                assert await path.events.get() == AssociationAnswered()
            assert await path.events.get() == AssociationConnected()
            yield path, theirs
        finally:
            path._loss = 0
            await theirs.stop()
            path.stop()
            carrying.cancel()
            await asyncio.gather(carrying, return_exceptions=True)


def messages(of: RTCDataChannel) -> asyncio.Queue[bytes | str]:
    queue: asyncio.Queue[bytes | str] = asyncio.Queue()
    of.on("message", queue.put_nowait)
    return queue


both_roles = pytest.mark.parametrize("role", Role)


@both_roles
@pytest.mark.parametrize("connect", [True, False])
@on_virtual_time
async def test_they_open_a_channel_and_both_send(role: Role, connect: bool) -> None:
    async with established(role, connect=connect) as (path, theirs):
        channel = RTCDataChannel(theirs, RTCDataChannelParameters(label="chat", protocol="p"))
        heard = messages(channel)
        opened = await path.events.get()
        assert isinstance(opened, ChannelOpened)
        assert (opened.label, opened.protocol, opened.ordered, opened.remote) == ("chat", "p", True, True)
        await asyncio.sleep(1)
        for size in SIZES:
            path.association.send(opened.channel_id, b"x" * size, 0)
            path.association.send(opened.channel_id, "ü" * (size // 2), 0)
            path.drain()
            channel.send(b"y" * size)
            channel.send("z" * size)
        for size in SIZES:
            assert await heard.get() == b"x" * size
            assert await heard.get() == "ü" * (size // 2)
            assert await path.events.get() == Heard(opened.channel_id, b"y" * size, text=False)
            assert await path.events.get() == Heard(opened.channel_id, b"z" * size, text=True)


@both_roles
@on_virtual_time
async def test_we_open_channels_of_every_reliability(role: Role) -> None:
    async with established(role) as (path, theirs):
        opened: asyncio.Queue[RTCDataChannel] = asyncio.Queue()
        theirs.on("datachannel", opened.put_nowait)
        for ordered in (True, False):
            for retransmits, lifetime in ((None, None), (3, None), (None, 0.5)):
                channel_id = path.association.open_channel(
                    0, label="a", ordered=ordered, max_retransmits=retransmits, max_lifetime=lifetime
                )
                path.drain()
                channel = await opened.get()
                event = await path.events.get()
                assert isinstance(event, ChannelOpened)
                assert not event.remote
                assert (channel.id, channel.ordered, channel.maxRetransmits) == (
                    channel_id,
                    ordered,
                    retransmits,
                )
                assert channel.maxPacketLifeTime == (None if lifetime is None else 500)
                heard = messages(channel)
                path.association.send(channel_id, b"hello", asyncio.get_running_loop().time())
                path.drain()
                assert await heard.get() == b"hello"


@both_roles
@pytest.mark.parametrize("ours", [True, False])
@on_virtual_time
async def test_either_end_closes_a_channel_and_its_id_is_used_again(role: Role, ours: bool) -> None:
    async with established(role) as (path, theirs):
        for _ in range(2):
            channel = RTCDataChannel(theirs, RTCDataChannelParameters(label="again"))
            opened = await path.events.get()
            assert isinstance(opened, ChannelOpened)
            closed = asyncio.Event()
            channel.on("close", closed.set)
            if ours:
                path.association.close_channel(opened.channel_id, 0)
                path.drain()
            else:
                await asyncio.sleep(1)
                channel.close()
            assert await path.events.get() == ChannelClosed(opened.channel_id)
            await closed.wait()


@both_roles
@on_virtual_time
async def test_nothing_is_lost_when_packets_are(role: Role) -> None:
    async with established(role, loss=0.05) as (path, theirs):
        there = RTCDataChannel(theirs, RTCDataChannelParameters(label="x", negotiated=True, id=4))
        path.association.open_channel(0, negotiated_id=4)
        heard = messages(there)
        path.drain()
        assert isinstance(await path.events.get(), ChannelOpened)
        for number in range(60):
            data = bytes([number]) * 5000
            path.association.send(4, data, 0)
            path.drain()
            there.send(data)
        for number in range(60):
            assert await heard.get() == bytes([number]) * 5000
            assert await path.events.get() == Heard(4, bytes([number]) * 5000, text=False)


@both_roles
@on_virtual_time
async def test_partial_reliability_delivers_nothing_twice(role: Role) -> None:
    async with established(role, loss=0.2) as (path, theirs):
        unreliable = RTCDataChannelParameters(
            label="x", negotiated=True, id=4, ordered=False, maxRetransmits=0
        )
        there = RTCDataChannel(theirs, unreliable)
        path.association.open_channel(0, negotiated_id=4, ordered=False, max_retransmits=0)
        heard = messages(there)
        path.drain()
        for number in range(200):
            path.association.send(4, number.to_bytes(2, "big") * 400, asyncio.get_running_loop().time())
            path.drain()
            there.send(number.to_bytes(2, "big") * 400)
            await asyncio.sleep(0.005)
        await asyncio.sleep(10)
        arrived = [heard.get_nowait() for _ in range(heard.qsize())]
        events = [path.events.get_nowait() for _ in range(path.events.qsize())]
        ours = [event.data for event in events if isinstance(event, Heard)]
        for received in (arrived, ours):
            assert 100 < len(received) < 200
            assert len(set(received)) == len(received)
        assert not any(isinstance(event, AssociationClosed) for event in events)


@both_roles
@on_virtual_time
async def test_an_abort_ends_the_other_end(role: Role) -> None:
    async with established(role) as (path, theirs):
        path.association.abort("enough")
        path.drain()
        await asyncio.sleep(1)
        assert theirs.state == "closed"


@both_roles
@on_virtual_time
async def test_an_orderly_shutdown_ends_both(role: Role) -> None:
    async with established(role) as (path, theirs):
        path.association.shutdown(0)
        path.drain()
        closed = await path.events.get()
        assert isinstance(closed, AssociationClosed)
        await asyncio.sleep(1)
        assert theirs.state == "closed"
