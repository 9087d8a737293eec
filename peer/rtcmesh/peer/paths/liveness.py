"""Whether a path is alive, by probes of our own: a machine without I/O.

ICE's consent checks (RFC 7675) and TCP notice a dead path only after tens of seconds. Here a ping that is not answered
in time is *missed*; the next one follows at once, so that two misses, which are reason for doubt, take little longer
than one. A path on which nothing at all was heard for `timeout` after a ping is *silent*.

Both ends ask, and fall into step: the one that *follows* waits a little longer from ping to ping, and who is pinged
when its own ping is due before long sends it with the answer, so that the two share their packets.

    leader ── ping ──▶ follower    follower ── pong, ping ──▶ leader    leader ── pong ──▶ follower
"""

from __future__ import annotations

from rtcmesh.peer.session.probes import Probe, ProbeType

MIN_PATIENCE = 0.2
"""The shortest time that an answer is waited for, in seconds."""

FIRST_PATIENCE = 1.0
"""How long the first answer is waited for, in seconds."""

PONGS_PER_SECOND = 20
"""How many pings are answered in the long run, and at once: more than an honest peer sends, and no flood in return."""

STALL = 1.0
"""A timer that is later than this many seconds, or than the interval, shows that this process stood still."""

MAX_LAG = 0.1
"""By how much the end that follows waits longer than the interval, in seconds, to be pinged first."""

_REMEMBERED_PINGS = 64


class Liveness:
    """The pulse of one path.

    Guarantees: `misses` counts the pings in a row that were not answered in time, and `silent` is true only while
    nothing was heard for `timeout` seconds after a ping, both *while this process ran*: time in which it slept, or its
    loop was blocked, is not held against the path.
    """

    def __init__(self, now: float, *, interval: float, timeout: float, follows: bool) -> None:
        self._interval = interval
        self._timeout = timeout
        self._follows = follows
        self._asked_at: float | None = None
        self._due_at = now
        self._number = 0
        self._missed_through = 0
        self._sent_at: dict[int, float] = {}
        self._probes: list[Probe] = []
        self._smoothed: float | None = None
        self._pongs_left = float(PONGS_PER_SECOND)
        self._pongs_counted_at = now
        self.misses = 0
        """How many pings in a row were not answered in time."""
        self.unanswered = 0
        """How many pings there were since the last answer to any, counted when they were not answered in time."""
        self.silent = False
        """Whether nothing was heard for too long."""
        self.verified = False
        """Whether a ping was ever answered: the path works both ways."""
        self.pings = 0
        """How many pings were sent."""
        self.missed = 0
        """How many of them were not answered in time."""

    @property
    def rtt(self) -> float | None:
        """The smoothed round-trip time in seconds (RFC 6298 weights); None until a pong came."""
        return self._smoothed

    def deadline(self) -> float:
        """When `handle_timeout` is due."""
        return self._due_at

    def probes_to_send(self) -> list[Probe]:
        """Return the probes to be sent, once."""
        probes, self._probes = self._probes, []
        return probes

    def pace(self, interval: float, now: float) -> None:
        """Ping this often from now on."""
        if interval < self._interval:
            self._due_at = min(self._due_at, now + interval)
        self._interval = interval

    def ping(self, now: float) -> None:
        """Ping now, unless an answer is awaited already."""
        if not self._awaits_answer:
            self._due_at = min(self._due_at, now)

    def fell_silent(self, now: float) -> None:
        """Note that what was sent is not answered: counts as one miss, if there was none yet; asks at once."""
        self.misses = max(1, self.misses)
        self.ping(now)

    def heard(self) -> None:
        """Note that something arrived on the path."""
        self._asked_at = None
        self.silent = False

    def receive(self, probe: Probe, now: float) -> None:
        """Take a probe: answer a ping, measure with a pong. A pong that was not asked for proves nothing."""
        self.heard()
        if probe.type is ProbeType.PING:
            if self._may_answer(now):
                self._probes.append(Probe(ProbeType.PONG, probe.number))
                if not self._awaits_answer and 0 < self._due_at - now <= self._interval / 2:
                    self._send_ping(now)
        elif (sent_at := self._sent_at.pop(probe.number, None)) is not None:
            self._measure(now - sent_at)
            self.unanswered = 0
            if probe.number > self._missed_through:
                self.misses, self.verified = 0, True
                self._due_at = max(now, sent_at + self._interval + self._lag)

    def handle_timeout(self, now: float) -> None:
        """Count the ping that was not answered, and send the next one."""
        late = now - self._due_at
        if late < 0:
            return
        if late > min(self._interval, STALL):
            # The answers may have come while nobody was here to take them.
            self._asked_at = None
            self._missed_through = self._number
        elif self._awaits_answer:
            self._missed_through = self._number
            self.misses += 1
            self.missed += 1
            self.unanswered += 1
        self.silent = self._asked_at is not None and now - self._asked_at >= self._timeout
        self._send_ping(now)

    @property
    def _awaits_answer(self) -> bool:
        return self._number > self._missed_through and self._number in self._sent_at

    @property
    def _lag(self) -> float:
        return min(MAX_LAG, self._interval / 4) if self._follows else 0.0

    @property
    def _patience(self) -> float:
        """How long an answer is waited for: a quarter longer than it took lately, and a little more.

        Never longer than until the path is silent, however long some answers were on their way.
        """
        if self._smoothed is None:
            return min(FIRST_PATIENCE, self._timeout)
        return min(max(MIN_PATIENCE, 1.25 * self._smoothed + 0.1), self._timeout)

    def _may_answer(self, now: float) -> bool:
        earned = (now - self._pongs_counted_at) * PONGS_PER_SECOND
        self._pongs_left = min(PONGS_PER_SECOND, self._pongs_left + earned)
        self._pongs_counted_at = now
        if self._pongs_left < 1:
            return False
        self._pongs_left -= 1
        return True

    def _measure(self, sample: float) -> None:
        self._smoothed = sample if self._smoothed is None else 0.875 * self._smoothed + 0.125 * sample

    def _send_ping(self, now: float) -> None:
        self._number += 1
        self.pings += 1
        self._sent_at[self._number] = now
        if self._asked_at is None:
            self._asked_at = now
        if len(self._sent_at) > _REMEMBERED_PINGS:
            del self._sent_at[next(iter(self._sent_at))]
        self._probes.append(Probe(ProbeType.PING, self._number))
        # After two misses there is nothing to hurry for.
        self._due_at = now + (self._patience if self.misses < 2 else max(self._patience, self._interval))
