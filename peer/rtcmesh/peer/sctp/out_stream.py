"""One outgoing stream: the messages that wait on it, and how far the first of them has been sent."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import msgspec

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


class Alike(msgspec.Struct, gc=False, eq=False):
    """What messages have in common that follow one another in a queue."""

    delivery: Delivery
    size: int
    """Of each, in bytes."""
    count: int
    """How many they are, at least one."""


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
    )

    def __init__(self, stream_id: int, priority: int = 256) -> None:
        self.id = stream_id
        self.queue: deque[bytes] = deque()
        self.alike: deque[Alike] = deque()
        """What the messages in the queue are like, those that are alike together."""
        self.offset = 0
        """How much of the first message in the queue is sent."""
        self.fragment = 0
        """How many fragments of it are sent."""
        self.mids = [0, 0]
        """The next number of ordered and of unordered messages."""
        self.buffered = 0
        self.low_water, self.high_water = LOW_WATER_BYTES, HIGH_WATER_BYTES
        self.blocked = False
        """Whether the high-water mark was reached and the low-water mark was not since."""
        self.active = False
        self.quantum = max(priority, 1) * QUANTUM_PER_PRIORITY
        self.credit = 0
        self.last_tsn = -1
        """The last TSN that was sent on it; -1: none."""

    def take(self, count: int) -> list[bytes]:
        """Take messages away that are alike."""
        alike, popleft = self.alike[0], self.queue.popleft
        alike.count -= count
        if not alike.count:
            self.alike.popleft()
        return [popleft() for _ in range(count)]

    def clear(self) -> None:
        """Forget what waits."""
        self.queue.clear()
        self.alike.clear()
        self.buffered = self.offset = 0
