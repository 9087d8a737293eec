"""How fast packets leave a bottleneck, one after another, and how many may wait for it."""

import math
from typing import NamedTuple, Protocol

from .rate_trace import Capacity


class QueueLimit(NamedTuple):
    """How much may wait, what is leaving included; an empty queue takes any packet."""

    size: float
    """In bytes."""
    delay: float | None = None
    """In seconds until the newcomer has left; takes the place of `size`."""


class Pace(Protocol):
    """Serves packets in the order in which they are put in."""

    @property
    def free_at(self) -> float:
        """When the last of the packets has left."""
        ...

    def offer(self, size: int, now: float) -> float | None:
        """Put a packet behind the others if there is room, and return when it has left."""
        ...

    def serve(self, size: int, now: float) -> float:
        """Put a packet behind the others in any case, and return when it has left."""
        ...

    def has_room(self, size: int, behind: int, now: float) -> bool:
        """Tell whether there is room for a packet behind so many bytes that have not been put in."""
        ...

    def waiting_bytes(self, now: float) -> float:
        """Return how much has not left."""
        ...


class _Successor:
    """What a pace follows: packets that another one had before still leave as that one said."""

    def __init__(self, before: Pace | None) -> None:
        self.free_at = -math.inf if before is None else before.free_at
        self._before = before
        self._begins_at = self.free_at

    def _inherited(self, now: float) -> float:
        """Return how many bytes have not left of what the pace before had."""
        if self._before is None:
            return 0.0
        if now >= self._begins_at:
            self._before = None
            return 0.0
        return self._before.waiting_bytes(now)


class ConstantPace(_Successor):
    """So many bytes a second."""

    def __init__(self, rate: float, limit: QueueLimit, before: Pace | None = None) -> None:
        super().__init__(before)
        self._rate = rate
        self._limit = limit

    def offer(self, size: int, now: float) -> float | None:
        """Put a packet behind the others if there is room, and return when it has left."""
        free_at = self.free_at
        if free_at <= now:
            free_at = now
        elif not self.has_room(size, 0, now):
            return None
        self.free_at = free_at = free_at + size / self._rate
        return free_at

    def serve(self, size: int, now: float) -> float:
        """Put a packet behind the others in any case, and return when it has left."""
        self.free_at = max(now, self.free_at) + size / self._rate
        return self.free_at

    def has_room(self, size: int, behind: int, now: float) -> bool:
        """Tell whether there is room for a packet behind so many bytes that have not been put in."""
        if self.free_at <= now and not behind:
            return True
        if self._limit.delay is not None:
            return max(now, self.free_at) - now + (behind + size) / self._rate <= self._limit.delay
        return self.waiting_bytes(now) + behind + size <= self._limit.size

    def waiting_bytes(self, now: float) -> float:
        """Return how much has not left."""
        if self.free_at <= now:
            return 0.0
        inherited = self._inherited(now) if self._before is not None else 0.0
        return (self.free_at - max(now, self._begins_at)) * self._rate + inherited


class TracedPace(_Successor):
    """As a trace has it, which begins with the first packet."""

    def __init__(self, capacity: Capacity, limit: QueueLimit, before: Pace | None = None) -> None:
        super().__init__(before)
        self._capacity = capacity
        self._limit = limit
        self._began_at = math.nan
        self._served = 0.0

    def offer(self, size: int, now: float) -> float | None:
        """Put a packet behind the others if there is room, and return when it has left."""
        return self.serve(size, now) if self.has_room(size, 0, now) else None

    def serve(self, size: int, now: float) -> float:
        """Put a packet behind the others in any case, and return when it has left."""
        self._served, self.free_at = self._after(size, now)
        return self.free_at

    def has_room(self, size: int, behind: int, now: float) -> bool:
        """Tell whether there is room for a packet behind so many bytes that have not been put in."""
        waiting = self.waiting_bytes(now) + behind
        if not waiting:
            return True
        if self._limit.delay is None:
            return waiting + size <= self._limit.size
        return self._after(behind + size, now)[1] - now <= self._limit.delay

    def waiting_bytes(self, now: float) -> float:
        """Return how much has not left."""
        self._begin(now)
        own = max(0.0, self._served - self._passed(max(now, self._begins_at)))
        return own + self._inherited(now)

    def _after(self, size: int, now: float) -> tuple[float, float]:
        """Return how much the trace has served with so many bytes more, and when that is."""
        self._begin(now)
        begins_at = max(now, self.free_at)
        served = max(self._served, self._passed(begins_at)) + size
        return served, max(begins_at, self._began_at + self._capacity.reached(served))

    def _begin(self, now: float) -> None:
        if math.isnan(self._began_at):
            self._began_at = now

    def _passed(self, now: float) -> float:
        """Return how many bytes had their chance so far."""
        return self._capacity.before(now - self._began_at)
