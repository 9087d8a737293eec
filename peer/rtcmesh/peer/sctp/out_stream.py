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
        "finish",
        "fragment",
        "granted",
        "granted_at",
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
        self.granted = self.granted_at = 0
        """The size of the message that is under way, or may be (0: none), and what `taken` was then."""
        self.finish = 0.0
        """See `Beginnings`."""

    @property
    def added(self) -> int:
        """How many messages there ever were."""
        return self.taken + len(self.queue)

    @property
    def alike(self) -> int:
        """How many messages at the head of the queue travel alike, and are of one size."""
        return self.borders[0] - self.taken if self.borders else len(self.queue)

    def is_granted(self, messages: int) -> bool:
        """Return whether the message may be under way that is the first one after so many are taken."""
        return self.granted > 0 and self.granted_at == self.taken + messages

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
