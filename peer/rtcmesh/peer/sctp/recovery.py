"""What is on its way: what has arrived, what is lost, what is to be sent again.

Retransmission is that of RFC 8985 (RACK-TLP), carried over from TCP: a packet is lost when one that was sent later has
arrived and three packets, or a part of a round trip, lie between. When nothing arrives at all, one or two packets are
sent again after a probe timeout (RFC 9002 section 6.2), which takes the place of T3-rtx of RFC 9260 section 6.3.3.

The work per SACK grows with what it says that is new, not with what is on its way.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from math import inf

from .chunks import Sack
from .congestion import Congestion, Progress
from .copies import Copies
from .errors import ProtocolError
from .parameters import Cause
from .round_trip import MAX_RTO, RoundTrip
from .sent import Fate, Sent
from .serial import unwrap

PACKET_THRESHOLD = 3
"""How many packets may overtake one before it counts as lost, until reordering is seen."""

COLLAPSE_AFTER = 3
"""How many timeouts in a row end all hope for what is on its way."""

MAX_PACKET_TSNS = 1024
"""A packet has fewer: none is larger than a DTLS record, and a chunk takes 20 bytes."""

MAX_OUTSTANDING_TSNS = 0xFFFF - MAX_PACKET_TSNS
"""Where no other packet begins: a gap block of a SACK cannot tell of more than 65,535 beyond the cumulative TSN."""

_MAX_REORDERING_STEPS = 8

_IN_FLIGHT, _ACKNOWLEDGED, _LOST, _ABANDONED = Fate


class Recovery:
    """The packets from the first that is not acknowledged to the last that was sent."""

    def __init__(self, initial_tsn: int, congestion: Congestion) -> None:
        self.congestion = congestion
        self.round_trip = RoundTrip()
        self.next_tsn = initial_tsn
        """The TSN of the next chunk that is sent for the first time."""
        self.cumulative = initial_tsn - 1
        """The remote end has this TSN and everything before."""
        self.outstanding: dict[int, Sent] = {}
        """By first TSN, in the order of TSNs."""
        self.in_flight = 0
        """Bytes that were sent and are neither acknowledged nor lost."""
        self.timeouts = 0
        """In a row; what is acknowledged ends the row."""
        self.probes = 0
        """How many packets may be sent now without regard to the window."""
        self.packets_lost = 0
        self.packets_retransmitted = 0
        self.messages_abandoned = 0
        self.may_abandon = True
        """Whether the remote end can pass over what is abandoned."""
        self.limited = False
        """Whether more would have been sent, had the window allowed it. Set by the sender."""
        self._flight: deque[Sent] = deque()
        """In the order of transmissions; those that are no longer in flight are passed over."""
        self.lost: list[int] = []
        """The first TSNs of what waits to be sent again, as a heap; some of it may have arrived since."""
        self._blocks: dict[int, int] = {}
        """The gap blocks of the last SACK: first to last TSN."""
        self._head = initial_tsn
        """The first TSN of the first outstanding packet, or of the next one."""
        self._last_number = 0
        self._last_sent_at = 0.0
        self._newest_number = 0
        self._newest_sent_at = 0.0
        self._loss_at = inf
        self._reordering_steps = 0
        self._stepped_at = 0.0
        self.safe_size = 0
        """What every path carries."""
        self.larger_lost = 0
        """How many larger packets were lost since one that was sent later, or as late, has arrived."""
        self._newest_larger = 0
        self.copies = Copies()
        self._progress = Progress(self.round_trip)

    # Sending

    def sent(self, packets: list[Sent], now: float) -> int:
        """Note transmissions, of new packets or of old ones. Returns their bytes."""
        number, next_tsn, size, outstanding = self._last_number, self.next_tsn, 0, self.outstanding
        for packet in packets:
            number += 1
            packet.number = number
            packet.sent_at = now
            packet.fate = _IN_FLIGHT
            size += packet.size
            if packet.following > next_tsn:
                next_tsn = packet.following
                outstanding[packet.first] = packet
        self._last_number, self.next_tsn, self._last_sent_at = number, next_tsn, now
        self.in_flight += size
        if self.probes:
            self.probes = max(0, self.probes - len(packets))
        self._flight += packets
        return size

    def passed_over(self, packet: Sent) -> None:
        """Note a TSN that is never sent: what belongs there was abandoned before."""
        packet.fate = _ABANDONED
        self.next_tsn = packet.following
        self.outstanding[packet.first] = packet

    def next_retransmission(self, now: float) -> Sent | None:
        """Return the first packet that is to be sent again, if there is one; it is then the caller's to send."""
        lost, outstanding = self.lost, self.outstanding
        while lost:
            packet = outstanding.get(heappop(lost))
            if packet is None or packet.fate is not _LOST or self._abandons(packet, now):
                continue
            packet.retransmits += 1
            self.packets_retransmitted += 1
            return packet
        return None

    def divide(self, room: int, now: float) -> None:
        """Take larger packets for lost, and make smaller ones of them: the path does not carry them any more."""
        self.larger_lost = 0
        for packet in self._flight:
            if packet.fate is _IN_FLIGHT and packet.size > room:
                self._lose(packet, now)
        outstanding: dict[int, Sent] = {}
        for packet in self.outstanding.values():
            if packet.fate is _LOST and packet.size > room:
                for part in packet.divided(room):
                    outstanding[part.first] = part
                    if part.first != packet.first:
                        heappush(self.lost, part.first)
            else:
                outstanding[packet.first] = packet
        self.outstanding = outstanding

    @property
    def last_tsn(self) -> int:
        """The last TSN of which a SACK could still speak."""
        return self.cumulative + MAX_OUTSTANDING_TSNS

    # Acknowledgement

    def acknowledge(self, sack: Sack, now: float) -> bool:
        """Take a SACK. Returns False for one that is older than another. Raises `ProtocolError`."""
        cumulative = unwrap(sack.cumulative_tsn, self.cumulative)
        if cumulative < self.cumulative:
            return False
        if cumulative >= self.next_tsn:
            raise ProtocolError(Cause.PROTOCOL_VIOLATION, "a SACK for data that was never sent")
        progress = self._progress
        progress.in_flight = self.in_flight
        arrived = self._take_cumulative(cumulative) if cumulative > self.cumulative else []
        if sack.blocks:
            self._take_blocks(cumulative, sack.blocks, arrived)
        elif self._blocks:
            self._blocks = {}
        self._find_reneged()
        if sack.duplicates and not self.copies.explain(
            [unwrap(tsn, self.cumulative) for tsn in sack.duplicates]
        ):
            self._reordered(now)
        if arrived:
            self._arrived(arrived, now)
        self._find_lost(now)
        return True

    def _take_cumulative(self, cumulative: int) -> list[Sent]:
        arrived: list[Sent] = []
        outstanding, head = self.outstanding, self._head
        end = cumulative + 1
        while head < end:
            packet = outstanding[head]
            following = packet.following
            if following > end:
                break
            del outstanding[head]
            head = following
            if packet.limit is not None and packet.limit.abandoned:
                # Passed over by FORWARD TSN, perhaps: that tells nothing of the path.
                if packet.fate is _IN_FLIGHT:
                    self.in_flight -= packet.size
                packet.fate = _ACKNOWLEDGED
            elif packet.fate is not _ACKNOWLEDGED:
                arrived.append(packet)
        self._head = head
        self.cumulative = cumulative
        self.timeouts = self.probes = 0
        return arrived

    def _take_blocks(self, cumulative: int, numbers: tuple[int, ...], arrived: list[Sent]) -> None:
        """Take the gap blocks: look at those parts of them that the last SACK did not have."""
        known, outstanding = self._blocks, self.outstanding
        blocks: dict[int, int] = {}
        previous = 1
        for index in range(0, len(numbers), 2):
            start, end = numbers[index], numbers[index + 1]
            if start <= previous or end < start:
                raise ProtocolError(Cause.PROTOCOL_VIOLATION, "a SACK with gap blocks out of order")
            previous = end
            tsn, last = cumulative + start, cumulative + end
            if last >= self.next_tsn:
                raise ProtocolError(Cause.PROTOCOL_VIOLATION, "a SACK for data that was never sent")
            blocks[tsn] = last
            while tsn <= last:
                if tsn in known:
                    tsn = known[tsn] + 1
                    continue
                packet = outstanding.get(tsn)
                if packet is None:
                    tsn += 1
                    continue
                tsn = packet.following
                if packet.fate is not _ACKNOWLEDGED and tsn - 1 <= last:
                    arrived.append(packet)
        self._blocks = blocks

    def _find_reneged(self) -> None:
        """Find what was acknowledged in a gap block and is no longer (RFC 9260 section 6.2.1).

        A packet that has arrived and is next in line would have moved the cumulative TSN, had the remote end kept it.
        Then everything in gap blocks is sent again: what else it has dropped is not known. A block that merely shrank
        is a SACK that was overtaken, and no sign of it.
        """
        head = self.outstanding.get(self._head)
        if head is None or head.fate is not _ACKNOWLEDGED or self._head <= self.cumulative:
            return
        for packet in self.outstanding.values():
            if packet.fate is _ACKNOWLEDGED:
                packet.fate = _LOST
                heappush(self.lost, packet.first)
        self._flight = deque(packet for packet in self._flight if packet.fate is _IN_FLIGHT)

    def _arrived(self, arrived: list[Sent], now: float) -> None:
        """Update what is known of the path."""
        progress = self._progress
        size = no_longer_in_flight = 0
        safe_size, newest_before = self.safe_size, self._newest_number
        newest = arrived[0]
        newest_number = newest.number
        overtaken = False
        for packet in arrived:
            number, its_size = packet.number, packet.size
            if packet.fate is _IN_FLIGHT:
                no_longer_in_flight += its_size
                if number < newest_before and not packet.retransmits:
                    overtaken = True
            packet.fate = _ACKNOWLEDGED
            size += its_size
            if its_size > safe_size and number > self._newest_larger:
                self._newest_larger, self.larger_lost = number, 0
            if number > newest_number:
                newest, newest_number = packet, number
        self.in_flight -= no_longer_in_flight
        if overtaken:
            self._reordered(now)
        sample = now - newest.sent_at
        # Karn's rule (RFC 9260 section 6.3.1), and RFC 8985 section 6.2 step 2 for what was sent again.
        if not newest.retransmits:
            self.round_trip.measured(sample, now)
        if newest.number > self._newest_number and (
            not newest.retransmits or sample >= self.round_trip.minimum
        ):
            self._newest_number, self._newest_sent_at = newest.number, newest.sent_at
        self.timeouts = 0
        self.probes = 0
        self._last_sent_at = max(self._last_sent_at, now)
        progress.acknowledged = size
        progress.newest = newest.number
        progress.next_number = self._last_number + 1
        progress.sample = None if newest.retransmits else sample
        progress.limited = self.limited
        self.congestion.acknowledged(progress, now)

    def _reordered(self, now: float) -> None:
        """Be slower to call a packet lost: one was overtaken, or sent again in vain (RFC 8985 section 6.2 step 4)."""
        if now - self._stepped_at >= (self.round_trip.smoothed or 0.0) or not self._reordering_steps:
            self._reordering_steps = min(self._reordering_steps + 1, _MAX_REORDERING_STEPS)
            self._stepped_at = now

    # Loss

    def _find_lost(self, now: float) -> None:
        """Find what is lost (RFC 8985 section 6.2 step 5)."""
        self._loss_at = inf
        flight, newest = self._flight, self._newest_number
        steps = self._reordering_steps
        patience = self.round_trip.minimum / 4 * max(1, steps)
        patience = min(patience, self.round_trip.smoothed or 0.0) + self.round_trip.latest
        size = number = 0
        while flight:
            packet = flight[0]
            if packet.fate is _IN_FLIGHT:
                if packet.number >= newest:
                    break
                if packet.sent_at + patience > now and (steps or newest - packet.number < PACKET_THRESHOLD):
                    self._loss_at = packet.sent_at + patience
                    break
                number = packet.number
                size += packet.size
                self._lose(packet, now)
            flight.popleft()
        if size:
            self.congestion.lost(size, number, now)

    def _lose(self, packet: Sent, now: float) -> None:
        packet.fate = _LOST
        self.in_flight -= packet.size
        self.packets_lost += 1
        if packet.size > self.safe_size and packet.number > self._newest_larger:
            self.larger_lost += 1
        if not self._abandons(packet, now):
            heappush(self.lost, packet.first)

    def _abandons(self, packet: Sent, now: float) -> bool:
        """Return whether a lost packet is not sent again, as it is not worth it (RFC 3758 section 3.5)."""
        limit = packet.limit
        if limit is None or not self.may_abandon:
            return False
        if not limit.abandoned:
            if packet.retransmits < limit.max_retransmits and now < limit.expires_at:
                return False
            limit.abandoned = True
            self.messages_abandoned += len(packet.skips or ())
        packet.fate = _ABANDONED
        return True

    # Time

    def deadline(self) -> float:
        """When `handle_timeout` is due; infinite while nothing is outstanding."""
        if not self.outstanding:
            return inf
        return min(self._loss_at, self._timeout_at(), self.copies.at)

    def handle_timeout(self, now: float) -> bool:
        """Find what is lost by time, and probe when nothing arrives. Returns whether this was another timeout."""
        if not self.outstanding:
            return False
        if now >= self._loss_at:
            self._find_lost(now)
        if now < self._timeout_at():
            return False
        self.timeouts += 1
        self._last_sent_at = now
        if self.timeouts == COLLAPSE_AFTER:
            self.congestion.collapsed(now)
            self._lose_oldest(len(self._flight), now)
        else:
            self._lose_oldest(min(self.timeouts, 2), now)
        self.probes = min(self.timeouts, 2)
        return True

    def _timeout_at(self) -> float:
        return self._last_sent_at + min(
            MAX_RTO, self.round_trip.probe_timeout * (1 << min(self.timeouts, 10))
        )

    def _lose_oldest(self, count: int, now: float) -> None:
        flight = self._flight
        while flight and count > 0:
            packet = flight.popleft()
            if packet.fate is _IN_FLIGHT:
                self._lose(packet, now)
                count -= 1
