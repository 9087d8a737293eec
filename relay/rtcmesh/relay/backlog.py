"""What waits in a client to be sent: the most urgent first, bounded in bytes, paced while the relay asks for it."""

from collections import deque

from .frames import Limit, Urgency

LOW_WATER_BYTES = 16 * 1024
"""Whoever waited may send again when no more than this is waiting."""

HIGH_WATER_BYTES = 64 * 1024
"""Whoever has a choice sends no more while this much is waiting."""


class Backlog:
    """Frames leave by urgency, and in the order of their coming within one."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._queues: tuple[deque[bytes], ...] = tuple(deque() for _ in Urgency)
        self._bytes_per_second = 0
        self._next_at = 0.0
        self._was_above = False
        self.queued_bytes = 0
        """What is waiting."""

    @property
    def is_limited(self) -> bool:
        """Whether the relay asked for a pace that is not lifted yet."""
        return self._bytes_per_second > 0

    def put(self, frame: bytes, urgency: Urgency) -> bool:
        """Take a frame, or return False because the bound is reached."""
        if self.queued_bytes + len(frame) > self._max_bytes:
            return False
        self._queues[urgency].append(frame)
        self.queued_bytes += len(frame)
        self._was_above = self._was_above or self.queued_bytes > LOW_WATER_BYTES
        return True

    def take(self, now: float) -> bytes | None:
        """Return the next frame, or None if there is none or its time has not come; see `deadline`."""
        if now < self._next_at:
            return None
        for queue in self._queues:
            if queue:
                frame = queue.popleft()
                self.queued_bytes -= len(frame)
                if self._bytes_per_second:
                    self._next_at = now + len(frame) / self._bytes_per_second
                return frame
        return None

    def became_writable(self) -> bool:
        """Tell, once, that what is waiting has fallen to the low water mark after it was above."""
        if self._was_above and self.queued_bytes <= LOW_WATER_BYTES:
            self._was_above = False
            return True
        return False

    def limit(self, limit: Limit, now: float) -> None:
        """Obey the relay's limit from now on."""
        self._bytes_per_second = limit.bytes_per_second
        self._next_at = now + limit.paused_for

    def deadline(self) -> float | None:
        """Return when the next frame may be taken, or None if none is waiting."""
        return self._next_at if self.queued_bytes else None

    def clear(self) -> None:
        """Drop everything, and forget the limit: both belong to one connection."""
        for queue in self._queues:
            queue.clear()
        self.queued_bytes = 0
        self._bytes_per_second, self._next_at, self._was_above = 0, 0.0, False
