"""libdatachannel by way of aiolibdatachannel as the other end, in this process and threads of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from aiolibdatachannel import (
    ConnectionClosedError,
    DataChannel,
    DataChannelOptions,
    PeerConnection,
    RTCConfiguration,
)

from interop.remote import Quirk, Reliability


class LibdatachannelRemote:
    """See `Remote`."""

    max_message_bytes = 256 * 1024
    quirks: frozenset[Quirk] = frozenset()

    def __init__(self) -> None:
        self._connection = PeerConnection(RTCConfiguration())
        self._channels: dict[str, DataChannel] = {}
        self._received: dict[str, list[bytes | str]] = {}
        self._news = asyncio.Event()
        self._tasks = {asyncio.create_task(self._accept())}

    async def offer(self) -> str:
        """See `Remote`."""
        self._add("first", await self._connection.create_data_channel("first"))
        return (await self._connection.create_offer()).sdp

    async def answer(self, offer: str) -> str:
        """See `Remote`."""
        await self._connection.set_remote_description(offer, "offer")
        return (await self._connection.create_answer()).sdp

    async def accept(self, answer: str) -> None:
        """See `Remote`."""
        await self._connection.set_remote_description(answer, "answer")

    async def open(self, label: str, reliability: Reliability) -> None:
        """See `Remote`."""
        lifetime = None if reliability.max_lifetime is None else int(reliability.max_lifetime * 1000)
        options = DataChannelOptions(
            ordered=reliability.ordered,
            max_retransmits=reliability.max_retransmits,
            max_packet_lifetime_ms=lifetime,
        )
        channel = await self._connection.create_data_channel(label, options)
        self._add(label, channel)
        await channel.wait_open()

    async def send(self, label: str, data: bytes | str) -> None:
        """See `Remote`."""
        await self._channels[label].send(data, wait_for_drain=False)

    async def received(self, label: str, count: int) -> list[bytes | str]:
        """See `Remote`."""
        while len(self._received.get(label, [])) < count:
            self._news.clear()
            await self._news.wait()
        return self._received[label]

    async def close_channel(self, label: str) -> None:
        """See `Remote`."""
        self._channels[label].close()

    async def channel_closed(self, label: str) -> None:
        """See `Remote`."""
        while not self._channels[label].is_closed:
            self._news.clear()
            await self._news.wait()

    async def close(self) -> None:
        """See `Remote`."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        await self._connection.aclose()

    async def _accept(self) -> None:
        while True:
            channel = await self._connection.accept_data_channel()
            self._add(channel.label, channel)

    def _add(self, label: str, channel: DataChannel) -> None:
        self._channels[label] = channel
        self._received.setdefault(label, [])
        self._tasks.add(asyncio.create_task(self._read(label, channel)))

    async def _read(self, label: str, channel: DataChannel) -> None:
        """Take the messages of a channel until it is closed; at once, as the binding drops what waits too long."""
        try:
            while True:
                message = await channel.recv()
                self._received[label].append(message)
                self._news.set()
                if label.startswith("echo"):
                    await channel.send(message, wait_for_drain=False)
        except ConnectionClosedError:
            self._news.set()


@asynccontextmanager
async def libdatachannel_remote() -> AsyncGenerator[LibdatachannelRemote]:
    """Run libdatachannel in this process."""
    remote = LibdatachannelRemote()
    try:
        yield remote
    finally:
        await remote.close()
