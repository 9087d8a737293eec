"""Figures of one connection, in the names of W3C webrtc-stats."""

from __future__ import annotations

from dataclasses import dataclass

from rtcmesh.peer.sctp import AssociationStats

from .ice import CandidatePair


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionStats:
    """A connection as it is now. Packets and bytes are those of whole datagrams, DTLS included (RTCTransportStats)."""

    dtls_role: str | None
    """`client` or `server`; None before the description of the other end is known."""
    selected_candidate_pair: CandidatePair | None
    packets_sent: int
    packets_received: int
    bytes_sent: int
    bytes_received: int
    association: AssociationStats | None
    """RTCSctpTransportStats; None before the description of the other end is known."""
