"""libwebrtc by way of the package `wrtc`."""

from __future__ import annotations

import asyncio
from typing import cast

import webrtc

from rtcmesh.peer.bench.data.stack import HIGH_WATER_BYTES, StackListener


class Libwebrtc:
    """See `Stack`."""

    def __init__(self, listener: StackListener) -> None:
        self._listener = listener
        self._connection = webrtc.RTCPeerConnection()
        self._connection.on("datachannel", lambda event: self._take(event.channel))
        self._gathered = asyncio.Event()
        self._connection.on("icegatheringstatechange", self._look)
        self._channel: webrtc.RTCDataChannel | None = None

    @property
    def buffered_amount(self) -> int:
        """See `Stack`."""
        return self._channel.buffered_amount if self._channel else 0

    async def offer(self) -> str:
        """See `Stack`."""
        channel = self._connection.create_data_channel("bench")
        channel.on("open", lambda _: self._take(channel))
        return await self._describe(await self._connection.create_offer())

    async def answer(self, offer: str) -> str:
        """See `Stack`."""
        await self._connection.set_remote_description(webrtc.RTCSessionDescription("offer", offer))
        return await self._describe(await self._connection.create_answer())

    async def accept(self, answer: str) -> None:
        """See `Stack`."""
        await self._connection.set_remote_description(webrtc.RTCSessionDescription("answer", answer))

    def send(self, data: bytes) -> None:
        """See `Stack`."""
        assert self._channel is not None, "it is open"
        self._channel.send(data)

    async def close(self) -> None:
        """See `Stack`."""
        self._connection.close()

    async def _describe(self, description: webrtc.RTCSessionDescriptionInit) -> str:
        await self._connection.set_local_description(description)
        self._look()
        await self._gathered.wait()
        described = self._connection.local_description
        assert described is not None, "it was set"
        return described.sdp

    def _look(self, _: object = None) -> None:
        if self._connection.ice_gathering_state == "complete":
            self._gathered.set()

    def _pass_on(self, event: webrtc.MessageEvent) -> None:
        self._listener.message(cast("bytes", event.data))

    def _take(self, channel: webrtc.RTCDataChannel) -> None:
        self._channel = channel
        channel.buffered_amount_low_threshold = HIGH_WATER_BYTES // 2
        channel.on("bufferedamountlow", lambda _: self._listener.writable())
        channel.on("message", self._pass_on)
        self._listener.opened()


make = Libwebrtc
