"""The transport on aiortc's RTCPeerConnection. The only place that speaks camelCase."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Sequence
from typing import TypeVar

from aiortc import (
    InvalidStateError,
    RTCConfiguration,
    RTCDataChannel,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.sdp import candidate_from_sdp

from rtcmesh.signaling.messages import IceServer

from .errors import TransportFailed
from .transport import LOW_WATER_BYTES, TransportSink

logger = logging.getLogger(__name__)

T = TypeVar("T")


class AiortcTransport:
    """One RTCPeerConnection with two data channels, both negotiated out of band (RFC 8832 section 1).

    Fixed ids leave no race about who opens a channel, and handlers are installed before anything can arrive. aiortc
    ends a connection when a handler raises, so nothing of the application runs in one.
    """

    def __init__(self, sink: TransportSink, ice_servers: Sequence[IceServer]) -> None:
        self._sink = sink
        self._closed = False
        self._open_lanes = 0
        # Always explicit: the default configuration of aiortc asks a public STUN server.
        servers = [RTCIceServer(list(s.urls), s.username, s.credential) for s in ice_servers]
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        self._packets = self._connection.createDataChannel("packets", negotiated=True, id=0)
        self._probes = self._connection.createDataChannel(
            "probes", negotiated=True, id=1, ordered=False, maxRetransmits=0
        )
        self._packets.bufferedAmountLowThreshold = LOW_WATER_BYTES
        for lane in (self._packets, self._probes):
            lane.on("open", self._lane_opened)
            lane.on("close", self._lane_closed)
        self._packets.on("message", self._packet_received)
        self._packets.on("bufferedamountlow", self._writable)
        self._probes.on("message", self._probe_received)
        self._connection.on("connectionstatechange", self._connection_state_changed)

    @property
    def buffered_amount(self) -> int:
        """Bytes that wait in the data channel."""
        return self._packets.bufferedAmount

    async def create_offer(self) -> str:
        """Gather candidates and return the offer, complete: aiortc does not trickle its own candidates."""
        return await self._negotiate(self._describe_offer())

    async def create_answer(self, offer: str) -> str:
        """Apply the offer, gather candidates and return the answer, complete."""
        return await self._negotiate(self._describe_answer(offer))

    async def accept_answer(self, answer: str) -> None:
        """Apply the answer."""
        await self._negotiate(self._apply(answer, "answer"))

    async def add_candidate(self, candidate: str) -> None:
        """Add a remote candidate; `candidate` is an SDP candidate attribute, with or without its name."""
        await self._negotiate(self._add_candidate(candidate.removeprefix("candidate:")))

    def send(self, packet: bytes) -> None:
        """Queue a packet on the reliable data channel."""
        self._send(self._packets, packet)

    def send_probe(self, probe: bytes) -> None:
        """Send a packet on the data channel without order and retransmission."""
        self._send(self._probes, probe)

    async def close(self) -> None:
        """Close the connection; queued data is lost, as aiortc does not flush."""
        self._closed = True
        try:
            await self._connection.close()
        except Exception:
            # Closing races with handshakes inside aiortc; whatever it trips over, the connection is over.
            logger.warning("aiortc failed to close a connection", exc_info=True)

    async def _describe_offer(self) -> str:
        await self._connection.setLocalDescription(await self._connection.createOffer())
        return self._connection.localDescription.sdp

    async def _describe_answer(self, offer: str) -> str:
        await self._apply(offer, "offer")
        await self._connection.setLocalDescription(await self._connection.createAnswer())
        return self._connection.localDescription.sdp

    async def _apply(self, sdp: str, kind: str) -> None:
        if "m=application" not in sdp:
            raise TransportFailed(f"an {kind} without data channels")
        await self._connection.setRemoteDescription(RTCSessionDescription(sdp, kind))

    async def _add_candidate(self, candidate: str) -> None:
        parsed = candidate_from_sdp(candidate)
        parsed.sdpMid, parsed.sdpMLineIndex = "0", 0
        await self._connection.addIceCandidate(parsed)

    async def _negotiate(self, step: Awaitable[T]) -> T:
        """Translate what aiortc raises: a remote description can make it fail in any way."""
        try:
            return await step
        except TransportFailed:
            raise
        except Exception as error:
            raise TransportFailed(f"{type(error).__name__}: {error}") from error

    def _send(self, lane: RTCDataChannel, data: bytes) -> None:
        try:
            lane.send(data)
        except InvalidStateError:
            logger.debug("dropped %d bytes: the data channel is %s", len(data), lane.readyState)

    def _lane_opened(self) -> None:
        self._open_lanes += 1
        if self._open_lanes == 2 and not self._closed:
            self._sink.transport_opened()

    def _packet_received(self, data: bytes | str) -> None:
        if not self._closed:
            self._sink.packet_received(data.encode() if isinstance(data, str) else data)

    def _probe_received(self, data: bytes | str) -> None:
        if not self._closed:
            self._sink.probe_received(data.encode() if isinstance(data, str) else data)

    def _writable(self) -> None:
        if not self._closed:
            self._sink.transport_writable()

    def _lane_closed(self) -> None:
        self._report_closed("the data channel was closed")

    def _connection_state_changed(self) -> None:
        if self._connection.connectionState in ("failed", "closed"):
            self._report_closed(f"the connection is {self._connection.connectionState}")

    def _report_closed(self, reason: str) -> None:
        if not self._closed:
            self._closed = True
            self._sink.transport_closed(reason)
