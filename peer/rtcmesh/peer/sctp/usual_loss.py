"""The share of packets that a path loses without being full, and whether more or less is lost than that.

Both by cumulative sums (Page, Continuous inspection schemes, 1954): what is lost is set against what the usual share allows,
with a margin, and chance cannot add up in either sum for long. It takes a few losses to tell, at every share.
"""

from __future__ import annotations

MARGIN = 1.5
"""More than usual is lost above so many times the usual share ..."""
EXCESS_PACKETS = 6.0
"""... when so many packets, and what is usual in a window, were lost beyond it."""
DEFICIT_MARGIN = 0.5
"""Less than usual is lost below so many times the share ..."""
DEFICIT_PACKETS = 6.0
"""... when so many packets too few were lost."""
MEMORY_ROUNDS = 32
MOST = 0.25
"""Never more than this share is usual."""


class UsualLoss:
    """An estimate of it. Where nothing is usual, every loss is too much. Sizes are in packets."""

    __slots__ = ("_deficit", "_excess", "_fewer", "_lost", "_total")

    def __init__(self) -> None:
        self.assume(0.0, 0.0)

    def assume(self, lost: float, total: float) -> None:
        """Take this for usual from now on."""
        self._lost, self._total = min(lost, MOST * total), total
        self._excess = self._deficit = 0.0
        self._fewer = [0.0, 0.0]
        """What was lost, and of how many, since the sum of what was too little was last nothing."""

    @property
    def share(self) -> float:
        """Between 0 and `MOST`."""
        return self._lost / self._total if self._total else 0.0

    def follow(self, lost: float, total: float) -> None:
        """Add a round in which nothing but the path loses packets, and forget a part of what was before."""
        keep = 1 - 1 / MEMORY_ROUNDS
        self._lost, self._total = keep * self._lost + lost, keep * self._total + total
        self._lost = min(self._lost, MOST * self._total)

    def arrived(self, packets: float) -> None:
        """Note how many packets arrived."""
        share = self.share
        if not share:
            return
        self._excess = max(0.0, self._excess - MARGIN * share * packets)
        self._deficit += DEFICIT_MARGIN * share * packets
        self._fewer[1] += packets
        if self._deficit > DEFICIT_PACKETS:
            self.assume(*self._fewer)

    def lost(self, packets: float) -> None:
        """Note how many packets are lost."""
        self._excess += packets
        self._deficit -= packets
        self._fewer[0] += packets
        self._fewer[1] += packets
        if self._deficit <= 0:
            self._deficit, self._fewer = 0.0, [0.0, 0.0]

    def exceeded(self, window_packets: float) -> bool:
        """Return whether more than usual is lost."""
        share = self.share
        return self._excess > (EXCESS_PACKETS + share * window_packets if share else 0.0)

    def answered(self) -> None:
        """Note that the window has shrunk for it: count anew."""
        self._excess = 0.0
