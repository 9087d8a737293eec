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

    packets_sent: int
    packets_received: int
    bytes_sent: int
    bytes_received: int
    packets_retransmitted: int
    packets_lost: int
    packets_discarded: int
    """Received and not for this association, damaged, or repeated."""
    messages_abandoned: int
    smoothed_round_trip_time: float | None
    min_round_trip_time: float | None
    congestion_window: int
    bytes_in_flight: int
    pacing_rate: float | None
    """In bytes per second."""
    receive_window: int
    """What the remote end would take now (`receiverWindow` of the other end)."""
    mtu: int
    """The largest packet that is sent now, without what is around it."""
    buffered_amount: int
