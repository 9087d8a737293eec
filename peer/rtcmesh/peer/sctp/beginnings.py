"""Which messages may be begun in one packet and ended in another, where others are under way as well (RFC 8260).

The remote end has to hold the parts of a message until it is complete. If parts of many messages filled its window,
none of them would ever be. So those under way are bounded together, one of them being always allowed; who may not begin
is held, and let go by priority, in the order of start-time fair queueing (Goyal, Vin, Cheng 1996): nobody waits for
ever. Smaller messages have a part of the window of their own, and do not wait for larger ones.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from math import inf

from .out_stream import OutStream

SMALLER = 32
"""What part of the remote window a message is at most that does not wait for larger ones to be complete."""


class _Share:
    """A part of the remote window, the messages under way in it, and the streams that wait for it."""

    __slots__ = ("budget", "granted", "held")

    def __init__(self) -> None:
        self.budget: float = inf
        self.granted = 0
        """How large the messages are together that are under way, or may be."""
        self.held: list[tuple[float, int, OutStream]] = []
        """A heap, by the virtual time at which a message would begin if all streams were served by their priority."""

    def has_room(self, size: int) -> bool:
        return not self.granted or self.granted + size <= self.budget


class Beginnings:
    """Who may begin, and who is held until then.

    Whoever is held waits for a message that is under way on a stream that is not: there is always one.
    """

    def __init__(self) -> None:
        self._larger, self._smaller = _Share(), _Share()
        self._most_smaller: float = inf
        self._time = 0.0
        """Virtual: the bytes that a stream has had by now for each byte of its quantum."""
        self._number = 0

    def agreed(self, remote_window: int) -> None:
        """Note how much the remote end holds. Call it before anything is sent."""
        self._larger.budget, self._smaller.budget = remote_window // 2, remote_window // 4
        self._most_smaller = remote_window // SMALLER

    @property
    def granted(self) -> int:
        """How large the messages are together that are under way, or may be."""
        return self._larger.granted + self._smaller.granted

    def may_begin(self, size: int) -> bool:
        """Return whether a message may begin now, before those that are held."""
        share = self._share(size)
        return not share.held and share.has_room(size)

    def hold(self, stream: OutStream) -> None:
        """Let a stream wait until its first message may begin."""
        self._number += 1
        share = self._share(_first(stream))
        heappush(share.held, (self._start(stream), self._number, stream))

    def forget(self, stream: OutStream) -> None:
        """Let a stream that is held wait no longer."""
        share = self._share(_first(stream))
        share.held = [entry for entry in share.held if entry[2] is not stream]
        heapify(share.held)

    def settle(self, stream: OutStream) -> list[OutStream]:
        """Note what of a stream has ended or begun. Returns the streams whose first message may begin now."""
        share = None
        if stream.granted and stream.taken != stream.granted_at:
            share = self._share(stream.granted)
            share.granted -= stream.granted
            stream.granted = 0
        if stream.offset and not stream.granted:
            self._time = max(self._time, self._start(stream))
            self._grant(stream)
        return [] if share is None else self._release(share)

    def _release(self, share: _Share) -> list[OutStream]:
        released: list[OutStream] = []
        while share.held and share.has_room(_first(share.held[0][2])):
            start, _, stream = heappop(share.held)
            self._time = max(self._time, start)
            self._grant(stream)
            released.append(stream)
        return released

    def _start(self, stream: OutStream) -> float:
        """Return when the first message of a stream would begin, and note when it would be over."""
        start = max(self._time, stream.finish)
        stream.finish = start + _first(stream) / stream.quantum
        return start

    def _grant(self, stream: OutStream) -> None:
        stream.granted, stream.granted_at = _first(stream), stream.taken
        self._share(stream.granted).granted += stream.granted

    def _share(self, size: int) -> _Share:
        return self._smaller if size <= self._most_smaller else self._larger


def _first(stream: OutStream) -> int:
    """Return the size of the first message that waits."""
    return len(stream.queue[0][1])
