"""The DATA behind COOKIE ECHO: what waits at the end that asks need not wait for COOKIE ACK (RFC 9260 section 5.1).

It is one packet; no more may leave until the COOKIE ACK is there. T1 repeats it once as it is, and after that the COOKIE
ECHO alone, in case somebody does not stand its company. Once both ends agree it is on its way like any other: what the
COOKIE ACK does not acknowledge is sent again under the rules for everything else.
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
    """At most one packet of reliable messages; none is taken twice from what waits, however often a cookie is sent."""

    def __init__(self, config: SctpConfig, outbound: Outbound) -> None:
        self._config = config
        self._outbound = outbound
        self._packet: Sent | None = None
        self._sent_at = 0.0
        self._repeats = 0

    def beside(self, cookie_echo: bytes, agreement: Cookie, now: float) -> bytes:
        """Return the chunks to send behind this COOKIE ECHO; the same ones behind another, when the first was stale."""
        room = self._config.packet_bytes - HEADER_BYTES - len(cookie_echo)
        if self._packet is not None:
            if self._packet.size > room:
                return b""
            self.sent_again(now)
            return self._packet.body
        if room < LEAST_ROOM or room > agreement.remote_window or not self._may_go(agreement):
            return b""
        self._outbound.agreed(self._config, Extensions(agreement.extensions))
        self._packet = self._outbound.next_packet(agreement.local_initial_tsn, room, now)
        self._sent_at = now
        return b"" if self._packet is None else self._packet.body

    def sent_again(self, now: float) -> None:
        """Note that T1 has sent the same packet once more."""
        self._sent_at = now
        self._repeats += 1

    def hand_over(self, recovery: Recovery) -> None:
        """Let recovery watch over what was sent, since the association is established."""
        packet, self._packet = self._packet, None
        if packet is not None:
            packet.retransmits = self._repeats
            recovery.packets_retransmitted += self._repeats
            recovery.sent(packet, self._sent_at)

    def _may_go(self, agreement: Cookie) -> bool:
        """Return whether something waits that is reliable, for T1 knows no limits, and on streams that they have."""
        active = self._outbound.active
        return (
            bool(active)
            and active[0].queue[0][3] is None
            and all(stream.id < agreement.remote_inbound_streams for stream in active)
        )
