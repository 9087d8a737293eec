"""This library's transport: what is below the session."""

from __future__ import annotations

from rtcmesh.peer.bench.data.stack import StackListener
from rtcmesh.peer.sctp import CongestionControl
from rtcmesh.peer.sctp.config import SAFE_PACKET_BYTES
from rtcmesh.peer.webrtc import WebRtcConfig, WebRtcTransport

LARGE_PACKET_BYTES = 15_000
"""What loopback and jumbo frames carry; path MTU discovery finds out."""

CLOSE_TIMEOUT = 0.1
"""What is under way when a piece of work is over need not arrive."""


class Ours:
    """See `Stack`. It is its transport's sink as well."""

    def __init__(self, listener: StackListener, config: WebRtcConfig) -> None:
        self._listener = listener
        self._transport = WebRtcTransport(self, (), config=config)
        self.send = self._transport.send
        self._candidates: list[str] = []

    @property
    def buffered_amount(self) -> int:
        """See `Stack`."""
        return self._transport.buffered_amount

    async def offer(self) -> str:
        """See `Stack`; the host candidates are in it, and there are no others here."""
        return await self._transport.create_offer()

    async def answer(self, offer: str) -> str:
        """See `Stack`."""
        return await self._transport.create_answer(offer)

    async def accept(self, answer: str) -> None:
        """See `Stack`."""
        await self._transport.accept_answer(answer)

    async def close(self) -> None:
        """See `Stack`."""
        await self._transport.close()

    # TransportSink

    def transport_opened(self) -> None:
        """See `TransportSink`."""
        self._listener.opened()

    def candidate_gathered(self, candidate: str) -> None:
        """See `TransportSink`; without servers this is only the end of them."""

    def packet_received(self, packet: bytes) -> None:
        """See `TransportSink`."""
        self._listener.message(packet)

    def datagram_received(self, datagram: bytes) -> None:
        """See `TransportSink`; none are sent."""

    def transport_writable(self) -> None:
        """See `TransportSink`."""
        self._listener.writable()

    def transport_closed(self, reason: str) -> None:
        """See `TransportSink`; it shows as work that does not come to its end."""


def make(listener: StackListener) -> Ours:
    """As it is by default."""
    return Ours(listener, WebRtcConfig(close_timeout=CLOSE_TIMEOUT))


def make_cubic(listener: StackListener) -> Ours:
    """With the congestion control that takes every loss for congestion."""
    return Ours(
        listener,
        WebRtcConfig(congestion_control=CongestionControl.CUBIC, close_timeout=CLOSE_TIMEOUT),
    )


def make_safe(listener: StackListener) -> Ours:
    """With packets that every path carries, as they are without path MTU discovery."""
    return Ours(listener, WebRtcConfig(max_packet_bytes=SAFE_PACKET_BYTES, close_timeout=CLOSE_TIMEOUT))


def make_large(listener: StackListener) -> Ours:
    """With packets as large as the path carries."""
    return Ours(listener, WebRtcConfig(max_packet_bytes=LARGE_PACKET_BYTES, close_timeout=CLOSE_TIMEOUT))
