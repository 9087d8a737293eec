"""One outgoing stream: the messages that wait on it, and how far the first of them has been sent."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

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


class Alike:
    """What messages have in common that follow one another on a stream."""

    __slots__ = ("delivery", "first", "size")

    def __init__(self, delivery: Delivery, size: int, first: int) -> None:
        self.delivery = delivery
        self.size = size
        """Of each, in bytes."""
        self.first = first
        """How many messages there were on the stream before the first of them."""


class OutStream:
    """One outgoing stream: what waits on it."""

    __slots__ = (
        "active",
        "alike",
        "blocked",
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
        self.queue: deque[bytes] = deque()
        self.alike: deque[Alike] = deque()
        """What the messages in the queue are like, in their order."""
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
    def count_alike(self) -> int:
        """How many messages at the head of the queue are alike."""
        return (self.alike[1].first if len(self.alike) > 1 else self.added) - self.taken

    def take(self, count: int) -> list[bytes]:
        """Take messages out of the queue."""
        alike, popleft = self.alike, self.queue.popleft
        messages = [popleft() for _ in range(count)]
        self.taken = taken = self.taken + count
        if not self.queue:
            alike.clear()
        while len(alike) > 1 and alike[1].first <= taken:
            alike.popleft()
        return messages

    def clear(self) -> None:
        """Forget what waits."""
        self.taken += len(self.queue)
        self.taken_bytes += self.buffered
        self.queue.clear()
        self.alike.clear()
        self.buffered = self.offset = 0
