"""A queue that may drop packets it has taken in."""

from __future__ import annotations

import enum
import math
from collections import deque
from typing import Generic, NamedTuple, TypeVar

from .carriable import Carriable
from .codel import CoDel
from .fate import Fate
from .pace import Pace

P = TypeVar("P", bound=Carriable)


class QueueDiscipline(enum.Enum):
    """Which packet gives way."""

    TAIL_DROP = "tail-drop"
    """The newcomer that finds no room."""
    HEAD_DROP = "head-drop"
    """The oldest of those that wait, for a newcomer that finds no room."""
    CODEL = "codel"
    """Now and then the next one to leave, while the queue stands for too long (RFC 8289); also a newcomer without
    room."""


class Waiting(NamedTuple, Generic[P]):
    """A packet in a queue."""

    since: float
    packet: P


class Drop(NamedTuple, Generic[P]):
    """A packet that a queue gave up after it had taken it in, and why: for want of room, or by CoDel."""

    fate: Fate
    packet: P


class Line(Generic[P]):
    """A queue whose packets may be dropped until the moment in which they begin to leave."""

    def __init__(self, pace: Pace, *, codel: bool) -> None:
        self.pace = pace
        self._drops: list[Drop[P]] = []
        self._codel = CoDel() if codel else None
        self._waiting: deque[Waiting[P]] = deque()
        self._waiting_bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def waiting_bytes(self, now: float) -> float:
        """Return how much has not left."""
        return self._waiting_bytes + self.pace.waiting_bytes(now)

    def enter(self, packet: P, now: float) -> bool:
        """Put a packet at the end, if there is room; call `departures` before.

        Nothing gives way to a newcomer that would find no room all the same.
        """
        size = packet.size
        if not self.pace.has_room(size, self._waiting_bytes if self._codel else 0, now):
            return False
        while self._waiting and not self.pace.has_room(size, self._waiting_bytes, now):
            self._drops.append(Drop(Fate.DROPPED, self._remove().packet))
        self._waiting.append(Waiting(now, packet))
        self._waiting_bytes += size
        return True

    def deadline(self) -> float | None:
        """When the next packet begins to leave."""
        return max(self.pace.free_at, self._waiting[0].since) if self._waiting else None

    def departures(self, now: float) -> list[tuple[float, P]]:
        """Hand over the packets that began to leave up to `now`, each with the time at which it has left."""
        departed: list[tuple[float, P]] = []
        while (at := self.deadline()) is not None and at <= now:
            since, packet = self._remove()
            if self._codel and self._codel.drops(at - since, self._waiting_bytes, at):
                self._drops.append(Drop(Fate.SHED, packet))
            else:
                departed.append((self.pace.serve(packet.size, at), packet))
        return departed

    def take_drops(self) -> list[Drop[P]]:
        """Hand over the packets that were given up since the last call."""
        drops, self._drops = self._drops, []
        return drops

    def settle(self) -> list[tuple[float, P]]:
        """Hand over all that waits, as if nothing of it were dropped."""
        self._codel = None
        return self.departures(math.inf)

    def _remove(self) -> Waiting[P]:
        waiting = self._waiting.popleft()
        self._waiting_bytes -= waiting.packet.size
        return waiting
