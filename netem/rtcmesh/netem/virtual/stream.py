"""One end of a virtual TCP connection."""

import enum
import errno
import os

from rtcmesh.netem.segment import Segment, SegmentKind

from .inflow import Inflow
from .outflow import GIVE_UP_TIMEOUT, Outflow, RetransmissionTimer

ACKNOWLEDGEMENT_DELAY = 0.04
"""Seconds for which an acknowledgement waits for data to travel with (RFC 1122, 4.2.3.2; Linux waits as long)."""

LINGER_TIME = 60.0
"""Seconds for which a closed end still acknowledges what the other end repeats (TIME-WAIT)."""


class StreamState(enum.Enum):
    """How far a connection has come."""

    CONNECTING = "connecting"
    OPEN = "open"
    DEAD = "dead"


class Stream:
    """Carries bytes both ways, whole and in order, over a network that loses, repeats and reorders segments.

    The essentials of RFC 9293. There is no congestion control: the receiver's window alone bounds what is in flight.
    Bytes are lost only together with the connection: by a reset, or after `GIVE_UP_TIMEOUT` without an answer.
    """

    def __init__(self, *, active: bool, now: float) -> None:
        self.state = StreamState.CONNECTING
        self.error: OSError | None = None
        """Why the connection died; None when this end aborted it or both ended it."""
        self.inflow = Inflow()
        self._timer = RetransmissionTimer()
        self.outflow = Outflow(self._timer)
        self._started_at = now
        self._greet_at: float | None = now + self._timer.timeout
        self._acknowledge_at: float | None = None
        self._linger_until: float | None = None
        self._is_closed = False
        self._advertised = 0
        self._outbox: list[Segment] = []
        self._greeting = SegmentKind.CONNECT if active else SegmentKind.ACCEPT
        if active:
            self._emit(self._greeting)

    def write(self, data: bytes, now: float) -> None:
        """Append bytes to the outgoing stream; a dead one drops them."""
        if self.state is not StreamState.DEAD:
            self.outflow.write(data, now)
            self._flush()

    def finish(self, now: float) -> None:
        """End the outgoing stream after what was written; the other direction goes on."""
        if self.state is not StreamState.DEAD:
            self.outflow.finish(now)
            self._flush()

    def close(self, now: float) -> None:
        """End the outgoing stream and refuse what still comes in: once all is sent, new bytes bring a reset."""
        self._is_closed = True
        self.finish(now)
        self._linger_when_done(now)

    def abort(self) -> None:
        """End the connection at once; the other end sees a reset."""
        if self.state is not StreamState.DEAD:
            self._emit(SegmentKind.RESET)
            self._die(None)

    def read(self) -> bytes:
        """Hand over the bytes that arrived in order, and tell the other end when that made much room."""
        data = self.inflow.read()
        if self.inflow.expected + self.inflow.window - self._advertised >= self.inflow.window // 2:
            self._emit(SegmentKind.DATA)
        return data

    def receive(self, segment: Segment, now: float) -> None:
        """Take in what the other end sent."""
        if self.state is StreamState.DEAD:
            return
        if segment.kind is SegmentKind.RESET:
            is_refused = self.state is StreamState.CONNECTING
            self._die(_os_error(errno.ECONNREFUSED if is_refused else errno.ECONNRESET))
            return
        if segment.kind is SegmentKind.CONNECT:
            self._emit(SegmentKind.ACCEPT)
            return
        if self.state is StreamState.CONNECTING:
            self._open(now)
        is_bare = segment.kind is SegmentKind.DATA and not (segment.data or segment.fin)
        limit = segment.acknowledgement + segment.window
        self.outflow.heard(now)
        self.outflow.acknowledge(segment.acknowledgement, limit, now, is_bare=is_bare)
        self._receive_content(segment, now)
        self._linger_when_done(now)

    def deadline(self) -> float | None:
        """When `handle_timeout` is to be called."""
        deadlines = (self._greet_at, self.outflow.deadline, self._acknowledge_at, self._linger_until)
        return min((at for at in deadlines if at is not None), default=None)

    def handle_timeout(self, now: float) -> None:
        """Acknowledge, and send again what was not acknowledged, or give up."""
        if self._acknowledge_at is not None and now >= self._acknowledge_at:
            self._emit(SegmentKind.DATA)
        if self._linger_until is not None and now >= self._linger_until:
            self._die(None)
        elif self._greet_at is not None and now >= self._greet_at:
            self._greet_again(now)
        elif self.outflow.deadline is not None and now >= self.outflow.deadline:
            if self.outflow.handle_timeout(now):
                self._flush()
            else:
                self._die(_os_error(errno.ETIMEDOUT))

    def segments_to_send(self) -> list[Segment]:
        """Hand over the segments for the network."""
        segments, self._outbox = self._outbox, []
        return segments

    def _open(self, now: float) -> None:
        if self._greet_at == self._started_at + self._timer.timeout:
            self._timer.measure(now - self._started_at)
        self._timer.reset()
        self._greet_at = None
        self.state = StreamState.OPEN

    def _greet_again(self, now: float) -> None:
        if now - self._started_at >= GIVE_UP_TIMEOUT:
            self._die(_os_error(errno.ETIMEDOUT))
            return
        self._timer.back_off()
        self._greet_at = now + self._timer.timeout
        self._emit(self._greeting)

    def _receive_content(self, segment: Segment, now: float) -> None:
        is_new = segment.sequence + len(segment.data) > self.inflow.expected
        is_refused = self._is_closed and is_new
        if is_refused and self.outflow.is_flushed:
            self.abort()
            return
        # Out of order, or in a gap: the other end is to know at once (RFC 5681, section 4.2).
        may_wait = segment.data and segment.sequence == self.inflow.expected
        may_wait = may_wait and not (segment.fin or self.inflow.has_gap)
        if not is_refused:
            self.inflow.receive(segment.sequence, segment.data, fin=segment.fin)
        sent = self._flush()
        is_to_acknowledge = segment.data or segment.fin or segment.kind is SegmentKind.ACCEPT
        if not is_to_acknowledge or sent:
            return
        if may_wait and self._acknowledge_at is None:
            self._acknowledge_at = now + ACKNOWLEDGEMENT_DELAY
        else:
            self._emit(SegmentKind.DATA)

    def _linger_when_done(self, now: float) -> None:
        is_done = self._is_closed and self.inflow.ended and self.outflow.is_end_acknowledged
        if is_done and self._linger_until is None and self.state is StreamState.OPEN:
            self._linger_until = now + LINGER_TIME

    def _flush(self) -> bool:
        pieces = self.outflow.pieces()
        for sequence, data, fin in pieces:
            self._emit(SegmentKind.DATA, sequence, data, fin=fin)
        return bool(pieces)

    def _emit(self, kind: SegmentKind, sequence: int = 0, data: bytes = b"", *, fin: bool = False) -> None:
        window = self.inflow.window
        self._advertised = self.inflow.expected + window
        self._acknowledge_at = None
        self._outbox.append(Segment(kind, sequence, self.inflow.expected, window, data, fin))

    def _die(self, error: OSError | None) -> None:
        self.state = StreamState.DEAD
        self.error = error
        self._greet_at = self._acknowledge_at = self._linger_until = self.outflow.deadline = None


def _os_error(code: int) -> OSError:
    return OSError(code, os.strerror(code))
