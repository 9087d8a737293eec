"""The transport on aiortc's RTCPeerConnection. The only place that speaks camelCase."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from aiortc import (
    InvalidStateError,
    RTCConfiguration,
    RTCDataChannel,
    RTCIceServer,
    RTCIceTransport,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.rtcicetransport import parse_stun_turn_uri
from aiortc.sdp import candidate_from_sdp

from rtcmesh.signaling.messages import IceServer

from .errors import TransportFailed
from .negotiation import MAX_CANDIDATES
from .transport import LOW_WATER_BYTES, TransportSink

logger = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 64 * 1024
"""What every remote peer must take in one data channel message."""

MAX_WAITING_DATAGRAM_BYTES = 32 * 1024
"""Datagrams that cannot be sent soon are worth nothing later."""

SETTLE_TIMEOUT = 1.0

_MDNS_SUFFIX = ".local"

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
        self._early: list[tuple[Callable[[bytes], None], bytes]] = []
        # Always explicit: the default configuration of aiortc asks a public STUN server.
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=_usable(ice_servers)))
        self._packets = self._connection.createDataChannel("packets", negotiated=True, id=0)
        self._datagrams = self._connection.createDataChannel(
            "datagrams", negotiated=True, id=1, ordered=False, maxRetransmits=0
        )
        self._packets.bufferedAmountLowThreshold = LOW_WATER_BYTES
        for lane in (self._packets, self._datagrams):
            lane.on("open", self._lane_opened)
            lane.on("close", self._lane_closed)
        self._packets.on("message", self._packet_received)
        self._packets.on("bufferedamountlow", self._writable)
        self._datagrams.on("message", self._datagram_received)
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

    def send_datagram(self, datagram: bytes) -> None:
        """Send a packet on the data channel without order and retransmission, unless others still wait there."""
        if self._datagrams.bufferedAmount < MAX_WAITING_DATAGRAM_BYTES:
            self._send(self._datagrams, datagram)

    async def close(self) -> None:
        """Close the connection; queued data is lost, as aiortc does not flush."""
        self._closed = True
        ice = self._connection.sctp.transport.transport if self._connection.sctp else None
        checking = ice is not None and ice.state == "checking"
        try:
            await self._connection.close()
            if ice is not None and checking:
                await _settle(ice)
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
        _check_description(sdp)
        await self._connection.setRemoteDescription(RTCSessionDescription(_without_names(sdp), kind))

    async def _add_candidate(self, candidate: str) -> None:
        try:
            parsed = candidate_from_sdp(candidate)
        except (AssertionError, ValueError, IndexError) as error:
            # RFC 8839 section 5.1: a candidate that is not understood is ignored.
            logger.info("ignored a candidate: %s: %s", type(error).__name__, error)
            return
        if parsed.ip.endswith(_MDNS_SUFFIX):
            logger.info("ignored a candidate with a name instead of an address")
            return
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
        except ValueError as error:
            # Larger than the remote description allows, which was checked to be enough.
            asyncio.get_running_loop().call_soon(self._report_closed, str(error))

    def _lane_opened(self) -> None:
        self._open_lanes += 1
        if self._open_lanes == 2 and not self._closed:
            self._sink.transport_opened()
            for report, data in self._early:
                report(data)
            self._early = []

    def _packet_received(self, data: bytes | str) -> None:
        self._report(self._sink.packet_received, data)

    def _datagram_received(self, data: bytes | str) -> None:
        self._report(self._sink.datagram_received, data)

    def _report(self, report: Callable[[bytes], None], data: bytes | str) -> None:
        """Report what arrived, but not before the opening.

        The remote end may be open, and send, while the last packet of our handshake is lost (RFC 9260 section 5.1).
        aiortc hands that over at once, and SCTP has acknowledged it, so it must not be dropped.
        """
        data = data.encode() if isinstance(data, str) else data
        if self._open_lanes < 2:
            self._early.append((report, data))
        elif not self._closed:
            report(data)

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


def _usable(ice_servers: Sequence[IceServer]) -> list[RTCIceServer]:
    """Return the servers in aiortc's form, without URLs that it would choke on."""
    usable: list[RTCIceServer] = []
    for server in ice_servers:
        for url in server.urls:
            try:
                parse_stun_turn_uri(url)
            except ValueError as error:
                logger.warning("the signaling server announced an ICE server that is not usable: %s", error)
            else:
                usable.append(RTCIceServer(url, server.username, server.credential))
    return usable


def _check_description(sdp: str) -> None:
    """Refuse what a peer of this library never sends, before aiortc opens sockets and decoders for it."""
    sections = re.findall(r"^m=(\w+)", sdp, re.MULTILINE)
    if sections != ["application"]:
        raise TransportFailed(
            f"a description with the media sections {sections} instead of one for data channels"
        )
    if len(re.findall(r"^a=candidate:", sdp, re.MULTILINE)) > MAX_CANDIDATES:
        raise TransportFailed(f"a description with more than {MAX_CANDIDATES} candidates")
    for limit in re.findall(r"^a=max-message-size:(\d+)", sdp, re.MULTILINE):
        # RFC 8841 section 6: 0 means any size.
        if 0 < int(limit) < MAX_MESSAGE_BYTES:
            raise TransportFailed(f"a peer that takes messages of {limit} bytes only")


def _without_names(sdp: str) -> str:
    """Leave out candidates with mDNS names: no remote peer makes this machine ask its local network for a name."""
    return re.sub(
        rf"^a=candidate:(?:\S+ ){{4}}\S+{re.escape(_MDNS_SUFFIX)} .*(?:\r?\n|$)", "", sdp, flags=re.MULTILINE
    )


async def _settle(ice: RTCIceTransport) -> None:
    """Stop an ICE transport again that was closed in the midst of its checks.

    When the checks succeed at that moment, aioice goes on to watch consent on the closed connection, for ever.
    """
    changed = asyncio.Event()
    ice.on("statechange", changed.set)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SETTLE_TIMEOUT):
            while ice.state == "closed":
                changed.clear()
                await changed.wait()
    await ice.stop()
