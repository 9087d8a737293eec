"""The share of packets that a path loses without being full, and what is lost beyond it."""

from __future__ import annotations

MARGIN = 1.5
"""So many times the usual loss is not more than usual."""
CHANCE_PACKETS = 6.0
"""An excess of so many packets is chance, and of what is lost in a round besides."""
MEMORY_ROUNDS = 32
MOST = 0.25
"""Never more than this is taken for usual."""


class UsualLoss:
    """A cumulative sum (Page 1954): what is lost, less what may be; where nothing is usual, every loss is too much."""

    __slots__ = ("_excess", "_lost", "_total")

    def __init__(self) -> None:
        self._lost = self._total = 0.0
        self._excess = 0.0

    @property
    def share(self) -> float:
        """Between 0 and 1."""
        return min(MOST, self._lost / self._total) if self._total else 0.0

    def assume(self, lost: float, total: float) -> None:
        """Take this for usual from now on."""
        self._lost, self._total, self._excess = lost, total, 0.0

    def observe(self, lost: float, total: float, *, may_rise: bool) -> None:
        """Add a round, and forget a part of what was before; where it may not rise, it can only become less."""
        keep = 1 - 1 / MEMORY_ROUNDS
        lost, total = keep * self._lost + lost, keep * self._total + total
        if may_rise or lost * self._total < self._lost * total:
            self._lost, self._total = lost, total

    def arrived(self, packets: float) -> None:
        """Note how many packets arrived."""
        self._excess = max(0.0, self._excess - MARGIN * self.share * packets)

    def exceeded(self, packets: float, window_packets: float) -> bool:
        """Note how many packets are lost. Returns whether that is more than usual, and then begins to count again."""
        share = self.share
        self._excess += packets
        if share and self._excess <= CHANCE_PACKETS + share * window_packets:
            return False
        self._excess = 0.0
        return True
