"""What has arrived, and when the remote end is told (RFC 9260 section 6.2).

    cumulative        ranges
    ─────────●        ●────●     ●──●         ●             every TSN up to `cumulative`, and those in `ranges`

A SACK is due after every second packet, after every single one while something is missing, and else after 20 ms.
Between two ends of this package, which grow their windows by bytes and do not count SACKs, it is due after every eighth
packet, when something begins to be missing, and else after a quarter of a round trip, but 1 ms at least: between two
processes of one machine the application's answer, which it travels with, takes longer than a quarter of a round trip.
And 4 ms at most, or where the round trip is not known: of a window of fewer than eight packets, every round trip
contains that delay, and the sender takes it for a queue.
"""

from __future__ import annotations

from bisect import bisect_right
from math import inf

from .chunks import SACK_HEADER_BYTES, encode_sack
from .round_trip import ACK_DELAY

PACKETS_PER_SACK = 2
PACKETS_PER_SACK_OF_OURS = 8
LEAST_DELAY_OF_OURS = 0.001
MOST_DELAY_OF_OURS = 0.004
MAX_AHEAD = 0xFFFF
"""A gap block cannot tell of more than that beyond the cumulative TSN: what is further ahead is not taken."""

MAX_DUPLICATES = 32
"""How many repeated TSNs one SACK names."""


class Receipts:
    """Every TSN that has arrived, and the acknowledgement that is due for it."""

    __slots__ = (
        "_delay",
        "_due_at",
        "_duplicates",
        "_gaps",
        "_ours",
        "_packets",
        "_packets_per_sack",
        "cumulative",
        "due",
        "ranges",
        "repeated",
    )

    def __init__(self, cumulative: int) -> None:
        self.cumulative = cumulative
        self.ranges: list[list[int]] = []
        """First and last TSN of what arrived beyond, in order, never adjacent."""
        self.due = False
        """Whether a SACK is to be sent now."""
        self.repeated = 0
        """How many chunks came again."""
        self._duplicates: list[int] = []
        self._packets = 0
        self._due_at = inf
        self._gaps = 0
        """How many ranges there were when the last packet had arrived."""
        self._ours = False
        self._packets_per_sack = PACKETS_PER_SACK
        self._delay = ACK_DELAY

    def expect_ours(self) -> None:
        """Acknowledge less often: the other end is one of this package."""
        self._ours = True
        self._packets_per_sack = PACKETS_PER_SACK_OF_OURS
        self._delay = MOST_DELAY_OF_OURS

    def round_trip_measured(self, smoothed: float) -> None:
        """Wait no longer than a quarter of a round trip for company, within bounds."""
        if self._ours:
            self._delay = min(MOST_DELAY_OF_OURS, max(LEAST_DELAY_OF_OURS, smoothed / 4))

    def add(self, tsn: int) -> bool:
        """Note that a TSN has arrived. Returns False when it had before, or is too far ahead."""
        ranges = self.ranges
        if tsn <= self.cumulative:
            return self._again(tsn)
        if tsn - self.cumulative > MAX_AHEAD:
            return False
        if not ranges or tsn > ranges[-1][1] + 1:
            ranges.append([tsn, tsn])
        elif tsn == ranges[-1][1] + 1:
            ranges[-1][1] = tsn
        else:
            index = bisect_right(ranges, tsn, key=_first) - 1
            if index >= 0 and tsn <= ranges[index][1]:
                return self._again(tsn)
            self._insert(index, tsn)
        if ranges[0][0] == self.cumulative + 1:
            self.cumulative = ranges.pop(0)[1]
        return True

    def forward(self, cumulative: int) -> None:
        """Count everything up to a TSN as arrived (RFC 3758 section 3.6)."""
        if cumulative > self.cumulative:
            self.cumulative = cumulative
            ranges = self.ranges
            while ranges and ranges[0][0] <= self.cumulative + 1:
                self.cumulative = max(self.cumulative, ranges.pop(0)[1])
        self.due = True

    def packets_arrived(self, count: int, now: float) -> None:
        """Note the end of packets with user data: decide when a SACK is due for them."""
        if not self._packets:
            self._due_at = now + self._delay
        self._packets += count
        gaps = len(self.ranges)
        misses = gaps > (self._gaps if self._ours else 0)
        if misses or self._duplicates or self._packets >= self._packets_per_sack:
            self.due = True
        self._gaps = gaps

    @property
    def pending(self) -> bool:
        """Whether something has arrived that the remote end was not told."""
        return self.due or self._packets > 0

    def deadline(self) -> float:
        """When a SACK is due, if nothing makes it due before; infinite for never."""
        return self._due_at

    def handle_timeout(self, now: float) -> None:
        """Make a SACK due that has waited long enough."""
        if now >= self._due_at:
            self.due = True

    def sack(self, receive_window: int, room: int) -> bytes:
        """Return the SACK chunk, of at most `room` bytes. What it has told is then no longer pending."""
        self.due, self._packets, self._due_at = False, 0, inf
        duplicates, self._duplicates = self._duplicates, []
        most = (room - SACK_HEADER_BYTES) // 4
        ranges = self.ranges if len(self.ranges) <= most else self.ranges[:most]
        return encode_sack(self.cumulative, receive_window, ranges, duplicates[: most - len(ranges)])

    def _insert(self, index: int, tsn: int) -> None:
        """Add a TSN that lies after the range at `index` (-1: before all) and before the next one."""
        ranges = self.ranges
        after = ranges[index + 1]
        if index >= 0 and ranges[index][1] == tsn - 1:
            if after[0] == tsn + 1:
                ranges[index][1] = after[1]
                del ranges[index + 1]
            else:
                ranges[index][1] = tsn
        elif after[0] == tsn + 1:
            after[0] = tsn
        else:
            ranges.insert(index + 1, [tsn, tsn])

    def _again(self, tsn: int) -> bool:
        self.repeated += 1
        if len(self._duplicates) < MAX_DUPLICATES:
            self._duplicates.append(tsn)
        return False


def _first(block: list[int]) -> int:
    return block[0]
