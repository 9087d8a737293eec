"""Whether losses grow with the window: what is lost at random does not, what is lost by overflow does.

Between losses that come without a queue, CUBIC is where its rate and its losses balance, and nothing that it sees
tells whether a path loses packets by itself or others fill a buffer too short to show as a queue. So the window is
doubled, step by step, and each step is judged by a whole round that was sent with it:

    window  1 ─▶ 2      a round    2 ─▶ 4      a round    ...
                        no more lost than before?

It has passed at four times the window from before, and `TOLERANT_PACKETS` at least. A flow beside one or two others
cannot come so far, as it has a third of the path already, unless they are far from their shares; then the next losses
tell (`UsualLoss`). Where a path holds fewer packets, nothing is taken for random: CUBIC loses little there, chance
decides much, and a buffer of one or two packets loses from bursts of any rate.

An experiment that fails costs others a decrease, so those that follow are ever rarer, until the window has shrunk.
"""

from __future__ import annotations

from math import inf, sqrt

from .usual_loss import UsualLoss

PASSED_GROWTH = 4
TOLERANT_PACKETS = 24

DEVIATIONS = 3.0
CHANCE_PACKETS = 1.0
"""More than usual is lost in a round of an experiment above so many deviations and packets."""

UNEXPLAINED = 4
"""So many decreases for losses without a queue call for an experiment."""
AGAIN_AFTER = 2.0
"""So many seconds lie between two at first, twice as many each time, up to `AGAIN_AFTER * 2 ** MAX_DOUBLINGS`."""
MAX_DOUBLINGS = 5
AGAIN_BELOW = 0.5
"""At this share of the window with which one has failed, another one is worth it at once."""


class Experiment:
    """One of them. Windows are in bytes."""

    def __init__(self, window: int, usual: UsualLoss) -> None:
        self.begun_at = window
        self.usual_before = usual
        """What was usual, and is again if this ends without a result."""
        self.proven = window
        """The largest window with which no more was lost."""
        self._reached = False

    @property
    def limit(self) -> int:
        """The most that may be tried now."""
        return 2 * self.proven

    def passed(self, packet_bytes: int) -> bool:
        """Return whether losses are those of the path."""
        return self.proven >= max(PASSED_GROWTH * self.begun_at, TOLERANT_PACKETS * packet_bytes)

    def round_ended(self, window: int) -> None:
        """Take a round in which no more was lost than usual, and the window at its end."""
        if self._reached:
            self.proven = window
        self._reached = not self._reached and window >= self.limit

    @staticmethod
    def fails(lost: float, total: float, usual: UsualLoss) -> bool:
        """Return whether more is lost in a round than by chance, of so many packets.

        What is usual is itself known from a few losses only: its variance adds to that of the round.
        """
        expected = usual.share * total
        variance = expected + expected * expected / max(1.0, usual.evidence)
        return lost > expected + DEVIATIONS * sqrt(variance) + CHANCE_PACKETS


class Suspicion:
    """When an experiment is called for: losses without a queue, and how many packets they were of."""

    def __init__(self) -> None:
        self._decreases = 0
        self._lost = self._total = 0
        self._due_at = -inf
        self._doublings = 0
        self._failed_at_window = 0

    def clear(self) -> None:
        """Begin to count again."""
        self._decreases = self._lost = self._total = 0

    def take(self, lost: int, total: int) -> None:
        """Add a round, in bytes."""
        self._lost += lost
        self._total += total

    def shrank(self, *, queue_is_long: bool) -> None:
        """Note a decrease. With a queue it is explained."""
        if queue_is_long:
            self.clear()
        else:
            self._decreases += 1

    def calls_for_experiment(self, window: int, now: float) -> bool:
        """Return whether it is time for one."""
        if self._decreases < UNEXPLAINED:
            return False
        return now >= self._due_at or window < AGAIN_BELOW * self._failed_at_window

    def begin(self, window: int, usual: UsualLoss, now: float) -> Experiment:
        """Begin one."""
        if now >= self._due_at:
            self._due_at = now + AGAIN_AFTER * (1 << self._doublings)
            self._doublings = min(self._doublings + 1, MAX_DOUBLINGS)
        return Experiment(window, usual)

    def failed(self, experiment: Experiment) -> None:
        """Note that one has failed."""
        self._failed_at_window = experiment.begun_at

    def usual(self, packet_bytes: int) -> UsualLoss:
        """Return what would be usual, if the losses were those of the path."""
        return UsualLoss(self._lost / packet_bytes, self._total / packet_bytes)
