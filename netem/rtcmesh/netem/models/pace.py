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


class ConstantPace:
    """So many bytes a second."""

    def __init__(self, rate: float, limit: QueueLimit, free_at: float) -> None:
        self.free_at = free_at
        self._rate = rate
        self._max_bytes = limit.size if limit.delay is None else limit.delay * rate

    def offer(self, size: int, now: float) -> float | None:
        """Put a packet behind the others if there is room, and return when it has left."""
        free_at = self.free_at
        if free_at <= now:
            free_at = now
        elif (free_at - now) * self._rate + size > self._max_bytes:
            return None
        self.free_at = free_at = free_at + size / self._rate
        return free_at

    def serve(self, size: int, now: float) -> float:
        """Put a packet behind the others in any case, and return when it has left."""
        self.free_at = max(now, self.free_at) + size / self._rate
        return self.free_at

    def has_room(self, size: int, behind: int, now: float) -> bool:
        """Tell whether there is room for a packet behind so many bytes that have not been put in."""
        waiting = self.waiting_bytes(now) + behind
        return not waiting or waiting + size <= self._max_bytes

    def waiting_bytes(self, now: float) -> float:
        """Return how much has not left."""
        return (self.free_at - now) * self._rate if self.free_at > now else 0.0


class TracedPace:
    """As a trace has it, which begins with the first packet."""

    def __init__(self, capacity: Capacity, limit: QueueLimit, free_at: float) -> None:
        self.free_at = free_at
        self._capacity = capacity
        self._limit = limit
        self._began_at = math.nan
        self._served = 0.0

    def offer(self, size: int, now: float) -> float | None:
        """Put a packet behind the others if there is room, and return when it has left."""
        return self.serve(size, now) if self.has_room(size, 0, now) else None

    def serve(self, size: int, now: float) -> float:
        """Put a packet behind the others in any case, and return when it has left."""
        begins_at = max(now, self.free_at)
        self._served = max(self._served, self._passed(begins_at)) + size
        self.free_at = max(begins_at, self._began_at + self._capacity.reached(self._served))
        return self.free_at

    def has_room(self, size: int, behind: int, now: float) -> bool:
        """Tell whether there is room for a packet behind so many bytes that have not been put in."""
        waiting = self.waiting_bytes(now) + behind
        if not waiting:
            return True
        if self._limit.delay is None:
            return waiting + size <= self._limit.size
        served = max(self._served, self._passed(now)) + behind + size
        return self._began_at + self._capacity.reached(served) - now <= self._limit.delay

    def waiting_bytes(self, now: float) -> float:
        """Return how much has not left."""
        return max(0.0, self._served - self._passed(now))

    def _passed(self, now: float) -> float:
        """Return how many bytes had their chance so far."""
        if math.isnan(self._began_at):
            self._began_at = now
        return self._capacity.before(now - self._began_at)
