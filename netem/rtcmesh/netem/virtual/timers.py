"""The timers of an event loop on virtual time."""

import asyncio
import heapq
from collections.abc import Callable
from contextvars import Context
from typing import TypeVarTuple, Unpack

Ts = TypeVarTuple("Ts")

MIN_CANCELLED_TO_SWEEP = 100


class Timer(asyncio.TimerHandle):
    """A timer that tells its queue when it is cancelled."""

    def __init__(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        args: tuple[*Ts],
        loop: asyncio.AbstractEventLoop,
        *,
        context: Context | None,
        queue: "TimerQueue",
    ) -> None:
        super().__init__(when, callback, args, loop, context)
        self._queue: TimerQueue | None = queue

    def cancel(self) -> None:
        """Keep the callback from running."""
        is_news = self._queue is not None and not self.cancelled()
        super().cancel()
        if is_news and self._queue is not None:
            self._queue.note_cancelled()

    def leave_queue(self) -> None:
        """Note that the queue has let go of this timer."""
        self._queue = None


class TimerQueue:
    """Keeps timers in order of time, and equal times in the order in which they were set."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._sequence = 0
        self._cancelled = 0

    def push(self, timer: Timer) -> None:
        """Add a timer."""
        heapq.heappush(self._heap, (timer.when(), self._sequence, timer))
        self._sequence += 1

    def note_cancelled(self) -> None:
        """Count a cancelled timer, and sweep them out once they are the majority."""
        self._cancelled += 1
        if self._cancelled > MIN_CANCELLED_TO_SWEEP and self._cancelled * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if not entry[2].cancelled()]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def deadline(self) -> float | None:
        """When the next timer is due."""
        while self._heap and self._heap[0][2].cancelled():
            heapq.heappop(self._heap)
            self._cancelled -= 1
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> list[Timer]:
        """Take out the timers that are due."""
        timers: list[Timer] = []
        heap = self._heap
        while heap and heap[0][0] <= now:
            timer = heapq.heappop(heap)[2]
            if timer.cancelled():
                self._cancelled -= 1
            else:
                timer.leave_queue()
                timers.append(timer)
        return timers
