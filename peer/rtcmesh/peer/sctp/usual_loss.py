"""The share of packets that a path loses without being full, and whether more or less is lost than that.

Both by cumulative sums (Page, Continuous inspection schemes, 1954): what is lost is set against what the usual share
allows, with a margin, so that chance does not add up for long. It takes a handful of losses to tell, at every share.
"""

from __future__ import annotations

MOST = 0.25
"""Never more than this share is usual."""
MEMORY_ROUNDS = 32

LEAST_EVIDENCE = 2.0
"""Known of fewer lost packets, nothing is usual."""

EXCESS_MARGIN = 1.5
"""More than usual is lost above so many times the usual share ..."""
EXCESS_PACKETS = 6.0
"""... when so many packets, and what is usual in a window, were lost beyond it."""
DEFICIT_MARGIN = 0.5
"""Less than usual is lost below so many times the share ..."""
DEFICIT_PACKETS = 8.0
"""... when so many packets too few were lost."""

JUDGED_AFTER = 10.0
"""After so many packets should have been lost while the path cannot have been full, it is seen how many were ..."""
JUDGED_SHARE = 0.5
"""... and less than this share of them is less than usual."""


class UsualLoss:
    """An estimate of it. Where nothing is usual, every loss is too much. All numbers are packets.

    When less is lost than that, it was wrong, and nothing is usual until it is found anew.
    """

    __slots__ = ("_below", "_deficit", "_excess", "_lost", "_total")

    def __init__(self, lost: float = 0.0, total: float = 0.0) -> None:
        self._lost = self._total = 0.0
        self._excess = self._deficit = 0.0
        self._below = 0.0, 0.0
        """What was lost, and of how many, well below the window with which too much was lost."""
        self._assume(lost, total)

    @property
    def share(self) -> float:
        """Between 0 and `MOST`."""
        return self._lost / self._total if self._total else 0.0

    @property
    def evidence(self) -> float:
        """Of how many losses it is known."""
        return self._lost

    def follow(self, lost: float, total: float) -> None:
        """Add a round in which nothing but the path loses packets, and forget a part of what was before."""
        if self._lost:
            keep = 1 - 1 / MEMORY_ROUNDS
            total += keep * self._total
            self._lost, self._total = min(keep * self._lost + lost, MOST * total), total
            if self._lost < LEAST_EVIDENCE:
                self._assume(0.0, 0.0)

    def judge(self, lost: float, total: float) -> None:
        """Add a round with a window well below the one with which too much was lost: only the path loses then."""
        self._below = self._below[0] + lost, self._below[1] + total
        lost, total = self._below
        if self.share * total > JUDGED_AFTER:
            if lost < JUDGED_SHARE * self.share * total:
                self._assume(0.0, 0.0)
            self._below = 0.0, 0.0

    def arrived(self, packets: float) -> None:
        """Note how many packets arrived."""
        share = self.share
        if share:
            self._excess = max(0.0, self._excess - EXCESS_MARGIN * share * packets)
            self._deficit += DEFICIT_MARGIN * share * packets
            if self._deficit > DEFICIT_PACKETS:
                self._assume(0.0, 0.0)

    def lost(self, packets: float) -> None:
        """Note how many packets are lost."""
        self._excess += packets
        self._deficit = max(0.0, self._deficit - packets)

    def exceeded(self, window: float) -> bool:
        """Return whether more than usual was lost since `answered`."""
        share = self.share
        return self._excess > (EXCESS_PACKETS + share * window if share else 0.0)

    def answered(self) -> None:
        """Note that the window has shrunk for what was lost."""
        self._excess = 0.0

    def _assume(self, lost: float, total: float) -> None:
        self._lost, self._total = (min(lost, MOST * total), total) if lost >= LEAST_EVIDENCE else (0.0, 0.0)
        self._deficit, self._below = 0.0, (0.0, 0.0)
