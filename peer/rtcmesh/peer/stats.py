"""Figures about one remote peer and the paths to it, as `Peer.stats()` gives them."""

from __future__ import annotations

from dataclasses import dataclass

from .events import PathKind


@dataclass(frozen=True, slots=True, kw_only=True)
class DataChannelStats:
    """One data channel of a connection (RTCDataChannelStats of W3C webrtc-stats, as Python writes names)."""

    label: str
    data_channel_identifier: int
    messages_sent: int
    bytes_sent: int
    messages_received: int
    bytes_received: int
    buffered_amount: int
    """Bytes of messages that wait to be sent for the first time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportStats:
    """One WebRTC connection (RTCTransportStats, RTCIceCandidatePairStats and RTCSctpTransportStats, likewise).

    Packets and bytes are those of UDP datagrams with everything in them; what is about SCTP is 0 or None until its
    association exists.
    """

    packets_sent: int
    packets_received: int
    bytes_sent: int
    bytes_received: int
    dtls_role: str | None
    """`client` or `server`; None before the remote description is known."""
    dtls_state: str
    """`new`, `connecting`, `connected`, `closed` or `failed`."""
    local_candidate: str | None
    """The selected candidate pair, as SDP writes candidates; None before there is one."""
    remote_candidate: str | None
    current_round_trip_time: float | None
    """Smoothed, in seconds, as SCTP sees it."""
    congestion_window: int
    """How many bytes may be on their way."""
    bytes_in_flight: int
    """How many are."""
    receiver_window: int
    """How many bytes the remote end would take now."""
    pacing_rate: float | None
    """At how many bytes per second packets leave; None while they are not paced."""
    mtu: int
    """The largest SCTP packet that the path is known to carry."""
    packets_retransmitted: int
    packets_lost: int
    packets_discarded: int
    """How many came that were damaged, repeated, or nobody's."""
    messages_abandoned: int
    """How many were given up, as their channel allows."""
    data_channels: tuple[DataChannelStats, ...]


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
    transport: TransportStats | None = None
    """The connection under a direct path."""


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
