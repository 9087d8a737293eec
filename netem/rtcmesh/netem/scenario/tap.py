"""Tells the meter and the capture of a run about every packet: a machine."""

from __future__ import annotations

from rtcmesh.netem.packet import Packet
from rtcmesh.netem.pcapng import ip_packet

from .stage import LOST, Watch

MAX_REMEMBERED = 100_000
"""How many packets are remembered with the time at which they were sent."""


class PacketTap:
    """Takes what the `Tap` of a network is told."""

    def __init__(self, watch: Watch, *, began_at: float = 0.0) -> None:
        self._meter = watch.meter
        self._capture = watch.capture
        self._began_at = began_at
        self._sent_at: dict[int, float] = {}

    def note(self, time: float, packet: Packet, fate: str, host: str | None) -> None:
        """Take in what happened to a packet."""
        at = time - self._began_at
        if fate == "carried":
            self._remember(packet, at)
            self._meter.sent(packet.origin, packet.size, at)
            self._show(packet.origin, at, packet, "")
        elif host is not None:
            sent_at = self._sent_at.get(packet.sequence, at)
            self._meter.received(host, packet.size, at, at - sent_at)
            self._show(host, at, packet, "")
        else:
            if packet.sequence not in self._sent_at:  # it did not get past its first link
                self._meter.sent(packet.origin, packet.size, at)
            self._meter.lost(packet.origin, self._sent_at.pop(packet.sequence, at))
            self._show(LOST, at, packet, f"{fate}; sent by {packet.origin}")

    def _remember(self, packet: Packet, at: float) -> None:
        """Remember when a packet was sent; one that was sent long ago has arrived, or was lost without a word."""
        self._sent_at[packet.sequence] = at
        if len(self._sent_at) > MAX_REMEMBERED:
            del self._sent_at[next(iter(self._sent_at))]

    def _show(self, link: str, at: float, packet: Packet, comment: str) -> None:
        if self._capture is not None:
            self._capture.add(link, at, ip_packet(packet), comment)
