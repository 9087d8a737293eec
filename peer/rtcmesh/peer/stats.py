"""Figures about one remote peer and the paths to it, as `Peer.stats()` gives them."""

from __future__ import annotations

from dataclasses import dataclass

from .events import PathKind


@dataclass(frozen=True, slots=True)
class PathStats:
    """One open path. Bytes are those of whole packets, before sealing or encryption."""

    kind: PathKind
    carries: bool
    """Whether the conversation goes over it now; in doubt, several do."""
    rtt: float | None
    """The smoothed round-trip time of its pings in seconds; None until one was answered."""
    packets_sent: int
    bytes_sent: int
    packets_received: int
    bytes_received: int
    pings_sent: int
    pings_missed: int
    """How many pings were not answered in time."""


@dataclass(frozen=True, slots=True)
class PeerStats:
    """Everything about one remote peer."""

    paths: tuple[PathStats, ...]
    path_changes: int
    """How often the way to reach the peer changed."""
    unacknowledged: int
    """How many messages the peer's session has not acknowledged yet."""
    in_flight_bytes: int
    """What was sent and is neither acknowledged nor taken for lost."""
    rejected_packets: int
    """Packets in the peer's name that were forged, replayed, malformed or against the protocol."""
    rejected_signals: int
    """Signals in the peer's name that were forged, replayed or malformed."""
    attempts: int
    """How many transports were negotiated or tried in the present pair of memberships."""
