"""The sending half of an association: what goes into the next packets (RFC 9260 section 6.1).

What is lost goes before what is new; both within the congestion window, at the pace that congestion control sets, and
what is new within the window of the remote end as well.
"""

from __future__ import annotations

from math import ceil, inf

from .abandonment import Abandonment
from .chunks import Sack, encode_forward_tsn, encode_i_forward_tsn
from .congestion import Congestion
from .outbound import Outbound
from .pacing import Pacer
from .packet import HEADER_BYTES, Envelope
from .recovery import MAX_PACKET_TSNS, Recovery
from .round_trip import MAX_RTO
from .sent import Sent


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
        self.copies_last = False
        """Whether `Copies` are sent, which takes a remote end that reports duplicates."""
        self._abandonment = Abandonment(self.recovery)
        self._pacer = Pacer()
        self._paced = False
        self._try_window_at = inf
        self._window_tries = 0

    def receive_sack(self, sack: Sack, now: float) -> None:
        """Take a SACK. Raises `ProtocolError`."""
        if self.recovery.acknowledge(sack, now):
            self.remote_window = sack.receive_window
            if sack.receive_window >= self.packet_bytes:
                self._window_tries, self._try_window_at = 0, inf
            elif not sack.receive_window:
                # A remote end that has no room is alive (RFC 9260 section 6.1 A).
                self.recovery.timeouts = min(self.recovery.timeouts, 2)

    def packets(self, envelope: Envelope, lead: bytes, now: float) -> list[bytes]:
        """Return the packets to send now; the first of them begins with the chunks `lead`."""
        if not (lead or self.outbound.active or self.recovery.outstanding):
            self.recovery.limited = self._paced = False
            return []
        room = self.packet_bytes - HEADER_BYTES
        packets: list[bytes] = []
        if len(lead) > room // 2:
            packets.append(envelope.seal(lead))
            lead = b""
        self._abandonment.advance(now)
        due = self._due_packets(room, len(lead), now)
        bodies = [packet.body for packet in due]
        if lead:
            for index, body in enumerate(bodies):
                if len(lead) + len(body) <= room:
                    bodies[index], lead = lead + body, b""
                    break
        packets += envelope.seal_all(bodies)
        if (copy := self._copy(due, now)) is not None:
            packets.append(envelope.seal(copy.body))
        self._abandonment.advance(now)
        if self._abandonment.pending:
            lead += self._forward_tsn(now)
        if lead:
            packets.append(envelope.seal(lead))
        return packets

    def _due_packets(self, room: int, reserved: int, now: float) -> list[Sent]:
        """Return what may be sent now, noted as sent; the first new packet leaves `reserved` bytes."""
        recovery, outbound, pacer = self.recovery, self.outbound, self._pacer
        active, lost = outbound.active, recovery.lost
        window, last_tsn = recovery.congestion.window, recovery.last_tsn
        easily_taken = self.remote_window - room
        pacer.rate = None if recovery.round_trip.is_local else recovery.congestion.pacing_rate
        pace = pacer.allowance(self.packet_bytes, now)
        recovery.limited = self._paced = False
        due: list[Sent] = []
        spent = 0
        while active or lost:
            allowed = min(window - recovery.in_flight, pace - spent)
            if allowed <= 0 and not recovery.probes:
                recovery.limited = True
                self._paced = recovery.in_flight < window
                break
            packet = recovery.next_retransmission(now) if lost else None
            if packet is not None:
                packets = [packet]
            else:
                tsns_left = last_tsn - recovery.next_tsn
                if not active or tsns_left <= 0:
                    break
                easily = easily_taken - recovery.in_flight
                most, space = 1, room
                if easily < 0:
                    # Large packets must not wait for room while smaller ones find it.
                    space = max(room + easily, min(room, recovery.safe_size))
                    if easily + room < space and not self._remote_has_room(now):
                        break
                elif not (recovery.probes or reserved):
                    most = max(
                        1, min(ceil(allowed / room), easily // room + 1, tsns_left // MAX_PACKET_TSNS + 1)
                    )
                packets = outbound.next_packets(recovery.next_tsn, space - reserved, most, now)
                if not packets:
                    break
                reserved = 0
            if packets[0].body:
                spent += recovery.sent(packets, now)
                due += packets
            else:
                recovery.passed_over(packets[0])
        pacer.spent(spent)
        return due

    def _copy(self, due: list[Sent], now: float) -> Sent | None:
        """Return what goes a second time: the last one, later; a lone one, at once if a timeout has sent it again.

        RFC 9002 section 6.2.4 allows two packets for each timeout. What else would show that the first one is lost is
        another, longer timeout.
        """
        recovery, copies = self.recovery, self.recovery.copies
        if not due:
            return copies.due(now) if now >= copies.at else None
        copies.followed()
        last = due[-1]
        if not last.retransmits:
            if self.copies_last and len(due) == 1:
                copies.watch(last, recovery.round_trip, recovery.packets_lost, now)
        elif recovery.timeouts and last.limit is None and len(recovery.outstanding) == 1:
            copies.probed(last)
            return last
        return None

    def _remote_has_room(self, now: float) -> bool:
        """Return whether the remote end takes another packet, though its window may not have room for a full one.

        A window that is shut is tried with one packet at a time, ever more slowly (RFC 9260 section 6.1 A): the SACK
        that opens it may be lost.
        """
        recovery = self.recovery
        if recovery.in_flight + self.outbound.buffered <= self.remote_window:
            return True
        if recovery.outstanding:
            return False
        if now >= self._try_window_at:
            self._window_tries += 1
            self._try_window_at = inf
            return True
        if self._try_window_at == inf:
            timeout = recovery.round_trip.probe_timeout * (1 << min(self._window_tries, 10))
            self._try_window_at = now + min(MAX_RTO, timeout)
        return False

    def _forward_tsn(self, now: float) -> bytes:
        forward = self._abandonment.forward_tsn(now)
        encode = encode_i_forward_tsn if self.outbound.interleaved else encode_forward_tsn
        return encode(forward)

    @property
    def drained(self) -> bool:
        """Whether everything has been sent and acknowledged."""
        return not self.outbound.active and not self.recovery.outstanding

    def deadline(self) -> float:
        """When `handle_timeout` is due, or more may be sent."""
        due = min(self.recovery.deadline(), self._try_window_at)
        return min(due, self._pacer.deadline()) if self._paced else due

    def handle_timeout(self, now: float) -> None:
        """Find what is lost."""
        if self.recovery.handle_timeout(now):
            self._abandonment.repeat()
