"""libdatachannel by way of aiolibdatachannel.

Its own `send` waits for an empty buffer and its receive queue drops the oldest message: what is measured here is the
library below, through the callbacks that the binding hands to the loop.
"""

from __future__ import annotations

import asyncio
from typing import cast

from aiolibdatachannel import DataChannel, PeerConnection, RTCConfiguration

from rtcmesh.peer.bench.data.stack import HIGH_WATER_BYTES, StackListener


class Libdatachannel:
    """See `Stack`."""

    def __init__(self, listener: StackListener) -> None:
        self._listener = listener
        self._connection = PeerConnection(RTCConfiguration())
        self._channel: DataChannel | None = None
        self._opening: asyncio.Task[None] | None = None

    @property
    def buffered_amount(self) -> int:
        """See `Stack`."""
        return self._channel.buffered_amount if self._channel else 0

    async def offer(self) -> str:
        """See `Stack`."""
        self._take(await self._connection.create_data_channel("bench"))
        return (await self._connection.create_offer()).sdp

    async def answer(self, offer: str) -> str:
        """See `Stack`."""
        self._opening = asyncio.create_task(self._accept_channel())
        await self._connection.set_remote_description(offer, "offer")
        return (await self._connection.create_answer()).sdp

    async def accept(self, answer: str) -> None:
        """See `Stack`."""
        await self._connection.set_remote_description(answer, "answer")

    def send(self, data: bytes) -> None:
        """See `Stack`."""
        assert self._channel is not None, "it is open"
        self._channel._native.send_bytes(data)  # noqa: SLF001

    async def close(self) -> None:
        """See `Stack`."""
        await self._connection.aclose()

    async def _accept_channel(self) -> None:
        self._take(await self._connection.accept_data_channel())

    def _take(self, channel: DataChannel) -> None:
        loop = asyncio.get_running_loop()
        channel.set_buffered_amount_low_threshold(HIGH_WATER_BYTES // 2)
        native = channel._native  # noqa: SLF001

        def take(data: bytes | str) -> None:
            # Late bound: the listener's functions change with the work.
            loop.call_soon_threadsafe(lambda: self._listener.message(cast("bytes", data)))

        def go_on() -> None:
            loop.call_soon_threadsafe(lambda: self._listener.writable())  # noqa: PLW0108

        native.set_on_message(take)
        native.set_on_buffered_amount_low(go_on)
        self._opening = asyncio.create_task(self._wait_open(channel))

    async def _wait_open(self, channel: DataChannel) -> None:
        await channel.wait_open()
        self._channel = channel
        self._listener.opened()


make = Libdatachannel
