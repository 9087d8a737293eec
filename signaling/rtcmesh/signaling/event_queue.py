"""Events on their way to the application: bounded, in order, with an end."""

import asyncio
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class EventQueue(Generic[T]):
    """At most `limit` items wait; `put` waits while it is full. For one producer and one consumer."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: deque[T] = deque()
        self._changed = asyncio.Event()
        self._ended = False
        self._error: Exception | None = None

    @property
    def is_full(self) -> bool:
        """Whether `put` would wait."""
        return len(self._items) >= self._limit and not self._ended

    async def put(self, item: T) -> None:
        """Append the item once there is room; after the end it is dropped."""
        while self.is_full:
            self._changed.clear()
            await self._changed.wait()
        if not self._ended:
            self._items.append(item)
            self._changed.set()

    async def get(self) -> T:
        """Return the next item; at the end raise its error, or `StopAsyncIteration`. Cancelling loses none."""
        while not self._items:
            if self._ended:
                raise StopAsyncIteration if self._error is None else self._error
            self._changed.clear()
            await self._changed.wait()
        self._changed.set()
        return self._items.popleft()

    def end(self, error: Exception | None) -> None:
        """End the queue: with an error after the items that wait, without one at once. The first end counts."""
        if not self._ended:
            self._ended, self._error = True, error
            if error is None:
                self._items.clear()
            self._changed.set()
