"""The sending half of a virtual stream."""

from typing import NamedTuple

from rtcmesh.netem.segment import MAX_SEGMENT_BYTES

INITIAL_RETRANSMISSION_TIMEOUT = 1.0
MIN_RETRANSMISSION_TIMEOUT = 0.2
MAX_RETRANSMISSION_TIMEOUT = 10.0
GIVE_UP_TIMEOUT = 120.0
"""Seconds without any answer after which a connection is declared dead."""
DUPLICATE_ACKNOWLEDGEMENTS = 3


class Piece(NamedTuple):
    """Bytes to be sent, with their stream position."""

    sequence: int
    data: bytes
    fin: bool


class RetransmissionTimer:
    """Derives the retransmission timeout from measured round trips, and backs off (RFC 6298)."""

    def __init__(self) -> None:
        self.timeout = INITIAL_RETRANSMISSION_TIMEOUT
        self._estimate = INITIAL_RETRANSMISSION_TIMEOUT
        self._smoothed: float | None = None
        self._variation = 0.0

    def measure(self, round_trip: float) -> None:
        """Take in the round-trip time of bytes that were sent once."""
        if self._smoothed is None:
            self._smoothed, self._variation = round_trip, round_trip / 2
        else:
            self._variation += (abs(self._smoothed - round_trip) - self._variation) / 4
            self._smoothed += (round_trip - self._smoothed) / 8
        estimate = self._smoothed + 4 * self._variation
        self._estimate = min(max(estimate, MIN_RETRANSMISSION_TIMEOUT), MAX_RETRANSMISSION_TIMEOUT)

    def reset(self) -> None:
        """Forget the back-off."""
        self.timeout = self._estimate

    def back_off(self) -> None:
        """Double the timeout."""
        self.timeout = min(self.timeout * 2, MAX_RETRANSMISSION_TIMEOUT)


class Outflow:
    """Keeps written bytes until they are acknowledged, and sends them as often as that takes.

    Three duplicate acknowledgements repeat the first missing piece at once, and a partial one the next (RFC 6582);
    otherwise the timer does. A closed window is probed with one byte.
    """

    def __init__(self, timer: RetransmissionTimer) -> None:
        self.is_finished = False
        """The end of the stream was written."""
        self.is_end_acknowledged = False
        self.deadline: float | None = None
        """When `handle_timeout` is to be called."""
        self._timer = timer
        self._waiting_since = 0.0
        self._pieces: list[Piece] = []
        self._buffer = bytearray()
        self._start = 0
        self._next = 0
        self._limit = 0
        self._is_end_sent = False
        self._timed: tuple[int, float] | None = None
        self._duplicates = 0
        self._recovery_end = 0

    @property
    def unsent_bytes(self) -> int:
        """Bytes that wait for room at the other end."""
        return self._end - self._next

    @property
    def is_flushed(self) -> bool:
        """All that was written, and the end, was sent at least once."""
        return self._next == self._end and self._is_end_sent == self.is_finished

    def write(self, data: bytes, now: float) -> None:
        """Append bytes."""
        self._buffer += data
        self._transmit(now)

    def finish(self, now: float) -> None:
        """End the stream after what was written."""
        self.is_finished = True
        self._transmit(now)

    def heard(self, now: float) -> None:
        """Note that the other end is alive."""
        self._waiting_since = now

    def acknowledge(self, position: int, limit: int, now: float, *, is_bare: bool) -> None:
        """Take in that the other end has all before `position`, and room up to `limit`.

        A bare acknowledgement came without data, so one that says nothing new hints at a loss.
        """
        is_wider = limit > self._limit
        self._limit = max(self._limit, limit)
        is_new = position > self._start + self.is_end_acknowledged
        if is_new:
            self._forget(position, now)
        if is_new or is_wider:
            self._timer.reset()
            self.deadline = None
        elif is_bare and self._next > self._start:
            self._duplicates += 1
        is_lost = self._duplicates == DUPLICATE_ACKNOWLEDGEMENTS and self._start >= self._recovery_end
        if is_lost:
            self._recovery_end = self._next
        if is_lost or (is_new and self._start < self._recovery_end):
            self._repeat_first()
        self._transmit(now)

    def handle_timeout(self, now: float) -> bool:
        """Repeat the first piece that was not acknowledged; False when it is time to give up."""
        if now - self._waiting_since >= GIVE_UP_TIMEOUT:
            return False
        self._timer.back_off()
        self.deadline = now + self._timer.timeout
        self._recovery_end = self._next
        self._repeat_first()
        return True

    def pieces(self) -> list[Piece]:
        """Hand over what is to be sent."""
        pieces, self._pieces = self._pieces, []
        return pieces

    @property
    def _end(self) -> int:
        return self._start + len(self._buffer)

    def _forget(self, position: int, now: float) -> None:
        if position > self._end:
            self.is_end_acknowledged = True
        covered = min(position, self._end) - self._start
        del self._buffer[:covered]
        self._start += covered
        self._next = max(self._next, self._start)
        self._duplicates = 0
        if self._timed is not None and position >= self._timed[0]:
            self._timer.measure(now - self._timed[1])
            self._timed = None

    def _transmit(self, now: float) -> None:
        sendable = min(self._end, self._limit)
        if self._next < sendable and self._timed is None:
            self._timed = (sendable, now)
        while self._next < sendable:
            offset = self._next - self._start
            data = bytes(self._buffer[offset : offset + min(MAX_SEGMENT_BYTES, sendable - self._next)])
            self._pieces.append(Piece(self._next, data, fin=False))
            self._next += len(data)
        if self.is_finished and not self._is_end_sent and self._next == self._end:
            self._is_end_sent = True
            self._pieces.append(Piece(self._end, b"", fin=True))
        if self.deadline is None and (self._buffer or self.is_finished != self.is_end_acknowledged):
            self.deadline = now + self._timer.timeout
            self._waiting_since = now

    def _repeat_first(self) -> None:
        length = min(max(self._next - self._start, 1), MAX_SEGMENT_BYTES, len(self._buffer))
        fin = self._is_end_sent and length == len(self._buffer)
        self._pieces.append(Piece(self._start, bytes(self._buffer[:length]), fin))
        self._timed = None
