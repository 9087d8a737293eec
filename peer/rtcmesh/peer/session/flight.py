"""What is on its way on one path: a machine without I/O.

It measures the path by what is acknowledged, finds what is lost, and bounds what is on its way, so that the queue in
the network stays short: a key press that follows a gigabyte waits for a window, and the window is what fits into
the path's round trip and `TARGET_QUEUE_DELAY`.

Round-trip time and probe timeout: RFC 9002 sections 5 and 6.2. Loss by time: RFC 8985 (RACK), for each urgency by
itself, since a relay lets urgent frames overtake others. The window: after LEDBAT (RFC 6817) and FAST TCP, steered by
queueing delay and not by loss.
"""

from __future__ import annotations

from collections.abc import Callable

from rtcmesh.relay.frames import Urgency

from .frames import PACKET_BYTES

INITIAL_PROBE_TIMEOUT = 1.0
MIN_PROBE_TIMEOUT = 0.2
MAX_PROBE_TIMEOUT = 8.0

ACK_DELAY = 0.02
"""How long an acknowledgement may wait for company, in seconds."""

MIN_REORDER_ALLOWANCE = 0.01
"""By how much an acknowledged fragment must be younger than one that is missing, in seconds."""

TARGET_QUEUE_DELAY = 0.025
"""How much longer than its best the round trip may take before less is sent, in seconds."""

INITIAL_WINDOW_BYTES = 128 * 1024
MIN_WINDOW_BYTES = 64 * 1024
MAX_WINDOW_BYTES = 1024 * 1024

LATE = 0.1
"""Who looks for silence later than it was due, in seconds, was not here to take acknowledgements either."""

MIN_RTT_LIFETIME = 5.0
"""The best round trip is taken over one to two such spans, in seconds: routes change."""

_REFUSAL_PAUSE = 0.25
_MAX_REFUSAL_PAUSE = 2.0


class Fragment:
    """A part of a message, or some small ones together, until it is acknowledged."""

    __slots__ = ("channel", "done", "encode", "flight", "number", "resent", "sent_at", "size", "urgency")

    def __init__(
        self, channel: int, number: int, size: int, urgency: Urgency, encode: Callable[[], bytes]
    ) -> None:
        self.channel = channel
        self.number = number
        self.size = size
        """What it takes of the window."""
        self.urgency = urgency
        self.encode = encode
        """Returns its frame, as often as it is sent."""
        self.flight: Flight | None = None
        """Where it is on its way."""
        self.sent_at = 0.0
        self.resent = False
        self.done = False
        """Whether it need not be sent again: acknowledged, or superseded."""


class Flight:
    """Everything that is on its way on one path, and what is known of the path from it.

    Guarantees: what is sent is in the end reported as acknowledged or found lost by one of the methods, or still in
    flight with a deadline.
    """

    def __init__(self, now: float) -> None:
        self.bytes = 0
        """What is on its way."""
        self.window = INITIAL_WINDOW_BYTES
        """How much bulk may be."""
        self.rtt: float | None = None
        self._rtt_variation = 0.0
        self._best_rtts = [float("inf"), float("inf")]
        self._best_since = now
        self._shortest_rtts: dict[Urgency, float] = {}
        """The shortest round trip of each urgency since the window was looked at last."""
        self._sent: dict[Urgency, dict[Fragment, None]] = {urgency: {} for urgency in Urgency}
        self._acknowledged_sent_at: dict[Urgency, float] = dict.fromkeys(Urgency, float("-inf"))
        self._last_sent_at = now
        self._silent_since = now
        self._is_silent = False
        self._backoff = 0
        self._starting = True
        self._adjusted_at = now
        self._was_limited = False
        self._paused_until: float | None = None
        self._refusal_pause = _REFUSAL_PAUSE

    # What is known

    @property
    def probe_timeout(self) -> float:
        """How long nothing may be acknowledged before the oldest fragment is sent again."""
        return min(MAX_PROBE_TIMEOUT, self._patience(2) * float(1 << min(self._backoff, 8)))

    def deadline(self) -> float | None:
        """When `handle_timeout` is due, or sending may go on."""
        due = [] if self._paused_until is None else [self._paused_until]
        if self.bytes:
            due.append(self._last_sent_at + self.probe_timeout)
            if not self._is_silent:
                due.append(self._silent_since + self._patience(1))
        return min(due, default=None)

    def takes(self, urgency: Urgency, now: float) -> bool:
        """Whether another fragment may be sent; what is urgent goes one packet beyond the window."""
        if self._paused_until is not None and now < self._paused_until:
            return False
        limit = self.window if urgency is Urgency.BULK else self.window + PACKET_BYTES
        if self.bytes < limit:
            return True
        self._was_limited = True
        return False

    # What happens

    def sent(self, fragment: Fragment, now: float) -> None:
        """Note that a fragment was handed to the path."""
        if not self.bytes:
            self._silent_since, self._is_silent = now, False
        fragment.flight = self
        fragment.sent_at = now
        self._sent[fragment.urgency][fragment] = None
        self.bytes += fragment.size
        self._last_sent_at = now

    def remove(self, fragment: Fragment) -> None:
        """Note that a fragment is on its way no more, for whatever reason."""
        del self._sent[fragment.urgency][fragment]
        fragment.flight = None
        self.bytes -= fragment.size

    def acknowledged(self, fragments: list[Fragment], now: float, delay: float) -> None:
        """Take fragments of this flight that have arrived, and how long the word of it was held back.

        What is lost is asked for with `find_lost`, once for all acknowledgements that came together: those of other
        channels may tell of what was sent before.
        """
        newest = max(fragments, key=_sent_at)
        size = 0
        for fragment in fragments:
            size += fragment.size
            self.remove(fragment)
            urgency = fragment.urgency
            self._acknowledged_sent_at[urgency] = max(self._acknowledged_sent_at[urgency], fragment.sent_at)
        self._backoff = 0
        self._silent_since, self._is_silent = now, False
        self._refusal_pause = _REFUSAL_PAUSE
        if not newest.resent:
            sample = max(0.0, now - newest.sent_at - delay)
            self._measure(sample, now)
            self._adjust(sample, newest.urgency, size, now)

    def find_lost(self, now: float) -> list[Fragment]:
        """Return what is missing though what was sent later has arrived, and slow down for it."""
        lost: list[Fragment] = []
        allowance = max(MIN_REORDER_ALLOWANCE, (self.rtt or 0) / 4)
        for urgency, sent in self._sent.items():
            horizon = self._acknowledged_sent_at[urgency] - allowance
            for fragment in sent:
                if fragment.sent_at >= horizon:
                    break
                lost.append(fragment)
        for fragment in lost:
            self.remove(fragment)
        if lost and now - self._adjusted_at > (self.rtt or 0):
            self._adjusted_at, self._starting = now, False
            self.window = max(MIN_WINDOW_BYTES, self.window * 7 // 10)
        return lost

    def has_fallen_silent(self, now: float) -> bool:
        """Whether something is on its way and nothing was acknowledged for too long; True once, until something is.

        Who sends all the time never waits for a probe timeout, which begins anew with each fragment. Time in which the
        process slept, or its loop was blocked, is not held against the path: the silence begins anew then.
        """
        if self._is_silent or not self.bytes or now < self._silent_since + self._patience(1):
            return False
        if now > self._silent_since + self._patience(1) + LATE:
            self._silent_since = now
            return False
        self._is_silent = True
        return True

    def handle_timeout(self, now: float) -> list[Fragment]:
        """Return what counts as lost if nothing was acknowledged for too long: the oldest fragment, then all.

        Ends a pause that is over.
        """
        if self._paused_until is not None and now >= self._paused_until:
            self._paused_until = None
        if not self.bytes or now < self._last_sent_at + self.probe_timeout:
            return []
        self._backoff += 1
        self._last_sent_at = now
        if self._backoff > 1:
            # Not a lost packet but a path that carries nothing, or no longer: its acknowledgements will not show more.
            self.window, self._starting = MIN_WINDOW_BYTES, False
            return self.lose_all()
        superseded = [fragment for sent in self._sent.values() for fragment in sent if fragment.done]
        for fragment in superseded:
            self.remove(fragment)
        oldest = min((next(iter(sent)) for sent in self._sent.values() if sent), key=_sent_at, default=None)
        if oldest is None:
            return superseded
        self.remove(oldest)
        return [*superseded, oldest]

    def lose_all(self) -> list[Fragment]:
        """Give up on everything that is on its way. Returns it in the order in which it was sent."""
        lost = sorted((fragment for sent in self._sent.values() for fragment in sent), key=_sent_at)
        for fragment in lost:
            self.remove(fragment)
        return lost

    def refused(self, now: float) -> list[Fragment]:
        """Note that the path did not take what was sent: give up on it, and send nothing for a while."""
        if self._paused_until is None or now >= self._paused_until:
            self._paused_until = now + self._refusal_pause
            self._refusal_pause = min(_MAX_REFUSAL_PAUSE, 2 * self._refusal_pause)
            self.window = max(MIN_WINDOW_BYTES, self.window // 2)
        return self.lose_all()

    # Rules

    def _patience(self, round_trips: int) -> float:
        """How long an acknowledgement takes at most, as far as is known (RFC 9002 section 6.2.1 has one round trip)."""
        if self.rtt is None:
            return INITIAL_PROBE_TIMEOUT
        return max(MIN_PROBE_TIMEOUT, round_trips * self.rtt + 4 * self._rtt_variation + ACK_DELAY)

    def _measure(self, sample: float, now: float) -> None:
        if self.rtt is None:
            self.rtt, self._rtt_variation = sample, sample / 2
        else:
            self._rtt_variation += (abs(sample - self.rtt) - self._rtt_variation) / 4
            self.rtt += (sample - self.rtt) / 8
        if now - self._best_since > MIN_RTT_LIFETIME:
            self._best_rtts = [sample, self._best_rtts[0]]
            self._best_since = now
        self._best_rtts[0] = min(self._best_rtts[0], sample)

    def _adjust(self, sample: float, urgency: Urgency, size: int, now: float) -> None:
        """Let the window follow the queueing delay.

        Of each round trip the shortest sample counts (RFC 6817 section 2.4.2), so that a burst is not taken for a
        queue; for each urgency by itself, since only bulk shows the queue of a relay that lets others overtake it.
        """
        best, shortest = min(self._best_rtts), self._shortest_rtts
        shortest[urgency] = min(sample, shortest.get(urgency, sample))
        if now - self._adjusted_at > sample:
            delayed = max(shortest.values())
            shortest.clear()
            self._adjusted_at = now
            if delayed > best + TARGET_QUEUE_DELAY:
                self._starting = False
                fitting = int(self.window * (best + TARGET_QUEUE_DELAY / 2) / delayed)
                self.window = max(MIN_WINDOW_BYTES, fitting)
                return
        if self._was_limited and sample <= best + TARGET_QUEUE_DELAY:
            grown = size / 2 if self._starting else PACKET_BYTES * size / self.window
            self.window = min(MAX_WINDOW_BYTES, self.window + int(grown))
            self._was_limited = False


def _sent_at(fragment: Fragment) -> float:
    return fragment.sent_at
