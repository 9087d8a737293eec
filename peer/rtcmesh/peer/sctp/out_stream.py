"""One outgoing stream: the messages that wait on it, and how far the first of them has been sent."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple, TypeAlias

from .sent import Limit

QUANTUM_PER_PRIORITY = 8
"""Bytes per turn and unit of priority: 2,048 for a normal channel."""

LOW_WATER_BYTES = 16 * 1024
HIGH_WATER_BYTES = 64 * 1024


class Delivery(NamedTuple):
    """How a message travels. Messages of one channel share one, unless each has a limit of its own."""

    flags: int
    """U or none."""
    ppid: int
    limit: Limit | None


Waiting: TypeAlias = tuple[Delivery, bytes]
"""A message that waits."""


class OutStream:
    """One outgoing stream: what waits on it."""

    __slots__ = (
        "active",
        "blocked",
        "borders",
        "buffered",
        "credit",
        "fragment",
        "high_water",
        "id",
        "last_tsn",
        "low_water",
        "mids",
        "offset",
        "quantum",
        "queue",
        "taken",
        "taken_bytes",
    )

    def __init__(self, stream_id: int, priority: int = 256) -> None:
        self.id = stream_id
        self.queue: deque[Waiting] = deque()
        self.borders: deque[int] = deque()
        """Where in the queue a message is not like the one before it, each as how many were added before it."""
        self.offset = 0
        """How much of the first message in the queue is sent."""
        self.fragment = 0
        """How many fragments of it are sent."""
        self.mids = [0, 0]
        """The next number of ordered and of unordered messages."""
        self.taken = 0
        """How many messages have left the queue."""
        self.taken_bytes = 0
        """How many bytes are sent, or given up."""
        self.buffered = 0
        """How many bytes wait."""
        self.low_water, self.high_water = LOW_WATER_BYTES, HIGH_WATER_BYTES
        self.blocked = False
        """Whether the high-water mark was reached and the low-water mark was not since."""
        self.active = False
        self.quantum = max(priority, 1) * QUANTUM_PER_PRIORITY
        self.credit = 0
        self.last_tsn = -1
        """The last TSN that was sent on it; -1: none."""

    @property
    def added(self) -> int:
        """How many messages there ever were."""
        return self.taken + len(self.queue)

    @property
    def alike(self) -> int:
        """How many messages at the head of the queue travel alike, and are of one size."""
        return self.borders[0] - self.taken if self.borders else len(self.queue)

    @property
    def begun(self) -> int:
        """How large the message is of which a part is sent and a part is not; 0: there is none."""
        return len(self.queue[0][1]) if self.offset else 0

    def took(self, count: int) -> None:
        """Note that messages were taken out of the queue."""
        self.taken = taken = self.taken + count
        borders = self.borders
        while borders and borders[0] <= taken:
            borders.popleft()

    def clear(self) -> None:
        """Forget what waits."""
        self.taken += len(self.queue)
        self.taken_bytes += self.buffered
        self.queue.clear()
        self.borders.clear()
        self.buffered = self.offset = 0
