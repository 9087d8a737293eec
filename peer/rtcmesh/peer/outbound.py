"""The sending end of one channel towards one peer: a machine without I/O."""

from __future__ import annotations

from collections import deque

from .errors import ProtocolViolation
from .frames import Progress, cost, encode_data, encode_open


class OutboundChannel:
    """Numbers messages, keeps them until they are acknowledged, and hands them out once per path.

    Guarantees: a message is accepted only within the receiver's credit, so what is kept never exceeds `window` bytes
    of cost; after `rewind` everything unacknowledged is handed out again, in order.
    """

    def __init__(self, number: int, label: str, window: int) -> None:
        self.number = number
        self.label = label
        self._window = window
        self._limit = window
        self._accepted_cost = 0
        self._acknowledged_cost = 0
        self._last = 0
        self._acknowledged = 0
        self._kept: deque[bytes] = deque()
        self._handed_out = 0
        self._announced = False

    @property
    def unacknowledged(self) -> int:
        """How many accepted messages the remote session does not have yet, as far as is known."""
        return len(self._kept)

    @property
    def has_frames(self) -> bool:
        """Whether `next_frame` has something for this path."""
        return self._handed_out < len(self._kept)

    def fits(self, payload: bytes) -> bool:
        """Whether the credit admits this message now."""
        return self._accepted_cost + cost(payload) <= self._limit

    def accept(self, payload: bytes) -> None:
        """Take a message that fits; its place in the order of the channel is fixed by this call."""
        assert self.fits(payload), "accept() without credit"
        self._accepted_cost += cost(payload)
        self._last += 1
        self._kept.append(payload)

    def next_frame(self) -> bytes:
        """Return the next message's frame; on a path that has not seen the channel, its OPEN goes first."""
        payload = self._kept[self._handed_out]
        self._handed_out += 1
        frame = encode_data(self.number, self._acknowledged + self._handed_out, payload)
        if self._announced:
            return frame
        self._announced = True
        return encode_open(self.number, self.label) + frame

    def acknowledge(self, progress: Progress) -> bool:
        """Drop what the remote session has, and take its credit. Returns whether the credit grew.

        Progress that is behind what was acknowledged before is late and ignored. Raises `ProtocolViolation` for
        messages that were never handed out.
        """
        if progress.received > self._acknowledged + self._handed_out:
            raise ProtocolViolation("bad_ack", f"channel {self.number}: acknowledged what was not sent")
        self._drop(progress.received - self._acknowledged)
        # A generous peer must not make us keep more than a window: what it grants beyond that is not used.
        limit = min(progress.limit, self._acknowledged_cost + self._window)
        grew = limit > self._limit
        self._limit = max(limit, self._limit)
        return grew

    def rewind(self, progress: Progress | None) -> bool:
        """Start over on a new path from what the remote session has. Returns whether the credit grew.

        Raises `ProtocolViolation` when it has lost what it acknowledged, or claims what was never sent.
        """
        received = progress.received if progress else 0
        if not self._acknowledged <= received <= self._last:
            raise ProtocolViolation(
                "bad_resume", f"channel {self.number}: {received} of {self._last} received"
            )
        self._handed_out = len(self._kept)
        grew = self.acknowledge(progress) if progress else False
        self._handed_out = 0
        self._announced = False
        return grew

    def _drop(self, count: int) -> None:
        for _ in range(count):
            self._acknowledged_cost += cost(self._kept.popleft())
            self._acknowledged += 1
            self._handed_out -= 1
