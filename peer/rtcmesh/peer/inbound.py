"""The receiving end of one channel from one peer: a machine without I/O."""

from __future__ import annotations

from .errors import ProtocolViolation
from .frames import Data, Progress, cost


class InboundChannel:
    """Admits every message once and in order, and grants credit as the application takes them.

    Guarantees: what is admitted and not yet taken never exceeds `window` bytes of cost.
    """

    def __init__(self, number: int, label: str, window: int) -> None:
        self.number = number
        self.label = label
        self._window = window
        self._received = 0
        self._received_cost = 0
        self._taken_cost = 0
        self._reported = Progress(number, 0, window)

    def admit(self, data: Data) -> bool:
        """Return whether the message is new. Raises `ProtocolViolation` on a gap or beyond the credit."""
        if data.number <= self._received:
            return False
        if data.number != self._received + 1:
            raise ProtocolViolation("gap", f"channel {self.label!r}: {data.number} follows {self._received}")
        if self._received_cost + cost(data.payload) > self._taken_cost + self._window:
            raise ProtocolViolation("beyond_credit", f"channel {self.label!r}")
        self._received += 1
        self._received_cost += cost(data.payload)
        return True

    def take(self, payload: bytes) -> None:
        """Note that the application has taken a message: its cost becomes credit again."""
        self._taken_cost += cost(payload)
        assert self._taken_cost <= self._received_cost, "a message was taken twice"

    def progress(self) -> Progress:
        """Return what the sender may know. It counts as reported."""
        self._reported = Progress(self.number, self._received, self._taken_cost + self._window)
        return self._reported

    @property
    def owes(self) -> bool:
        """Whether there is progress that was not reported."""
        reported = self._reported
        return self._received > reported.received or self._taken_cost + self._window > reported.limit

    @property
    def owes_much(self) -> bool:
        """Whether the sender may soon stand still for want of a report."""
        reported = self._reported
        unused = reported.limit - self._received_cost
        return unused < self._window // 2 and self._taken_cost + self._window > reported.limit
