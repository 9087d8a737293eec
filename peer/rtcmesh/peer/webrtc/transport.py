"""The transport of a mesh on a WebRTC connection: two data channels that both ends know of."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial

from rtcmesh.peer.errors import TransportFailed
from rtcmesh.peer.paths.transport import HIGH_WATER_BYTES, LOW_WATER_BYTES, TransportFactory, TransportSink
from rtcmesh.peer.sctp import (
    Association,
    AssociationAnswered,
    AssociationConnected,
    AssociationRestarted,
    ChannelClosed,
    ChannelWritable,
    Event,
    MessagesReceived,
    SctpError,
)
from rtcmesh.peer.stats import TransportStats
from rtcmesh.signaling.messages import IceServer

from .config import WebRtcConfig
from .connection import Connection
from .description import Description
from .ice import IceAgentFactory
from .ice_server import parse_servers
from .stats import transport_stats

logger = logging.getLogger(__name__)

PACKETS, DATAGRAMS = 0, 1
"""The ids of the two channels, negotiated out of band (RFC 8832 section 1): nobody waits for them to open."""

MIN_MESSAGE_BYTES = 64 * 1024
"""What every remote peer must take in one data channel message."""

MAX_WAITING_DATAGRAM_BYTES = 32 * 1024
"""Datagrams that cannot be sent soon are worth nothing later."""


class WebRtcTransport:
    """One connection with a reliable, ordered channel and one that is neither. See `Transport`."""

    def __init__(
        self,
        sink: TransportSink,
        ice_servers: Sequence[IceServer],
        *,
        config: WebRtcConfig | None = None,
        agent: IceAgentFactory | None = None,
    ) -> None:
        self._sink = sink
        self._loop = asyncio.get_running_loop()
        self._connection = Connection(self, parse_servers(ice_servers), config, agent=agent)
        self._association: Association | None = None
        self._sending: Association | None = None
        """The association while the transport is open."""
        self._closed = False

    @classmethod
    def factory(cls, config: WebRtcConfig) -> TransportFactory:
        """Return what makes transports with this configuration; for `Mesh.join(transports=…)`."""
        return partial(cls, config=config)

    @property
    def buffered_amount(self) -> int:
        """Bytes of packets that wait to be sent for the first time."""
        association = self._sending
        return 0 if association is None else association.buffered_amount(PACKETS)

    async def create_offer(self) -> str:
        """Return an offer with the host candidates. See `Transport`."""
        return await self._connection.create_offer()

    async def create_answer(self, offer: str) -> str:
        """Apply an offer and return the answer. See `Transport`."""
        _check(offer)
        return await self._connection.create_answer(offer)

    async def accept_answer(self, answer: str) -> None:
        """Apply the answer. See `Transport`."""
        _check(answer)
        await self._connection.accept_answer(answer)

    async def add_candidate(self, candidate: str) -> None:
        """Add a remote candidate; empty: no more follow. See `Transport`."""
        await self._connection.add_candidate(candidate)

    def send(self, packet: bytes) -> None:
        """Queue a packet on the reliable channel. See `Transport`."""
        association = self._sending
        if association is None:
            return
        try:
            association.send(PACKETS, packet)
        except SctpError as error:
            self._loop.call_soon(self._end, str(error))
        else:
            if not self._connection.will_flush:
                self._connection.schedule_flush()

    def send_datagram(self, datagram: bytes) -> None:
        """Send a packet on the other channel, unless too many wait there. See `Transport`."""
        association = self._sending
        if association is None:
            return
        try:
            if association.buffered_amount(DATAGRAMS) < MAX_WAITING_DATAGRAM_BYTES:
                association.send(DATAGRAMS, datagram)
                self._connection.schedule_flush()
        except SctpError as error:
            self._loop.call_soon(self._end, str(error))

    def stats(self) -> TransportStats:
        """Return the figures of the connection."""
        return transport_stats(self._connection, () if self._sending is None else (PACKETS, DATAGRAMS))

    async def close(self) -> None:
        """Deliver what was sent and release everything. See `Transport`."""
        self._closed, self._sending = True, None
        await self._connection.close()

    # ConnectionListener

    def association_made(self, association: Association) -> None:
        """Open both channels before anything can arrive on them."""
        now = self._loop.time()
        self._association = association
        association.open_channel(now, label="packets", negotiated_id=PACKETS)
        association.open_channel(
            now, label="datagrams", negotiated_id=DATAGRAMS, ordered=False, max_retransmits=0
        )
        association.set_water_marks(PACKETS, low_bytes=LOW_WATER_BYTES, high_bytes=HIGH_WATER_BYTES)

    def candidate_gathered(self, candidate: str) -> None:
        """Pass it on."""
        self._sink.candidate_gathered(candidate)

    def event_received(self, event: Event) -> None:
        """Translate what the association reports."""
        match event:
            case MessagesReceived():
                receive = (
                    self._sink.packet_received
                    if event.channel_id == PACKETS
                    else self._sink.datagram_received
                )
                for message in event.messages:
                    receive(message)
            case ChannelWritable():
                if event.channel_id == PACKETS:
                    self._sink.transport_writable()
            case AssociationAnswered() | AssociationConnected():
                self._take_packets()
            case ChannelClosed():
                self._end("a data channel was closed")
            case AssociationRestarted():
                self._end("the remote end lost its state")
            case _:
                logger.debug("ignored %s", event)

    def connection_ended(self, reason: str) -> None:
        """Tell the owner, once."""
        self._end(reason)

    # Rules

    def _take_packets(self) -> None:
        """Be open: the remote end has answered, and what is sent now arrives, or the end of the transport says so."""
        if self._sending is None and not self._closed:
            self._sending = self._association
            self._sink.transport_opened()

    def _end(self, reason: str) -> None:
        if not self._closed:
            self._closed, self._sending = True, None
            self._sink.transport_closed(reason)


def _check(sdp: str) -> None:
    """Refuse a peer that would not take what this library sends."""
    limit = Description.parse(sdp).max_message_bytes
    if 0 < limit < MIN_MESSAGE_BYTES:  # RFC 8841 section 6: 0 means any size
        raise TransportFailed(f"a peer that takes messages of {limit} bytes only")
