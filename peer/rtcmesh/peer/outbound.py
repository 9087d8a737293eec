"""The sending end of one channel towards one peer: a machine without I/O."""

from __future__ import annotations

from collections import deque

from .errors import ProtocolViolation
from .frames import Progress, cost, encode_data, encode_open


class OutboundChannel:
    """Numbers messages, keeps them until they are acknowledged, and hands them out once per path.

    Guarantees: what is kept never exceeds `window` bytes of cost, and nothing is handed out beyond the receiver's
    credit; after `rewind` everything unacknowledged is handed out again, in order.
    """

    def __init__(self, number: int, label: str, window: int) -> None:
        self.number = number
        self.label = label
        self._window = window
        self._limit: int | None = None
        self._accepted_cost = 0
        self._handed_out_cost = 0
        self._acknowledged_cost = 0
        self._ever_handed_out = 0
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
        if self._handed_out == len(self._kept) or self._limit is None:
            return False
        return self._handed_out_cost + cost(self._kept[self._handed_out]) <= self._limit

    def fits(self, payload: bytes) -> bool:
        """Whether a message is accepted now: within what we keep, and within the credit as far as it is known."""
        accepted = self._accepted_cost + cost(payload)
        bound = self._acknowledged_cost + self._window
        return accepted <= (bound if self._limit is None else min(bound, self._limit))

    def accept(self, payload: bytes) -> None:
        """Take a message that fits; its place in the order of the channel is fixed by this call."""
        assert self.fits(payload), "accept() without credit"
        self._accepted_cost += cost(payload)
        self._kept.append(payload)

    def next_frame(self) -> bytes:
        """Return the next message's frame; on a path that has not seen the channel, its OPEN goes first."""
        payload = self._kept[self._handed_out]
        self._handed_out += 1
        self._ever_handed_out = max(self._ever_handed_out, self._acknowledged + self._handed_out)
        self._handed_out_cost += cost(payload)
        frame = encode_data(self.number, self._acknowledged + self._handed_out, payload)
        if self._announced:
            return frame
        self._announced = True
        return encode_open(self.number, self.label) + frame

    def acknowledge(self, progress: Progress) -> bool:
        """Drop what the remote session has, and take its credit. Returns whether `fits` may say yes to more.

        Progress that is behind what was acknowledged before is late and ignored. Raises `ProtocolViolation` for
        messages that were never handed out.
        """
        if progress.received > self._acknowledged + self._handed_out:
            raise ProtocolViolation("bad_ack", f"channel {self.number}: acknowledged what was not sent")
        before = (self._acknowledged, self._limit)
        self._drop(progress.received - self._acknowledged)
        self._limit = max(progress.limit, self._limit or 0)
        return before != (self._acknowledged, self._limit)

    def rewind(self, progress: Progress) -> bool:
        """Start over on a new path from what the remote session has. Returns what `acknowledge` does.

        Raises `ProtocolViolation` when it has lost what it acknowledged, or claims what was never sent.
        """
        if not self._acknowledged <= progress.received <= self._ever_handed_out:
            detail = f"channel {self.number}: {progress.received} of {self._ever_handed_out} received"
            raise ProtocolViolation("bad_resume", detail)
        self._handed_out, self._handed_out_cost = len(self._kept), self._accepted_cost
        grew = self.acknowledge(progress)
        self._handed_out, self._handed_out_cost = 0, self._acknowledged_cost
        self._announced = False
        return grew

    def _drop(self, count: int) -> None:
        for _ in range(count):
            self._acknowledged_cost += cost(self._kept.popleft())
            self._acknowledged += 1
            self._handed_out -= 1
