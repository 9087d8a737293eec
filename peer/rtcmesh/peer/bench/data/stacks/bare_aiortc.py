"""aiortc as its users have it."""

from __future__ import annotations

from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription

from rtcmesh.peer.bench.data.stack import HIGH_WATER_BYTES, StackListener


class BareAiortc:
    """See `Stack`."""

    def __init__(self, listener: StackListener) -> None:
        self._listener = listener
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._connection.on("datachannel", self._take)
        self._channel: RTCDataChannel | None = None

    @property
    def buffered_amount(self) -> int:
        """See `Stack`."""
        return self._channel.bufferedAmount if self._channel else 0

    async def offer(self) -> str:
        """See `Stack`."""
        channel = self._connection.createDataChannel("bench")
        channel.on("open", lambda: self._take(channel))
        await self._connection.setLocalDescription(await self._connection.createOffer())
        return self._connection.localDescription.sdp

    async def answer(self, offer: str) -> str:
        """See `Stack`."""
        await self._connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await self._connection.setLocalDescription(await self._connection.createAnswer())
        return self._connection.localDescription.sdp

    async def accept(self, answer: str) -> None:
        """See `Stack`."""
        await self._connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    def send(self, data: bytes) -> None:
        """See `Stack`."""
        assert self._channel is not None, "it is open"
        self._channel.send(data)

    async def close(self) -> None:
        """See `Stack`."""
        await self._connection.close()

    def _take(self, channel: RTCDataChannel) -> None:
        self._channel = channel
        channel.bufferedAmountLowThreshold = HIGH_WATER_BYTES // 2
        # Late bound: the listener's functions change with the work.
        channel.on("bufferedamountlow", lambda: self._listener.writable())  # noqa: PLW0108
        channel.on("message", lambda data: self._listener.message(data))  # noqa: PLW0108
        self._listener.opened()


make = BareAiortc
