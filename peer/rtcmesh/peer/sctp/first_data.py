"""The DATA behind COOKIE ECHO: what waits at the end that asks need not wait for COOKIE ACK (RFC 9260 section 5.1).

It shares a packet with the cookie; no more may leave until the COOKIE ACK is there. T1 repeats what is reliable of it
once, and after that the COOKIE ECHO alone, in case somebody does not stand its company. Once both ends agree it is on
its way like any other data: what the COOKIE ACK does not acknowledge is sent again, or abandoned, by the same rules.
"""

from __future__ import annotations

from .config import SctpConfig
from .cookie import Cookie
from .extensions import Extensions
from .outbound import Outbound
from .packet import HEADER_BYTES
from .recovery import Recovery
from .sent import Sent

LEAST_ROOM = 128
"""A cookie that leaves less than this goes alone."""


class FirstData:
    """Little enough for one packet; nothing is taken twice from what waits, however often a cookie is sent."""

    def __init__(self, config: SctpConfig, outbound: Outbound) -> None:
        self._config = config
        self._outbound = outbound
        self._packets: list[Sent] = []
        """What recovery will know as packets of their own: what must arrive, and what may be lost."""
        self._sent_at = 0.0
        self._repeats = 0

    def beside(self, cookie_echo: bytes, agreement: Cookie, now: float) -> bytes:
        """Return the chunks to send behind this COOKIE ECHO, the first one or another when that was stale or lost."""
        room = self._config.packet_bytes - HEADER_BYTES - len(cookie_echo)
        if self._packets:
            return self._again(room, now)
        if room < LEAST_ROOM or room > agreement.remote_window or not self._may_go(agreement):
            return b""
        self._outbound.agreed(self._config, Extensions(agreement.extensions), agreement.remote_window)
        tsn = agreement.local_initial_tsn
        while room >= LEAST_ROOM and self._outbound.active:
            packets = self._outbound.next_packets(tsn, room, 1, now)
            if not packets:
                break
            self._packets += packets
            tsn = packets[0].following
            room -= packets[0].size
        self._sent_at = now
        return b"".join(packet.body for packet in self._packets)

    def hand_over(self, recovery: Recovery) -> None:
        """Let recovery watch over what was sent, since the association is established."""
        packets, self._packets = self._packets, []
        for packet in packets:
            packet.retransmits = self._repeats
            recovery.packets_retransmitted += self._repeats
        recovery.sent(packets, self._sent_at)

    def _again(self, room: int, now: float) -> bytes:
        """Return what is reliable, if there is room for all of it: T1 knows no limits."""
        body = b"".join(packet.body for packet in self._packets if packet.limit is None)
        if not body or len(body) > room:
            return b""
        self._sent_at = now
        self._repeats += 1
        return body

    def _may_go(self, agreement: Cookie) -> bool:
        """Return whether something waits, on streams that they have."""
        active = self._outbound.active
        return bool(active) and all(stream.id < agreement.remote_inbound_streams for stream in active)
