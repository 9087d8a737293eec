"""CUBIC (RFC 9438) with slow start by HyStart++ (RFC 9406)."""

from __future__ import annotations

from math import inf

from .congestion import INITIAL_WINDOW_PACKETS, Progress

C = 0.4
BETA = 0.7
MIN_WINDOW_PACKETS = 2

# RFC 9406 section 4.2
MIN_RTT_THRESHOLD = 0.004
MAX_RTT_THRESHOLD = 0.016
RTT_DIVISOR = 8
SAMPLES_PER_ROUND = 8
CSS_GROWTH_DIVISOR = 4
CSS_ROUNDS = 5

SLOW_START_PACING = 2.0
PACING = 1.25


class Cubic:
    """Grows the window along a cubic of the time since the last loss; takes every loss for congestion."""

    def __init__(self, packet_bytes: int) -> None:
        self.window = INITIAL_WINDOW_PACKETS * packet_bytes
        self.pacing_rate: float | None = None
        self._packet_bytes = packet_bytes
        self._threshold = inf
        self._recovery_until = 0
        """Losses of transmissions up to this number are of the congestion that was already answered."""
        self._last_number = 0
        self._max_window = 0.0
        self._origin_window = 0.0
        self._epoch_started_at: float | None = None
        self._k = 0.0
        self._reno_window = 0.0
        self._hystart = _HyStart()

    def acknowledged(self, progress: Progress, now: float) -> None:
        """See `Congestion`."""
        self._last_number = progress.next_number - 1
        round_trip = progress.round_trip
        smoothed = round_trip.smoothed or 0.0
        if progress.limited and progress.newest > self._recovery_until:
            if self.window < self._threshold:
                self._slow_start(progress)
            else:
                self._avoid_congestion(progress.acknowledged, smoothed, now)
        elif not progress.limited:
            # RFC 9438 section 5.8: time in which the application sends little is not time in which the path is tried.
            self._epoch_started_at = None
        if smoothed:
            factor = SLOW_START_PACING if self.window < self._threshold else PACING
            self.pacing_rate = factor * self.window / smoothed

    def lost(self, size: int, newest: int, now: float) -> None:
        """See `Congestion`."""
        del size, now
        if newest <= self._recovery_until:
            return
        self._recovery_until = self._last_number
        window = float(self.window)
        # Section 4.7, fast convergence: a flow that shrinks twice in a row makes room for others.
        self._max_window = window * (1 + BETA) / 2 if window < self._max_window else window
        self._shrink(window * BETA)

    def collapsed(self, now: float) -> None:
        """See `Congestion`."""
        del now
        self._max_window = float(self.window)
        self._shrink(self.window * BETA)
        self.window = MIN_WINDOW_PACKETS * self._packet_bytes
        self._recovery_until = self._last_number

    def packet_size_changed(self, packet_bytes: int) -> None:
        """See `Congestion`."""
        self.window = max(self.window, MIN_WINDOW_PACKETS * packet_bytes)
        self._packet_bytes = packet_bytes

    def begin_at(self, window: int, last_number: int) -> None:
        """Begin with a window that was found otherwise, and without slow start, after so many transmissions."""
        self.window, self._threshold, self._last_number = window, window, last_number

    def _shrink(self, window: float) -> None:
        self.window = int(max(window, MIN_WINDOW_PACKETS * self._packet_bytes))
        self._threshold = self.window
        self._epoch_started_at = None

    def _slow_start(self, progress: Progress) -> None:
        divisor = self._hystart.growth_divisor(progress)
        self.window += progress.acknowledged // divisor
        if self._hystart.finished:
            self._threshold = self.window

    def _avoid_congestion(self, acknowledged: int, smoothed: float, now: float) -> None:
        """Section 4.2 to 4.5. Windows here are in packets, as there."""
        packet = self._packet_bytes
        window = self.window / packet
        if self._epoch_started_at is None:
            self._epoch_started_at = now
            self._origin_window = self._reno_window = window
            self._max_window = max(self._max_window, self.window)
            self._k = ((self._max_window / packet - window) / C) ** (1 / 3)
        elapsed = now - self._epoch_started_at
        target = C * (elapsed + smoothed - self._k) ** 3 + self._max_window / packet
        target = min(max(target, window), 1.5 * window)
        acknowledged_packets = acknowledged / packet
        # Section 4.3: never slower than Reno with the same decrease.
        alpha = 1.0 if self._reno_window >= self._max_window / packet else 3 * (1 - BETA) / (1 + BETA)
        self._reno_window += alpha * acknowledged_packets / window
        grown = window + (target - window) / window * acknowledged_packets
        self.window = int(max(grown, self._reno_window) * packet)


class _HyStart:
    """Leaves slow start when the round trip grows, before anything is lost: RFC 9406 section 4.2."""

    def __init__(self) -> None:
        self.finished = False
        self._round_end = 0
        self._last_minimum = inf
        self._minimum = inf
        self._samples = 0
        self._baseline: float | None = None
        """The minimum when conservative slow start (CSS) began; None outside of it."""
        self._css_rounds = 0

    def growth_divisor(self, progress: Progress) -> int:
        """Take an acknowledgement. Returns by what the growth is divided."""
        if progress.newest >= self._round_end:
            self._begin_round(progress.next_number)
        if progress.sample is not None:
            self._minimum = min(self._minimum, progress.sample)
            self._samples += 1
        if self._samples >= SAMPLES_PER_ROUND:
            self._judge()
        return 1 if self._baseline is None else CSS_GROWTH_DIVISOR

    def _begin_round(self, round_end: int) -> None:
        self._round_end = round_end
        self._last_minimum, self._minimum, self._samples = self._minimum, inf, 0
        if self._baseline is not None:
            self._css_rounds += 1
            self.finished = self._css_rounds >= CSS_ROUNDS

    def _judge(self) -> None:
        if self._baseline is not None:
            if self._minimum < self._baseline:
                self._baseline, self._css_rounds = None, 0
        elif self._last_minimum < inf:
            threshold = max(MIN_RTT_THRESHOLD, min(self._last_minimum / RTT_DIVISOR, MAX_RTT_THRESHOLD))
            if self._minimum >= self._last_minimum + threshold:
                self._baseline = self._minimum
