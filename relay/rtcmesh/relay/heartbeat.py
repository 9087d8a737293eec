"""The heartbeat of one connection: says when to ping, and when the other side counts as lost.

Each end says something at least every `interval` seconds, whatever it hears, and takes the other for lost after two
intervals in which it heard nothing. So neither a half-open connection nor a reader that is paused deceives anybody.
"""

from enum import Enum, auto

INTERVALS_UNTIL_LOST = 2

STALL = 1.0
"""A timer that is later than this many seconds shows that this process stood still."""

GRACE = 2.0
"""After standing still, seconds in which something must be heard."""


class Beat(Enum):
    """What is to be done."""

    NOTHING = auto()
    PING = auto()
    LOST = auto()


class Heartbeat:
    """`measuring` pings at every interval, and not only when nothing else was sent, to keep `rtt` fresh."""

    def __init__(self, *, now: float, interval: float, measuring: bool = False) -> None:
        self.interval = interval
        self.rtt: float | None = None
        """Seconds from the last answered ping to its pong."""
        self._measuring = measuring
        self._sent_at = now
        self._heard_at = now
        self._number = 0
        self._pinged_at = now
        self._check_until: float | None = None
        self._paused = False

    def sent(self, now: float) -> None:
        """Note that a frame was sent."""
        self._sent_at = now

    def heard(self, now: float) -> None:
        """Note that a frame was received."""
        self._heard_at = now
        self._check_until = None

    def ping(self, now: float) -> int:
        """Return the number of the ping to send now."""
        self._number += 1
        self._pinged_at = self._sent_at = now
        return self._number

    def pong(self, number: int, now: float) -> None:
        """Note an answer; only one to the newest ping measures anything."""
        if number == self._number:
            self.rtt = now - self._pinged_at

    def check(self, within: float, now: float) -> None:
        """Count the other side as lost unless something is heard within so many seconds."""
        until = now + within
        self._check_until = until if self._check_until is None else min(until, self._check_until)

    def pause(self) -> None:
        """Do not judge silence while nothing is read."""
        self._paused = True

    def resume(self, now: float) -> None:
        """Judge silence again, from now on."""
        self._paused = False
        self._heard_at = now

    def deadline(self) -> float:
        """Return when `handle_timeout` is due."""
        return min(self._ping_at(), self._lost_at())

    def handle_timeout(self, now: float) -> Beat:
        """Return what is due. A call that comes late makes the other side suspect, never lost."""
        late = now - self.deadline() > STALL
        if late and not self._paused:
            self._heard_at, self._check_until = now, now + GRACE
            return Beat.PING
        if now >= self._lost_at():
            return Beat.LOST
        return Beat.PING if now >= self._ping_at() else Beat.NOTHING

    def _ping_at(self) -> float:
        return (self._pinged_at if self._measuring else self._sent_at) + self.interval

    def _lost_at(self) -> float:
        if self._paused:
            return float("inf")
        lost_at = self._heard_at + INTERVALS_UNTIL_LOST * self.interval
        return lost_at if self._check_until is None else min(lost_at, self._check_until)
