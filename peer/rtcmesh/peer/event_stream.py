"""One reader's view of what happens in a mesh."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable

from .events import EventsMissed, MeshEvent


class EventStream:
    """Events in the order in which they happened, pulled with `async for`; ends when the mesh is closed.

    At most `limit` events wait: beyond that the oldest are dropped, and `EventsMissed` says how many, in their place.
    """

    def __init__(self, limit: int, first: Iterable[MeshEvent]) -> None:
        self._limit = limit
        self._events: deque[MeshEvent] = deque(first)
        self._missed = 0
        self._closed = False
        self._changed = asyncio.Event()

    def put(self, event: MeshEvent) -> None:
        """Add an event."""
        self._events.append(event)
        while len(self._events) > self._limit:
            self._events.popleft()
            self._missed += 1
        self._changed.set()

    def close(self) -> None:
        """Let the reader have what is there, and then the end."""
        self._closed = True
        self._changed.set()

    def __aiter__(self) -> AsyncIterator[MeshEvent]:
        return self

    async def __anext__(self) -> MeshEvent:
        while not self._events:
            if self._closed:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        if self._missed:
            missed, self._missed = self._missed, 0
            return EventsMissed(missed)
        return self._events.popleft()
