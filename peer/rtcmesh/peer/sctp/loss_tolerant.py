"""Congestion control for paths that lose packets without being full: a queue is congestion, a loss alone is not always."""

from __future__ import annotations

from enum import Enum
from math import inf, sqrt
from random import Random

from .congestion import INITIAL_WINDOW_PACKETS, Progress
from .cubic import BETA, Cubic
from .round_trip import RoundTrip
from .usual_loss import UsualLoss

MIN_WINDOW_PACKETS = 4

MIN_TARGET_QUEUE = 0.01
"""A queue above it is long: ten packets at 10 Mbit/s, where acknowledgements come for eight ..."""
TARGET_QUEUE_SHARE = 0.125
"""... or this share of the minimal round trip ..."""
TARGET_QUEUE_PACKETS = 4
"""... or what so many packets take: acknowledgements come for eight ..."""
MAX_TARGET_QUEUE_SHARE = 1.0
"""... where those are longer, but not more than this share of the round trip. Half of it is as good as empty."""
LOCAL_TARGET_QUEUE = 0.02
"""On one machine or one switch, most of what is measured is how long busy ends take to answer."""

STARTING_SAMPLES = 8
"""So many long round trips in a row end the doubling: fewer are jitter."""
STARTING_LOSS = 0.05
STARTING_LOSS_PACKETS = 3
"""More than so many packets, and of so many beyond the usual, end it too."""

GROWTH = 0.5
"""Packets a round, times the root of the packets in the window."""
DRAIN = 0.95
"""How much is left after a decrease of what the path holds without a queue."""
MIN_DECREASE = 0.5
"""How much of the window is left at least: of a short round trip, most is what the ends take to answer."""
PATIENCE = 3
"""So many decreases in a row may leave the queue long."""

UNEXPLAINED = 4
"""After so many decreases for losses without a queue, it is tested whether losses grow with the window."""
TEST_GROWTH = 4
TOLERANT_FROM = 24
TEST_AFTER = 2.0
MAX_TEST_DOUBLINGS = 5

RETRY_AFTER = 5.0
RETRY_AFTER_ROUND_TRIPS = 60
"""For how long to compete, on average, before it is tried whether others still do; up to twice that later."""
MAX_RETRY_DOUBLINGS = 1
RETRY_PATIENCE = 2
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
        self._packet_bytes = packet_bytes
        self._random = random
        self._round = _Round(0)
        self._last_number = 0
        self._answered = 0
        self._usual_loss = UsualLoss()
        self._long_samples = 0
        self._queue_is_long = False
        self._settling = False
        self._patience = PATIENCE
        self._window_before = 0
        self._rival = Cubic(packet_bytes)
        self._rounds_steady = 0
        self._last_queue = 0.0
        self._long_seen = False
        self._retry_at = self._join_at = inf
        self._retries = 0
        self._yielded_at = -inf
        self._tested_window = 0
        self._failed_window = 0
        self._proven = 0
        self._test_at = 0.0
        self._tests = 0
        self._unexplained = 0
        self._seen_lost = self._seen_total = 0

    def acknowledged(self, progress: Progress, now: float) -> None:
        """See `Congestion`."""
        self._last_number = progress.next_number - 1
        self._round.take(progress)
        self._usual_loss.arrived(progress.acknowledged / self._packet_bytes)
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
        packet = self._packet_bytes
        self._usual_loss.lost(size / packet)
        if newest <= self._answered:
            self._usual_loss.answered()
            return
        if self.mode is Mode.STARTING:
            if self._starting_loses(size):
                self._end_start(newest, now)
        elif self._usual_loss.exceeded(self.window / packet):
            self._usual_loss.answered()
            self._answered = self._last_number
            if self.mode is Mode.YIELDING:
                self._compete(self.window, now)
            self._rival.lost(size, newest, now)
            self._rival_shrank(now)

    def collapsed(self, now: float) -> None:
        """See `Congestion`."""
        del now
        self.window = MIN_WINDOW_PACKETS * self._packet_bytes
        self.mode, self._patience, self._settling = Mode.STARTING, PATIENCE, False
        self._long_samples = self._tested_window = 0
        self._round.forget()

    def packet_size_changed(self, packet_bytes: int) -> None:
        """See `Congestion`."""
        self.window = max(self.window, MIN_WINDOW_PACKETS * packet_bytes)
        self._packet_bytes = packet_bytes
        self._rival.packet_size_changed(packet_bytes)

    # Starting

    def _double(self, progress: Progress, now: float) -> None:
        if progress.limited:
            self.window += progress.acknowledged
            if self._tested_window:
                self.window = min(self.window, 2 * self._proven)
        if progress.sample is not None:
            is_long = progress.sample > progress.round_trip.minimum + self._target(progress.round_trip)
            self._long_samples = self._long_samples + 1 if is_long else 0
        if self._long_samples >= STARTING_SAMPLES:
            # What shows now was sent a round trip ago, out of half the window.
            if self._tested_window and not self._passed:
                self._end_start(self._last_number, now)
                return
            self.mode, self._settling = Mode.YIELDING, True
            self._shrink_to(self.window / 2)
            lost = self._seen_lost + self._round.lost
            if not self._tested_window and lost > 2 * self._packet_bytes and self.window >= TOLERANT_FROM * self._packet_bytes:
                self._usual_loss.assume(lost / self._packet_bytes, (self._seen_total + self._round.total) / self._packet_bytes)
            self._tested_window = 0
            self._answered = self._last_number

    def _starting_loses(self, size: int) -> bool:
        packet = self._packet_bytes
        total = self._round.total / packet
        usual = self._usual_loss.share * total
        if self._tested_window:
            return self._round.lost / packet > usual + 2 * sqrt(usual) + 1
        return self._round.lost / packet > usual + 2 * sqrt(usual) + STARTING_LOSS_PACKETS + STARTING_LOSS * total

    def _end_start(self, newest: int, now: float) -> None:
        window = self.window / 2
        if before := self._tested_window:
            if self._passed:
                window = self._proven
            else:
                # More is lost when more is sent: that is congestion.
                self._usual_loss.assume(*self._usual_before)
                window = before
                self._failed_window = before
        self._answered = self._last_number
        self._yielded_at = -inf
        self._compete(int(window), now)
        self._tested_window = 0
        self._rival.lost(0, newest, now)
        self.window = self._rival.window

    @property
    def _passed(self) -> bool:
        return self._proven >= max(TEST_GROWTH * self._tested_window, TOLERANT_FROM * self._packet_bytes)

    # Rounds

    def _end_round(self, progress: Progress, now: float) -> None:
        round_trip, ended = progress.round_trip, self._round
        if self._settling:
            self._settling = False
        elif self.mode is Mode.STARTING and self._tested_window:
            if self._doubled:
                self._proven = self.window
            elif self.window < 2 * self._proven:
                return
            self._doubled = not self._doubled
            self._round.end = progress.next_number
            return
        else:
            if self.mode is Mode.YIELDING and self._usual_loss.share:
                self._usual_loss.follow(ended.lost / self._packet_bytes, ended.total / self._packet_bytes)
            self._seen_lost += ended.lost
            self._seen_total += ended.total
            if ended.shortest < inf:
                queue = ended.shortest - round_trip.minimum
                self._queue_is_long = queue > self._target(round_trip)
                if self.mode is Mode.YIELDING:
                    self._follow(queue, progress, now)
                elif self.mode is Mode.COMPETING:
                    self._watch(queue, now)
        self._round = _Round(progress.next_number)

    def _follow(self, queue: float, progress: Progress, now: float) -> None:
        if self._patience == PATIENCE:
            self._window_before = self.window
        elif queue < self._target(progress.round_trip) / 2:
            self._patience = PATIENCE
            self._window_before = self.window
        if self._queue_is_long and not self._patience:
            self._compete(self._window_before, now)
        elif self._queue_is_long:
            self._patience -= 1
            self._settling = True
            minimum = progress.round_trip.minimum
            self._shrink_to(self.window * max(MIN_DECREASE, DRAIN * minimum / (minimum + queue)))
        elif self._round.limited:
            packets = self.window / self._packet_bytes
            self.window += int(GROWTH * sqrt(packets) * self._packet_bytes)

    # Competing

    def _compete(self, window: int, now: float) -> None:
        if now - self._yielded_at > PEACE:
            self._rival = Cubic(self._packet_bytes)
            self._rival.begin_at(max(window, MIN_WINDOW_PACKETS * self._packet_bytes), self._last_number)
            self._retries = 0
        self.mode, self.window = Mode.COMPETING, self._rival.window
        self._retry_at = self._join_at = inf
        self._rounds_steady = 0
        self._unexplained = self._seen_lost = self._seen_total = 0

    def _plan_retry(self, smoothed: float, now: float) -> None:
        # By chance, so that flows of this kind that compete with one another alone do not miss each other for ever.
        patience = max(RETRY_AFTER, RETRY_AFTER_ROUND_TRIPS * smoothed)
        patience *= 1 << self._retries
        self._join_at = now + patience / 2
        self._retry_at = now + self._random.uniform(0.5, 1.5) * patience
        self._retries = min(self._retries + 1, MAX_RETRY_DOUBLINGS)

    def _rival_shrank(self, now: float) -> None:
        if self._rival.window >= self.window:
            return
        self.window = self._rival.window
        self._rounds_steady = 0
        self._unexplained = 0 if self._queue_is_long else self._unexplained + 1
        if not self._unexplained:
            self._seen_lost = self._seen_total = 0
        if now >= self._retry_at:
            self._yield(now)
        elif self._unexplained >= UNEXPLAINED and (now >= self._test_at or self.window < self._failed_window / 2):
            self._test(now)

    def _test(self, now: float) -> None:
        packet = self._packet_bytes
        if not self._usual_loss.share: self._usual_before = (0.0, 0.0)
        else: self._usual_before = (self._usual_loss._lost, self._usual_loss._total)
        self._usual_loss.assume((self._seen_lost + self._round.lost) / packet, (self._seen_total + self._round.total) / packet)
        if now >= self._test_at:
            self._test_at = now + TEST_AFTER * (1 << self._tests)
            self._tests = min(self._tests + 1, MAX_TEST_DOUBLINGS)
        self._tested_window = self._proven = self.window
        self._doubled = False
        self.mode, self._long_samples = Mode.STARTING, 0
        self._round = _Round(self._last_number + 1)

    def _watch(self, queue: float, now: float) -> None:
        """See whether it is time to try, or another flow does: then the queue falls, though this one has not shrunk."""
        another_tries = queue < DIP * self._last_queue and self._rounds_steady >= STEADY_ROUNDS
        self._last_queue = queue
        self._rounds_steady += 1
        if self._queue_is_long and self._retry_at == inf:
            self._plan_retry(self._smoothed, now)
        if now >= self._retry_at + RETRY_AFTER or (another_tries and now >= self._join_at):
            self._yield(now)

    def _yield(self, now: float) -> None:
        """See whether the queue drains, when this flow has just left a part of it."""
        self.mode, self._yielded_at = Mode.YIELDING, now
        self._settling, self._patience = True, RETRY_PATIENCE
        self._window_before = self.window

    # Rules

    def _target(self, round_trip: RoundTrip) -> float:
        if round_trip.is_local:
            return LOCAL_TARGET_QUEUE
        smoothed = self._smoothed = round_trip.smoothed or 0.0
        packets = TARGET_QUEUE_PACKETS * self._packet_bytes / self.window * smoothed
        least = min(packets, MAX_TARGET_QUEUE_SHARE * round_trip.minimum)
        return max(MIN_TARGET_QUEUE, TARGET_QUEUE_SHARE * round_trip.minimum, least)

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
