"""The sending half of an association: what goes into the next packets (RFC 9260 section 6.1).

What is lost goes before what is new; both within the congestion window, at the pace that congestion control sets, and
what is new within the window of the remote end as well.
"""

from __future__ import annotations

from .abandonment import Abandonment
from .chunks import Sack, encode_forward_tsn, encode_i_forward_tsn
from .congestion import Congestion
from .outbound import Outbound
from .pacing import Pacer
from .packet import HEADER_BYTES, Envelope
from .recovery import Recovery


class Sender:
    """What waits, what is on its way, and the rules for both."""

    def __init__(
        self, outbound: Outbound, initial_tsn: int, remote_window: int, congestion: Congestion
    ) -> None:
        self.outbound = outbound
        self.recovery = Recovery(initial_tsn, congestion)
        self.remote_window = remote_window
        """What the remote end had room for, when it last said so, beyond what it had received."""
        self.packet_bytes = 0
        self._abandonment = Abandonment(self.recovery)
        self._pacer = Pacer()
        self._paced = False

    def receive_sack(self, sack: Sack, now: float) -> None:
        """Take a SACK. Raises `ProtocolError`."""
        if self.recovery.acknowledge(sack, now):
            self.remote_window = sack.receive_window
            if not sack.receive_window:
                # A remote end that has no room is alive (RFC 9260 section 6.1 A).
                self.recovery.timeouts = min(self.recovery.timeouts, 2)

    def packets(self, envelope: Envelope, lead: bytes, now: float) -> list[bytes]:
        """Return the packets to send now; the first of them begins with the chunks `lead`."""
        recovery, outbound, pacer = self.recovery, self.outbound, self._pacer
        room = self.packet_bytes - HEADER_BYTES
        packets: list[bytes] = []
        self._abandonment.advance(now)
        window = recovery.congestion.window
        pacer.rate = recovery.congestion.pacing_rate
        pace = pacer.allowance(self.packet_bytes, now)
        recovery.limited = self._paced = False
        while True:
            if not recovery.probes and (pace <= 0 or recovery.in_flight >= window):
                recovery.limited = not outbound.empty or recovery.has_lost
                self._paced = recovery.limited and recovery.in_flight < window
                break
            packet = recovery.next_retransmission(now)
            if packet is None:
                if outbound.empty or not self._remote_has_room(room):
                    break
                packet = outbound.next_packet(recovery.next_tsn, room - len(lead), now)
                if packet is None:
                    break
            recovery.sent(packet, now)
            if recovery.probes:
                recovery.probes -= 1
            body = packet.body
            if lead and len(lead) + len(body) <= room:
                body, lead = lead + body, b""
            pace -= len(body)
            pacer.spent(len(body))
            packets.append(envelope.seal(body))
        self._abandonment.advance(now)
        if self._abandonment.pending:
            lead += self._forward_tsn(now)
        if lead:
            packets.append(envelope.seal(lead))
        return packets

    def _remote_has_room(self, room: int) -> bool:
        """Return whether the remote end takes another packet; a window that is shut is probed with one at a time."""
        recovery = self.recovery
        if not recovery.in_flight:
            return not recovery.outstanding or self.remote_window > 0
        size = min(room, self.outbound.buffered)
        return recovery.may_send_new and recovery.in_flight + size <= self.remote_window

    def _forward_tsn(self, now: float) -> bytes:
        forward = self._abandonment.forward_tsn(now)
        encode = encode_i_forward_tsn if self.outbound.interleaved else encode_forward_tsn
        return encode(forward)

    @property
    def drained(self) -> bool:
        """Whether everything has been sent and acknowledged."""
        return self.outbound.empty and not self.recovery.outstanding

    def deadline(self) -> float:
        """When `handle_timeout` is due, or more may be sent."""
        due = self.recovery.deadline()
        return min(due, self._pacer.deadline()) if self._paced else due

    def handle_timeout(self, now: float) -> bool:
        """Find what is lost. Returns whether nothing was acknowledged for too long, once more."""
        if not self.recovery.handle_timeout(now):
            return False
        self._abandonment.repeat()
        return True
