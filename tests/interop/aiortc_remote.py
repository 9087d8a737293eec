"""Bare aiortc as the other end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription

from interop.remote import Quirk, Reliability


class AiortcRemote:
    """See `Remote`."""

    max_message_bytes = 65_535
    quirks: frozenset[Quirk] = frozenset()

    def __init__(self) -> None:
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._channels: dict[str, RTCDataChannel] = {}
        self._received: dict[str, list[bytes | str]] = {}
        self._news = asyncio.Event()
        self._connection.on("datachannel", self._add)

    async def offer(self) -> str:
        """See `Remote`."""
        self._add(self._connection.createDataChannel("first"))
        await self._connection.setLocalDescription(await self._connection.createOffer())
        return self._connection.localDescription.sdp

    async def answer(self, offer: str) -> str:
        """See `Remote`."""
        await self._connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await self._connection.setLocalDescription(await self._connection.createAnswer())
        return self._connection.localDescription.sdp

    async def accept(self, answer: str) -> None:
        """See `Remote`."""
        await self._connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def open(self, label: str, reliability: Reliability) -> None:
        """See `Remote`."""
        lifetime = None if reliability.max_lifetime is None else int(reliability.max_lifetime * 1000)
        channel = self._connection.createDataChannel(
            label,
            ordered=reliability.ordered,
            maxRetransmits=reliability.max_retransmits,
            maxPacketLifeTime=lifetime,
        )
        self._add(channel)
        await self._wait_for(label, "open")

    async def send(self, label: str, data: bytes | str) -> None:
        """See `Remote`."""
        self._channels[label].send(data)

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
        await self._wait_for(label, "closed")

    async def close(self) -> None:
        """See `Remote`."""
        await self._connection.close()

    def _add(self, channel: RTCDataChannel) -> None:
        self._channels[channel.label] = channel
        received = self._received.setdefault(channel.label, [])

        def take(message: bytes | str) -> None:
            received.append(message)
            if channel.label.startswith("echo"):
                channel.send(message)
            self._news.set()

        channel.on("message", take)
        for event in ("open", "close"):
            channel.on(event, self._news.set)

    async def _wait_for(self, label: str, state: str) -> None:
        while self._channels[label].readyState != state:
            self._news.clear()
            await self._news.wait()


@asynccontextmanager
async def aiortc_remote() -> AsyncGenerator[AiortcRemote]:
    """Run bare aiortc in this process."""
    remote = AiortcRemote()
    try:
        yield remote
    finally:
        await remote.close()
