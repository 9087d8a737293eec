"""What is known of a connection, put together."""

from __future__ import annotations

from collections.abc import Iterable

from rtcmesh.peer.sctp import AssociationStats, ChannelStats
from rtcmesh.peer.stats import DataChannelStats, TransportStats

from .connection import Connection
from .dtls import DtlsState

_DTLS_STATES = {
    DtlsState.NEW: "new",
    DtlsState.HANDSHAKING: "connecting",
    DtlsState.CONNECTED: "connected",
    DtlsState.CLOSED: "closed",
    DtlsState.FAILED: "failed",
}


def transport_stats(connection: Connection, channel_ids: Iterable[int]) -> TransportStats:
    """Return the figures of a connection and of some of its channels as they are now."""
    association, dtls, pair = connection.association, connection.dtls, connection.selected_pair
    sctp = AssociationStats() if association is None else association.stats()
    channels = [] if association is None else [association.channel_stats(number) for number in channel_ids]
    traffic = connection.traffic
    return TransportStats(
        packets_sent=traffic.packets_sent,
        packets_received=traffic.packets_received,
        bytes_sent=traffic.bytes_sent,
        bytes_received=traffic.bytes_received,
        dtls_role=None if dtls is None else ("client" if dtls.is_client else "server"),
        dtls_state=_DTLS_STATES[DtlsState.NEW if dtls is None else dtls.state],
        local_candidate=None if pair is None else str(pair.local),
        remote_candidate=None if pair is None else str(pair.remote),
        current_round_trip_time=sctp.smoothed_round_trip_time,
        congestion_window=sctp.congestion_window,
        bytes_in_flight=sctp.bytes_in_flight,
        receiver_window=sctp.receive_window,
        pacing_rate=sctp.pacing_rate,
        mtu=sctp.mtu,
        packets_retransmitted=sctp.packets_retransmitted,
        packets_lost=sctp.packets_lost,
        packets_discarded=sctp.packets_discarded,
        messages_abandoned=sctp.messages_abandoned,
        data_channels=tuple(map(_channel, channels)),
    )


def _channel(stats: ChannelStats) -> DataChannelStats:
    return DataChannelStats(
        label=stats.label,
        data_channel_identifier=stats.channel_id,
        messages_sent=stats.messages_sent,
        bytes_sent=stats.bytes_sent,
        messages_received=stats.messages_received,
        bytes_received=stats.bytes_received,
        buffered_amount=stats.buffered_amount,
    )
