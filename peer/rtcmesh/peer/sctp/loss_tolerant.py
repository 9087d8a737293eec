"""Congestion control for paths that lose packets without being full: a queue is congestion, a loss alone is not.

It works in rounds, from the sending of a packet to its acknowledgement. The least round trip of a round, less the
minimum, is the queue: jitter and delayed acknowledgements are left out of it.

    STARTING    double, until the queue is long or a fifth is lost ──▶ YIELDING
    YIELDING    queue empty or short        grow by the root of the window: a few packets in a round
                queue long                  shrink to a little less than what the path itself holds
                more lost than usual        shrink; if that does not help, it is usual from now on
                the queue stays long, `PATIENCE` times, or too much is lost once more
                                            ──▶ COMPETING, with the window from before
    COMPETING   do as CUBIC does; every few seconds, when it shrinks, see whether the queue drains ──▶ YIELDING

Every decrease empties the queue. So each flow sees the true minimum again and again, one that comes late as well, and
flows that share a queue shrink at the same time, by the same share, and grow by amounts that differ less than their
windows: their shares become equal (Chiu and Jain 1989; Bansal and Balakrishnan 2001 for growth by the root).

A flow that always yields gets nothing beside CUBIC, which leaves a queue only when it overflows, and one that ignores
loss takes everything from CUBIC where the buffer is too short to show as a queue. Both end in COMPETING, where CUBIC
shares with its like.
"""

from __future__ import annotations

from enum import Enum
from math import inf, sqrt
from random import Random

from .congestion import INITIAL_WINDOW_PACKETS, Progress
from .cubic import BETA, Cubic
from .round_trip import RoundTrip

MIN_WINDOW_PACKETS = 4

MIN_TARGET_QUEUE = 0.005
"""A queue above it is long; the target of CoDel (RFC 8289 section 3.2) ..."""
TARGET_QUEUE_SHARE = 0.125
"""... or this share of the minimal round trip, where that is longer. Half of it is as good as empty."""
LOCAL_TARGET_QUEUE = 0.02
"""On one machine or one switch, most of what is measured is how long busy ends take to answer."""

STARTING_SAMPLES = 8
"""So many long round trips in a row end the doubling: fewer are jitter."""
STARTING_LOSS = 0.2
STARTING_LOSS_PACKETS = 40
"""A larger share than `STARTING_LOSS` of at least so many packets ends it too."""

GROWTH = 0.5
"""Packets a round, times the root of the packets in the window."""
DRAIN = 0.95
"""How much is left after a decrease of what the path holds without a queue."""
MIN_DECREASE = 0.5
"""How much of the window is left at least: of a short round trip, most is what the ends take to answer."""
PATIENCE = 3
"""So many decreases in a row may leave the queue long."""

DEVIATIONS = 3.0
EXCESS_PACKETS = 3
"""More than usual is lost above so many deviations and packets: less is chance. One packet where the queue is long."""
OVERFLOWS_WITHIN = 5.0
"""Two overflows within so many seconds are not of this flow alone, or the buffer is too short to be seen."""
SAME_OVERFLOW_ROUND_TRIPS = 3
"""What is lost so soon after an overflow belongs to it."""
OVERFLOWED_SHARE = 0.5
"""How much of the window is left then: what grew faster than CUBIC has taken from CUBIC."""

RETRY_AFTER = 5.0
RETRY_AFTER_ROUND_TRIPS = 60
"""For how long to compete, on average, before it is tried whether others still do; up to four times that later."""
MAX_RETRY_DOUBLINGS = 1
RETRY_PATIENCE = 2
DIP = 0.75
STEADY_ROUNDS = 3
"""A queue that falls below this share in a round, so long after the own window has shrunk, is another flow's trial."""
SOON_ROUNDS = 8
VAIN_DECREASES = 2
"""Who shrinks so often, each time within so many rounds, and without a queue, does so in vain."""
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
        self._usual_loss = _UsualLoss()
        self._long_samples = 0
        self._queue_is_long = False
        self._settling = False
        """Whether this round began before the last decrease could show."""
        self._patience = PATIENCE
        """How many more decreases may leave the queue long."""
        self._window_before = 0
        """The window before the decreases that have not emptied the queue."""
        self._overflowed_at = -inf
        self._fresh = False
        """Whether the window is still what doubling has left."""
        self._rival = Cubic(packet_bytes)
        """What decides while competing."""
        self._rounds_steady = 0
        """How many rounds ago that shrank."""
        self._vain_decreases = 0
        """How often in a row it shrank, soon after it had, and with no queue."""
        self._last_queue = 0.0
        self._retry_at = self._join_at = inf
        self._retries = 0
        self._yielded_at = -inf

    def acknowledged(self, progress: Progress, now: float) -> None:
        """See `Congestion`."""
        self._round.take(progress)
        if self.mode is Mode.COMPETING:
            self._rival.acknowledged(progress, now)
            self.window = self._rival.window
        elif self.mode is Mode.STARTING:
            self._double(progress)
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
        if self.mode is Mode.COMPETING and self._too_much_is_lost():
            self._rival.lost(size, newest, now)
            if self._rival.window < self.window:
                self._rival_shrank(now)

    def collapsed(self, now: float) -> None:
        """See `Congestion`."""
        del now
        self.window = MIN_WINDOW_PACKETS * self._packet_bytes
        self.mode, self._patience, self._settling = Mode.STARTING, PATIENCE, False
        self._long_samples = 0
        self._round.forget()

    def packet_size_changed(self, packet_bytes: int) -> None:
        """See `Congestion`."""
        self.window = max(self.window, MIN_WINDOW_PACKETS * packet_bytes)
        self._packet_bytes = packet_bytes
        self._rival.packet_size_changed(packet_bytes)

    # Starting

    def _double(self, progress: Progress) -> None:
        """Grow by what arrives, until the round trip is long and stays so, or too much is lost."""
        if progress.limited:
            self.window += progress.acknowledged
        if progress.sample is not None:
            is_long = progress.sample > progress.round_trip.minimum + _target(progress.round_trip)
            self._long_samples = self._long_samples + 1 if is_long else 0
        lost, total = self._round.lost, self._round.total
        too_much = lost > STARTING_LOSS * total and total > STARTING_LOSS_PACKETS * self._packet_bytes
        if too_much or self._long_samples >= STARTING_SAMPLES:
            # What shows now was sent a round trip ago, out of half the window.
            self.mode, self._settling, self._fresh = Mode.YIELDING, True, True
            self._shrink_to(self.window / 2)

    # Rounds

    def _end_round(self, progress: Progress, now: float) -> None:
        round_trip = progress.round_trip
        if self._settling:
            self._settling = False
            if self.mode is Mode.YIELDING and self._too_much_is_lost():
                self._overflowed(progress, now)
        elif self._round.shortest < inf:
            queue = self._round.shortest - round_trip.minimum
            self._queue_is_long = queue > _target(round_trip)
            if self.mode is Mode.YIELDING:
                self._follow(queue, progress, now)
            elif self.mode is Mode.COMPETING:
                self._watch(queue, now)
        self._round = _Round(progress.next_number)

    def _follow(self, queue: float, progress: Progress, now: float) -> None:
        too_much = self._too_much_is_lost()
        if self._patience == PATIENCE:
            self._window_before = self.window
        elif queue < _target(progress.round_trip) / 2:
            self._drained(too_much=too_much)
            too_much = False
        if too_much:
            self._overflowed(progress, now)
            if self.mode is Mode.COMPETING:
                return
        else:
            self._fresh = False
        if self._queue_is_long and not self._patience:
            self._compete(self._window_before, progress, now)
        elif too_much or self._queue_is_long:
            self._decrease(queue, progress.round_trip.minimum)
        elif self._round.limited:
            packets = self.window / self._packet_bytes
            self.window += int(GROWTH * sqrt(packets) * self._packet_bytes)

    def _overflowed(self, progress: Progress, now: float) -> None:
        """Note that a buffer has overflowed, or seems to: once by chance, twice by others, or as it is too short."""
        if self._fresh:
            return  # by doubling
        since = now - self._overflowed_at
        self._overflowed_at = now
        if SAME_OVERFLOW_ROUND_TRIPS * (progress.round_trip.smoothed or 0.0) < since < OVERFLOWS_WITHIN:
            self._compete(int(OVERFLOWED_SHARE * self._window_before), progress, now)

    def _decrease(self, queue: float, minimum: float) -> None:
        """Empty the queue; where there is none to be seen, by as much as CUBIC would."""
        self._patience -= 1
        self._settling = True
        share = DRAIN * minimum / (minimum + queue) if self._queue_is_long else BETA
        self._shrink_to(self.window * max(MIN_DECREASE, share))

    def _drained(self, *, too_much: bool) -> None:
        """Note that a decrease has emptied the queue: nobody else keeps it, and what is lost is lost without it."""
        self._patience = PATIENCE
        self._window_before = self.window
        self._usual_loss.take(self._round, forget=0.9 if too_much else 0.1)
        if too_much:
            self._overflowed_at = -inf

    # Competing

    def _compete(self, window: int, progress: Progress, now: float) -> None:
        """Others keep the queue full: share the path with them as CUBIC would, from where that began."""
        if now - self._yielded_at > PEACE:
            self._rival = Cubic(self._packet_bytes)
            self._rival.begin_at(max(window, MIN_WINDOW_PACKETS * self._packet_bytes))
            self._retries = 0
        # By chance, so that flows of this kind that compete with one another alone do not miss each other for ever.
        patience = max(RETRY_AFTER, RETRY_AFTER_ROUND_TRIPS * (progress.round_trip.smoothed or 0.0))
        patience *= 1 << self._retries
        self._join_at = now + patience / 2
        self._retry_at = now + self._random.uniform(0.5, 1.5) * patience
        self._retries = min(self._retries + 1, MAX_RETRY_DOUBLINGS)
        self.mode, self.window = Mode.COMPETING, self._rival.window
        self._rounds_steady = self._vain_decreases = 0

    def _rival_shrank(self, now: float) -> None:
        self.window = self._rival.window
        soon = self._rounds_steady <= SOON_ROUNDS and not self._queue_is_long
        self._vain_decreases = self._vain_decreases + 1 if soon else 0
        self._rounds_steady = 0
        if self._vain_decreases >= VAIN_DECREASES:
            # Smaller and smaller, and as much is lost: the path is like that.
            self._usual_loss.take(self._round, forget=0.9)
            self._yield(now)
        elif now >= self._retry_at:
            self._yield(now)

    def _watch(self, queue: float, now: float) -> None:
        """See whether it is time to try, or another flow does: then the queue falls, though this one has not shrunk."""
        another_tries = queue < DIP * self._last_queue and self._rounds_steady >= STEADY_ROUNDS
        self._last_queue = queue
        self._rounds_steady += 1
        if now >= self._retry_at + RETRY_AFTER or (another_tries and now >= self._join_at):
            self._yield(now)

    def _yield(self, now: float) -> None:
        """See whether the queue drains, when this flow has just left a part of it."""
        self.mode, self._yielded_at = Mode.YIELDING, now
        self._settling, self._patience = True, RETRY_PATIENCE
        self._window_before = self.window

    # Rules

    def _too_much_is_lost(self) -> bool:
        """Return whether more is lost in this round than usual and than by chance."""
        packet = self._packet_bytes
        usual = self._usual_loss.share * self._round.total / packet
        chance = 0 if self.mode is Mode.COMPETING else 1 if self._queue_is_long else EXCESS_PACKETS
        return self._round.lost / packet > usual + DEVIATIONS * sqrt(usual) + chance

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


class _UsualLoss:
    """The share that is lost where there is no queue."""

    __slots__ = ("_lost", "_total")

    def __init__(self) -> None:
        self._lost = self._total = 0.0

    @property
    def share(self) -> float:
        """Between 0 and 1."""
        return self._lost / self._total if self._total else 0.0

    def take(self, seen: _Round, *, forget: float) -> None:
        """Add a round, and forget a share of what was before."""
        self._lost = (1 - forget) * self._lost + seen.lost
        self._total = (1 - forget) * self._total + seen.total


def _target(round_trip: RoundTrip) -> float:
    if round_trip.is_local:
        return LOCAL_TARGET_QUEUE
    return max(MIN_TARGET_QUEUE, TARGET_QUEUE_SHARE * round_trip.minimum)
