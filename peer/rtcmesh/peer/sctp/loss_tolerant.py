"""Congestion control for paths that lose packets without being full: steered by queueing delay.

The window is updated once in a round trip, after FAST TCP (Wei et al. 2006): it shrinks in proportion to the share of
the round trip that is spent in queues, and grows by a few packets, so that each flow keeps a few packets queued. While
the queue is empty it grows faster with every round, after the velocity of Copa (Arun and Balakrishnan 2018).

    least round trip of this round          loss         what is done
    ──────────────────────────────          ──────────   ──────────────────────────────────────────────
    near the minimum                        any          loss is not congestion: it is ignored
    near the minimum                        above 20 %   a policer, or no buffer: what arrived is the window
    longer                                  any          shrink with the queue
    longer for 10 rounds, all the same      any          others fill the queue: be CUBIC until it has drained

A flow that only ever yields would get nothing beside CUBIC, hence the last line: there it competes as CUBIC does.
"""

from __future__ import annotations

from math import inf

from .congestion import INITIAL_WINDOW_PACKETS, Progress
from .cubic import Cubic

MIN_WINDOW_PACKETS = 4

MAX_LOSS = 0.2
"""More than this share of a round is congestion, whatever the delay says."""

MIN_JUDGED_PACKETS = 20
"""A share of fewer packets says nothing."""

TARGET_QUEUE_SHARE = 0.1
MIN_TARGET_QUEUE = 0.002
"""The queue is short below this: a tenth of the minimal round trip, or 2 ms."""

QUEUED_PACKETS = 4
"""How many packets of this flow should wait in the queue."""

MAX_VELOCITY_SHARE = 4
"""The window grows by at most a quarter in a round."""

PATIENCE_ROUNDS = 10
DRAINED_ROUNDS = 3

STARTING_PACING = 2.0
PACING = 1.1


class LossTolerant:
    """Holds the queue short, and takes loss for congestion only where the queue, or the amount of it, says so."""

    def __init__(self, packet_bytes: int) -> None:
        self.window = INITIAL_WINDOW_PACKETS * packet_bytes
        self.pacing_rate: float | None = None
        self._packet_bytes = packet_bytes
        self._starting = True
        self._velocity = 1
        self._round_end = 0
        self._round_rtt = inf
        self._round_acknowledged = 0
        self._round_lost = 0
        self._round_limited = False
        self._long_rounds = 0
        self._drained_rounds = 0
        self._competing: Cubic | None = None

    def acknowledged(self, progress: Progress, now: float) -> None:
        """See `Congestion`."""
        if progress.sample is not None:
            self._round_rtt = min(self._round_rtt, progress.sample)
        self._round_acknowledged += progress.acknowledged
        self._round_limited |= progress.limited
        if self._starting and progress.limited:
            self.window += progress.acknowledged
        if self._competing is not None:
            self._competing.acknowledged(progress, now)
        if progress.newest >= self._round_end:
            self._end_round(progress)
        smoothed = progress.round_trip.smoothed
        if self._competing is not None:
            self.window, self.pacing_rate = self._competing.window, self._competing.pacing_rate
        elif smoothed:
            self.pacing_rate = (STARTING_PACING if self._starting else PACING) * self.window / smoothed

    def lost(self, size: int, newest: int, now: float) -> None:
        """See `Congestion`."""
        self._round_lost += size
        if self._competing is not None:
            self._competing.lost(size, newest, now)
            self.window = self._competing.window

    def collapsed(self, now: float) -> None:
        """See `Congestion`."""
        del now
        self._competing = None
        self.window = MIN_WINDOW_PACKETS * self._packet_bytes
        self._starting, self._velocity = True, 1
        self._round_lost = self._round_acknowledged = 0

    def packet_size_changed(self, packet_bytes: int) -> None:
        """See `Congestion`."""
        self.window = max(self.window, MIN_WINDOW_PACKETS * packet_bytes)
        self._packet_bytes = packet_bytes
        if self._competing is not None:
            self._competing.packet_size_changed(packet_bytes)

    def _end_round(self, progress: Progress) -> None:
        minimum = progress.round_trip.minimum
        if self._round_rtt < inf:
            queue = self._round_rtt - minimum
            target = max(MIN_TARGET_QUEUE, TARGET_QUEUE_SHARE * minimum)
            if self._competing is not None:
                self._watch_the_queue_drain(queue, target)
            elif self._too_much_is_lost():
                self._starting, self._velocity = False, 1
                self.window = max(
                    min(self.window, self._round_acknowledged), MIN_WINDOW_PACKETS * self._packet_bytes
                )
            else:
                self._follow_the_queue(queue, target, minimum)
        self._round_end = progress.next_number
        self._round_rtt = inf
        self._round_acknowledged = self._round_lost = 0
        self._round_limited = False

    def _too_much_is_lost(self) -> bool:
        total = self._round_acknowledged + self._round_lost
        return total > MIN_JUDGED_PACKETS * self._packet_bytes and self._round_lost > MAX_LOSS * total

    def _follow_the_queue(self, queue: float, target: float, minimum: float) -> None:
        packet = self._packet_bytes
        if queue > target:
            self._starting, self._velocity = False, 1
            self._long_rounds = self._long_rounds + 1 if queue > 2 * target else 0
            if self._long_rounds > PATIENCE_ROUNDS:
                self._compete()
                return
        else:
            self._long_rounds = 0
        if self._starting:
            return
        shrunk = self.window * minimum / (minimum + queue)
        if not self._round_limited:
            self.window = int(max(shrunk, MIN_WINDOW_PACKETS * packet)) if queue > target else self.window
            return
        if queue < target / 4:
            self._velocity = min(
                2 * self._velocity, max(1, self.window // (QUEUED_PACKETS * MAX_VELOCITY_SHARE * packet))
            )
        else:
            self._velocity = 1
        fitting = shrunk + QUEUED_PACKETS * packet * self._velocity
        # Half of the way: what is measured is a round old.
        self.window = int(max((self.window + fitting) / 2, MIN_WINDOW_PACKETS * packet))

    def _compete(self) -> None:
        """Others keep the queue full: share the path with them as CUBIC would, beginning from what is held now."""
        self._long_rounds = self._drained_rounds = 0
        self._competing = Cubic(self._packet_bytes)
        self._competing.begin_at(self.window)

    def _watch_the_queue_drain(self, queue: float, target: float) -> None:
        self._drained_rounds = self._drained_rounds + 1 if queue <= target else 0
        if self._drained_rounds >= DRAINED_ROUNDS:
            self._competing = None
            self._velocity = 1
