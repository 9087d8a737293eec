"""What an association counts; the names are those of W3C webrtc-stats where it has one."""

from __future__ import annotations

import msgspec


class ChannelStats(msgspec.Struct, frozen=True):
    """RTCDataChannelStats, as far as it is known here."""

    channel_id: int
    label: str
    protocol: str
    messages_sent: int
    bytes_sent: int
    messages_received: int
    bytes_received: int
    buffered_amount: int


class AssociationStats(msgspec.Struct, frozen=True):
    """RTCSctpTransportStats and what a congestion controlled path knows of itself."""

    packets_sent: int = 0
    packets_received: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    packets_retransmitted: int = 0
    packets_lost: int = 0
    packets_discarded: int = 0
    """Received and not for this association, or damaged."""
    chunks_discarded: int = 0
    """Received and malformed, or more than the receive window."""
    chunks_repeated: int = 0
    """Received a second time."""
    messages_abandoned: int = 0
    smoothed_round_trip_time: float | None = None
    min_round_trip_time: float | None = None
    congestion_window: int = 0
    bytes_in_flight: int = 0
    pacing_rate: float | None = None
    """In bytes per second."""
    receive_window: int = 0
    """What the remote end said it would take."""
    mtu: int = 0
    """The largest packet that is sent now, without what is around it."""
    buffered_amount: int = 0
