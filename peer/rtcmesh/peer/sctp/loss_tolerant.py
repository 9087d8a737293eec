"""Congestion control for paths that lose packets without being full: a loss is congestion until it is shown not to be.

It works in rounds, from the sending of a packet to its acknowledgement. The least round trip of a round, less the
minimum, is the queue: jitter and delayed acknowledgements are left out of it.

    STARTING    double, until the queue is long or too much is lost  ──▶ YIELDING or COMPETING
    YIELDING    queue empty or short        grow by the root of the window: a few packets in a round
                queue long                  shrink to a little less than what the path itself holds
                the queue stays long, `PATIENCE` times, or more is lost than usual   ──▶ COMPETING
    COMPETING   do as CUBIC does
                losses come without a queue      double, to see whether more is lost (`Experiment`); if not,
                                                 so much is usual                     ──▶ YIELDING
                the queue is long for seconds    shrink, to see whether it drains     ──▶ YIELDING

Alone or among its like, it empties the queue with every decrease. So each flow sees the true minimum again and again,
one that comes late as well, and flows that share a queue shrink at the same time, by the same share, and grow by
amounts that differ less than their windows: their shares become equal (Chiu and Jain 1989; Bansal and Balakrishnan 2001
for growth by the root). For that they must mean the same by a long queue: it depends on the path alone.

A flow that always yields gets nothing beside CUBIC, which leaves a queue only when it overflows; one that ignores loss
takes everything from CUBIC where the buffer is too short to show as a queue (Ware et al. 2019, on BBR). So a queue that
stays and a loss that is not usual both end in COMPETING, which is CUBIC itself and shares as CUBIC does with its like,
the yardstick of RFC 9743. Copa (Arun and Balakrishnan 2018) and Nimbus (Goyal et al. 2022) change sides by the queue as
well; losses need a test of their own, since without a queue nothing that a flow sees at one rate tells what they are.
"""

from __future__ import annotations

from enum import Enum
from math import inf, sqrt
from random import Random

from .congestion import INITIAL_WINDOW_PACKETS, Progress
from .cubic import Cubic
from .experiment import TOLERANT_PACKETS, Experiment, Suspicion
from .round_trip import RoundTrip
from .usual_loss import EXCESS_MARGIN, UsualLoss

MIN_WINDOW_PACKETS = 4

MIN_TARGET_QUEUE = 0.01
"""A queue above it is long: ten packets of 10 Mbit/s, of which one acknowledgement covers eight ..."""
TARGET_QUEUE_SHARE = 0.125
"""... or this share of the minimal round trip, where that is longer. Half of it is as good as empty."""
LOCAL_TARGET_QUEUE = 0.02
"""On one machine or one switch, most of what is measured is how long busy ends take to answer."""

STARTING_SAMPLES = 8
"""So many long round trips in a row end the doubling: fewer are jitter."""
STARTING_LOSS = 0.05
STARTING_LOSS_PACKETS = 3
"""More than so many packets and this share of a round, beyond what is usual, ends it too."""

GROWTH = 0.5
"""Packets a round, times the root of the packets in the window."""
DRAIN = 0.95
"""How much is left after a decrease of what the path holds without a queue."""
MIN_DECREASE = 0.5
"""How much of the window is left at least: of a short round trip, most is what the ends take to answer."""
PATIENCE = 3
"""So many decreases in a row may leave the queue long."""

BELOW = 0.85
"""Below this share of the window with which too much was lost, the path is not full for a while."""

RETRY_AFTER = 5.0
RETRY_AFTER_ROUND_TRIPS = 60
"""For how long to compete, on average, before it is tried whether others still do; up to twice that later."""
MAX_RETRY_DOUBLINGS = 1
DIP = 0.75
STEADY_ROUNDS = 3
"""A queue that falls below this share in a round, so long after the own window has shrunk, is another flow's trial."""
PEACE = 5.0
"""Who competes again within so many seconds goes on where it was."""

STARTING_PACING = 2.0
PACING = 1.1


class Mode(Enum):
    """What decides the window."""

    STARTING = "starting"
    YIELDING = "yielding"
    COMPETING = "competing"


class LossTolerant:
    """Keeps the queue short alone and among its like, shares with CUBIC as CUBIC does, and bears random loss."""

    def __init__(self, packet_bytes: int, random: Random) -> None:
        self.window = INITIAL_WINDOW_PACKETS * packet_bytes
        self.pacing_rate: float | None = None
        self.mode = Mode.STARTING
        self.usual_loss = UsualLoss()
        """What the path loses without being full."""
        self._packet_bytes = packet_bytes
        self._random = random
        self._round_trip = RoundTrip()
        self._round = _Round(0)
        self._last_number = 0
        self._answered_until = 0
        """Losses of transmissions up to this number are of the congestion that was already answered."""
        self._long_samples = 0
        self._queue_is_long = False
        self._settling = False
        """Whether this round began before the last decrease could show."""
        self._patience = PATIENCE
        """How many more decreases may leave the queue long."""
        self._window_before = 0
        """The window before the decreases that have not emptied the queue."""
        self._rival = Cubic(packet_bytes)
        """What decides while competing."""
        self._rounds_steady = 0
        """How many rounds ago that shrank ..."""
        self._shrunk_from = 0
        """... and from which window."""
        self._last_queue = 0.0
        self._retry_at = self._join_at = inf
        self._retries = 0
        self._yielded_at = -inf
        self._suspicion = Suspicion()
        self._experiment: Experiment | None = None

    def acknowledged(self, progress: Progress, now: float) -> None:
        """See `Congestion`."""
        self._round_trip = progress.round_trip
        self._last_number = progress.next_number - 1
        self._round.take(progress)
        self.usual_loss.arrived(progress.acknowledged / self._packet_bytes)
        if self.mode is Mode.COMPETING:
            self._rival.acknowledged(progress, now)
            self.window = self._rival.window
        elif self.mode is Mode.STARTING:
            self._double(progress, now)
        if progress.newest >= self._round.end:
            self._end_round(progress, now)
        if self.mode is Mode.COMPETING:
            self.pacing_rate = self._rival.pacing_rate
        elif smoothed := progress.round_trip.smoothed:
            factor = STARTING_PACING if self.mode is Mode.STARTING else PACING
            self.pacing_rate = factor * self.window / smoothed

    def lost(self, size: int, newest: int, now: float) -> None:
        """See `Congestion`."""
        self._round.lost += size
        self.usual_loss.lost(size / self._packet_bytes)
        if newest <= self._answered_until:
            self.usual_loss.answered()
        elif self.mode is Mode.STARTING:
            if self._too_much_for_a_start():
                self._end_start(newest, now, by_losses=True)
        elif self.usual_loss.exceeded(self.window / self._packet_bytes):
            self._shrink(newest, now)

    def collapsed(self, now: float) -> None:
        """See `Congestion`."""
        del now
        self.window = MIN_WINDOW_PACKETS * self._packet_bytes
        self.mode, self._patience, self._settling = Mode.STARTING, PATIENCE, False
        if self._experiment is not None:
            self.usual_loss, self._experiment = self._experiment.usual_before, None
        self._long_samples = 0
        self._round.forget()
        self._suspicion.clear()

    def packet_size_changed(self, packet_bytes: int) -> None:
        """See `Congestion`."""
        self.window = max(self.window, MIN_WINDOW_PACKETS * packet_bytes)
        self._packet_bytes = packet_bytes
        self._rival.packet_size_changed(packet_bytes)

    # Starting, and experiments, which double as well

    def _double(self, progress: Progress, now: float) -> None:
        """Grow by what arrives, until the round trip is long and stays so."""
        experiment = self._experiment
        if progress.limited:
            most = inf if experiment is None else experiment.limit
            self.window = int(max(self.window, min(self.window + progress.acknowledged, most)))
        if progress.sample is not None:
            is_long = progress.sample > progress.round_trip.minimum + self._target
            self._long_samples = self._long_samples + 1 if is_long else 0
        if self._long_samples < STARTING_SAMPLES:
            return
        if experiment is not None and not experiment.passed(self._packet_bytes):
            self._end_start(self._last_number, now, by_losses=False)
            return
        # What shows now was sent a round trip ago, out of half the window; what was lost by then had no queue to fill.
        self._shrink_to(self.window / 2)
        if experiment is None and self.window >= TOLERANT_PACKETS * self._packet_bytes:
            self._suspicion.take(self._round.lost, self._round.total)
            self.usual_loss = self._suspicion.usual(self._packet_bytes)
        self.mode, self._settling, self._experiment = Mode.YIELDING, True, None
        self._answered_until = self._last_number

    def _too_much_for_a_start(self) -> bool:
        lost = self._round.lost / self._packet_bytes
        # A round that has just begun may see losses of the last one.
        total = max(self._round.total, self.window / 4) / self._packet_bytes
        if self._experiment is not None and not self._experiment.passed(self._packet_bytes):
            return Experiment.fails(lost, total, self.usual_loss)
        return lost > STARTING_LOSS_PACKETS + (STARTING_LOSS + EXCESS_MARGIN * self.usual_loss.share) * total

    def _end_start(self, newest: int, now: float, *, by_losses: bool) -> None:
        """Go on as CUBIC does after a loss: from half of what was too much, or from what an experiment has proven.

        One that fails by losses has shown that whatever was usual before was not.
        """
        experiment, window = self._experiment, self.window // 2
        if experiment is not None:
            window = experiment.proven
            if not experiment.passed(self._packet_bytes):
                window = experiment.begun_at
                self.usual_loss = UsualLoss() if by_losses else experiment.usual_before
                self._suspicion.failed(experiment)
        self._experiment, self._answered_until, self._yielded_at = None, self._last_number, -inf
        self._compete(window, now)
        self._rival.lost(0, newest, now)
        self.window = self._rival.window

    # Rounds

    def _end_round(self, progress: Progress, now: float) -> None:
        ended, self._round = self._round, _Round(progress.next_number)
        if self._settling:
            self._settling = False
        elif self._experiment is not None:
            self._experiment.round_ended(self.window)
        else:
            self._suspicion.take(ended.lost, ended.total)
            if ended.shortest < inf:
                self._judge(ended, ended.shortest - progress.round_trip.minimum, now)

    def _judge(self, ended: _Round, queue: float, now: float) -> None:
        self._queue_is_long = queue > self._target
        lost, total = ended.lost / self._packet_bytes, ended.total / self._packet_bytes
        if self.mode is Mode.YIELDING:
            if ended.limited and not self._queue_is_long:
                self.usual_loss.follow(lost, total)
            self._follow(queue, now, limited=ended.limited)
        elif self.mode is Mode.COMPETING:
            if self.window < BELOW * self._shrunk_from:
                self.usual_loss.judge(lost, total)
            self._watch(queue, now)

    def _follow(self, queue: float, now: float, *, limited: bool) -> None:
        if self._patience < PATIENCE and queue < self._target / 2:
            self._patience = PATIENCE
        if self._patience == PATIENCE:
            self._window_before = self.window
        if self._queue_is_long and not self._patience:
            self._compete(self._window_before, now)
        elif self._queue_is_long:
            self._patience -= 1
            self._settling = True
            minimum = self._round_trip.minimum
            self._shrink_to(self.window * max(MIN_DECREASE, DRAIN * minimum / (minimum + queue)))
        elif limited:
            self.window += int(GROWTH * sqrt(self.window / self._packet_bytes) * self._packet_bytes)

    # Competing

    def _compete(self, window: int, now: float) -> None:
        """Others keep the queue full, or packets are lost: do as CUBIC would, from where that began."""
        if now - self._yielded_at > PEACE:
            self._rival = Cubic(self._packet_bytes)
            self._rival.begin_at(max(window, MIN_WINDOW_PACKETS * self._packet_bytes), self._last_number)
            self._retries = 0
        self.mode, self.window = Mode.COMPETING, self._rival.window
        self._settling = True
        self._retry_at = self._join_at = inf
        self._rounds_steady = 0
        self._suspicion.clear()

    def _shrink(self, newest: int, now: float) -> None:
        """More is lost than usual."""
        self.usual_loss.answered()
        self._answered_until = self._last_number
        if self.mode is Mode.YIELDING:
            self._compete(self.window, now)
        before = self._rival.window
        self._rival.lost(0, newest, now)
        self.window = self._rival.window
        if self.window >= before:
            return
        self._rounds_steady, self._shrunk_from = 0, before
        self._suspicion.shrank(queue_is_long=self._queue_is_long)
        if now >= self._retry_at:
            self._yield(now)
        elif self._suspicion.calls_for_experiment(self.window, now):
            self._begin_experiment(now)

    def _begin_experiment(self, now: float) -> None:
        self._suspicion.take(self._round.lost, self._round.total)
        self._experiment = self._suspicion.begin(self.window, self.usual_loss, now)
        self.usual_loss = self._suspicion.usual(self._packet_bytes)
        self.mode, self._long_samples = Mode.STARTING, 0
        self._round = _Round(self._last_number + 1)

    def _watch(self, queue: float, now: float) -> None:
        """See whether it is time to try, or another flow does: then the queue falls, though this one has not shrunk."""
        another_tries = queue < DIP * self._last_queue and self._rounds_steady >= STEADY_ROUNDS
        self._last_queue = queue
        self._rounds_steady += 1
        if self._queue_is_long and self._retry_at == inf:
            self._plan_retry(now)
        if now >= self._retry_at + RETRY_AFTER or (another_tries and now >= self._join_at):
            self._yield(now)

    def _plan_retry(self, now: float) -> None:
        # By chance, so that flows of this kind that compete with one another alone do not miss each other for ever.
        patience = max(RETRY_AFTER, RETRY_AFTER_ROUND_TRIPS * (self._round_trip.smoothed or 0.0))
        patience *= 1 << self._retries
        self._join_at = now + patience / 2
        self._retry_at = now + self._random.uniform(0.5, 1.5) * patience
        self._retries = min(self._retries + 1, MAX_RETRY_DOUBLINGS)

    def _yield(self, now: float) -> None:
        """See whether the queue drains, when this flow has just left a part of it."""
        self.mode, self._yielded_at = Mode.YIELDING, now
        self._settling, self._patience = True, PATIENCE

    # Rules

    @property
    def _target(self) -> float:
        if self._round_trip.is_local:
            return LOCAL_TARGET_QUEUE
        return max(MIN_TARGET_QUEUE, TARGET_QUEUE_SHARE * self._round_trip.minimum)

    def _shrink_to(self, window: float) -> None:
        self.window = int(max(min(window, self.window), MIN_WINDOW_PACKETS * self._packet_bytes))


class _Round:
    """What was seen from the sending of one packet to its acknowledgement."""

    __slots__ = ("acknowledged", "end", "limited", "lost", "shortest")

    def __init__(self, end: int) -> None:
        self.end = end
        """The number of the transmission whose acknowledgement ends it."""
        self.forget()

    def forget(self) -> None:
        """Begin to count again."""
        self.shortest = inf
        """The least round trip."""
        self.acknowledged = self.lost = 0
        self.limited = False

    def take(self, progress: Progress) -> None:
        """Add what one SACK has shown."""
        if progress.sample is not None:
            self.shortest = min(self.shortest, progress.sample)
        self.acknowledged += progress.acknowledged
        self.limited |= progress.limited

    @property
    def total(self) -> int:
        """Bytes of which it is known what became of them."""
        return self.acknowledged + self.lost
