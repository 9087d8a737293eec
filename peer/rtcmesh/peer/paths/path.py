"""The paths over which a remote peer is reached: one open transport, or one connection to its home relay."""

from __future__ import annotations

import logging

from rtcmesh.peer.events import PathKind
from rtcmesh.peer.session.frames import Packet
from rtcmesh.peer.stats import PathStats, TransportStats
from rtcmesh.relay.backlog import HIGH_WATER_BYTES as RELAY_HIGH_WATER_BYTES
from rtcmesh.relay.link import RelayLink
from rtcmesh.signaling.identity import PeerId
from rtcmesh.signaling.sealing import SealExhausted

from .attempt import Attempt
from .liveness import Liveness
from .relay_seal import RelaySeal
from .transport import HIGH_WATER_BYTES

logger = logging.getLogger(__name__)


class Path:
    """What both kinds share: a number that is never used again, and counts."""

    kind: PathKind

    def __init__(self, number: int) -> None:
        self.number = number
        self.packets_sent = 0
        self.bytes_sent = 0
        self.packets_received = 0
        self.bytes_received = 0

    @property
    def room_bytes(self) -> int:
        """How much it takes now without queueing what is urgent behind what is not."""
        raise NotImplementedError

    def send(self, packet: Packet) -> None:
        """Send a packet. Never blocks; what the path does not take is lost."""
        self.packets_sent += 1
        self.bytes_sent += len(packet.data)
        self._carry(packet)

    def received(self, size_bytes: int) -> None:
        """Count what came."""
        self.packets_received += 1
        self.bytes_received += size_bytes

    def stats(self, liveness: Liveness | None, *, carries: bool) -> PathStats:
        """Return the figures as they are now."""
        return PathStats(
            kind=self.kind,
            carries=carries,
            rtt=liveness.rtt if liveness else None,
            packets_sent=self.packets_sent,
            bytes_sent=self.bytes_sent,
            packets_received=self.packets_received,
            bytes_received=self.bytes_received,
            pings_sent=liveness.pings if liveness else 0,
            pings_missed=liveness.missed if liveness else 0,
            transport=self._transport_stats(),
        )

    def _transport_stats(self) -> TransportStats | None:
        return None

    def _carry(self, packet: Packet) -> None:
        raise NotImplementedError


class DirectPath(Path):
    """A WebRTC data channel; DTLS protects it, and sealed signals vouch for its certificates."""

    kind = PathKind.DIRECT

    def __init__(self, number: int, attempt: Attempt, *, membership: int) -> None:
        super().__init__(number)
        self.attempt = attempt
        self.membership = membership
        """Under which membership of the peer it was negotiated, counted from 0."""

    @property
    def room_bytes(self) -> int:
        """See `Path`."""
        return HIGH_WATER_BYTES - self.attempt.buffered_amount

    def _transport_stats(self) -> TransportStats | None:
        return self.attempt.stats()

    def _carry(self, packet: Packet) -> None:
        if packet.datagram:
            self.attempt.send_datagram(packet.data)
        else:
            self.attempt.send(packet.data)


class RelayPath(Path):
    """The remote peer's home relay; every packet is sealed for the peer, and the relay sees its size and urgency."""

    kind = PathKind.RELAYED

    def __init__(self, number: int, link: RelayLink, peer_id: PeerId, seal: RelaySeal) -> None:
        super().__init__(number)
        self.link = link
        self._peer_id = peer_id
        self._seal = seal

    @property
    def room_bytes(self) -> int:
        """See `Path`."""
        return RELAY_HIGH_WATER_BYTES - self.link.buffered_amount

    def _carry(self, packet: Packet) -> None:
        try:
            sealed = self._seal.seal(packet.data)
        except SealExhausted:  # after 2**64 packets
            return
        self.link.send(self._peer_id, sealed, packet.urgency, datagram=packet.datagram)
