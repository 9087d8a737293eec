"""Which messages may be begun in one packet and ended in another, where others are under way as well (RFC 8260).

The remote end has to hold the parts of a message until it is complete. If parts of many messages filled its window,
none of them would ever be. So those under way are bounded together, one of them being always allowed; who may not begin
is held, and let go by priority, in the order of start-time fair queueing (Goyal, Vin, Cheng 1996): nobody waits for
ever.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from math import inf

from .out_stream import OutStream


class Beginnings:
    """Messages that are under way, or may be, and the streams whose next message may not begin yet."""

    def __init__(self) -> None:
        self.budget: float = inf
        """How large messages may be together that are under way."""
        self.granted = 0
        """How large they are."""
        self._held: list[tuple[float, int, OutStream]] = []
        """A heap, by the virtual time at which a message would begin if all streams were served by their priority."""
        self._time = 0.0
        self._number = 0

    def may_begin(self, size: int) -> bool:
        """Return whether a message may begin before those that are held."""
        return not self._held and self._has_room(size)

    def begun(self, stream: OutStream) -> None:
        """Note that the first message of a stream has begun."""
        self._start(stream)
        self._grant(stream)

    def ended(self, stream: OutStream) -> None:
        """Note that the message of a stream that was under way is no more."""
        self.granted -= stream.granted
        stream.granted = 0

    def hold(self, stream: OutStream) -> None:
        """Let a stream wait until its first message may begin."""
        self._number += 1
        heappush(self._held, (self._start(stream), self._number, stream))

    def release(self) -> list[OutStream]:
        """Return the streams whose first message may begin now, and count it as under way."""
        released: list[OutStream] = []
        while self._held and self._has_room(len(self._held[0][2].queue[0][1])):
            self._time, _, stream = heappop(self._held)
            self._grant(stream)
            released.append(stream)
        return released

    def forget(self, stream: OutStream) -> None:
        """Let a stream that may be held wait no longer."""
        self._held = [entry for entry in self._held if entry[2] is not stream]
        heapify(self._held)

    def _start(self, stream: OutStream) -> float:
        start = max(self._time, stream.finish)
        stream.finish = start + len(stream.queue[0][1]) / stream.quantum
        return start

    def _grant(self, stream: OutStream) -> None:
        size = len(stream.queue[0][1])
        self.granted += size
        stream.granted, stream.granted_at = size, stream.taken

    def _has_room(self, size: int) -> bool:
        return not self.granted or self.granted + size <= self.budget
