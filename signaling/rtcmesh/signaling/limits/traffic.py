"""What one server takes on: who is let in now, later or not at all, and for how long it reads nothing from whom.

Whoever wants in too fast waits for a moment, or is refused with the time at which there will be a place. Whoever sends
too fast is read more slowly, and nothing of it is lost. What an event costs is the number of those who get it here.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from .address import UNKNOWN, Address
from .bucket import Bucket, Buckets, Rate
from .crowd import Crowd, Crowded

BYTES_PER_TOKEN = 4096
"""A message counts once, and once more for each so many bytes."""


class Limited(StrEnum):
    """Which limit somebody met."""

    ADDRESS_FULL = Crowded.TOO_MANY.value
    ADDRESS_RATE = Crowded.TOO_FAST.value
    JOIN_RATE = "join_rate"
    ROOM_RATE = "room_rate"
    CONNECTION_MESSAGES = "connection_messages"
    ADDRESS_MESSAGES = "address_messages"


@dataclass(frozen=True, kw_only=True)
class TrafficLimits:
    """How much one server takes; a rate of None has no limit."""

    max_connections_per_address: int = 1024
    """Connections at once from one address, behind a trusted proxy as well."""
    connections_per_address: Rate | None = field(default_factory=lambda: Rate(per_second=50, burst=500))
    """New connections from one address; more are refused with `rate_limited`."""
    connections: Rate | None = field(default_factory=lambda: Rate(per_second=500, burst=1000))
    """New connections in all; more wait for `max_wait`, or are refused with the time to come back at."""
    messages: Rate | None = field(default_factory=lambda: Rate(per_second=200, burst=4000))
    """Messages from one connection, a large one counting for several; a faster one is read at this rate."""
    messages_per_address: Rate | None = field(default_factory=lambda: Rate(per_second=4000, burst=40_000))
    """The same for all connections from one address together."""
    deliveries_per_room: Rate | None = field(default_factory=lambda: Rate(per_second=20_000, burst=200_000))
    """Messages to the members of one room at one server that presence, joins and departures cause.

    They come from the members at all servers, so each counts for as many as there are servers.
    """
    max_wait: float = 2.0
    """Seconds that somebody who wants in is kept waiting before it is refused instead."""
    max_pause: float = 5.0
    """Seconds that a connection is not read from at once, so that its heartbeat still gets through."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.max_connections_per_address < 1 or min(self.max_wait, self.max_pause) <= 0:
            raise ValueError("max_connections_per_address, max_wait and max_pause must be positive")


@dataclass(frozen=True, slots=True)
class Overload:
    """Nobody more is let in for this reason; in so many seconds there will be a place."""

    limit: Limited
    retry_after: float


class Traffic:
    """The limits that the connections of one server share; `counts` gets how often each was met.

    `servers` says how many share the rooms: what a room may cause is divided among them, as its members are.
    """

    def __init__(
        self,
        limits: TrafficLimits,
        counts: Counter[str],
        *,
        now: float,
        servers: Callable[[], int] = lambda: 1,
    ) -> None:
        self._counts = counts
        self._servers = servers
        self._limits = limits
        self._crowd = Crowd(
            max_at_once=limits.max_connections_per_address, rate=limits.connections_per_address
        )
        self._arrivals = None if limits.connections is None else Bucket(limits.connections, now=now)
        self._addresses = _buckets(limits.messages_per_address)
        self._rooms = _buckets(limits.deliveries_per_room)
        self._present: Counter[str] = Counter()

    def enter(self, address: Address, now: float) -> "Flow | Overload":
        """Let a connection in, or say why not; a `Flow` says how long it has to wait first, and must be closed."""
        wait = 0.0 if self._arrivals is None else self._arrivals.wait_for(1, now)
        if wait > self._limits.max_wait:
            return self._overload(Limited.JOIN_RATE, wait)
        if address != UNKNOWN:
            crowded = self._crowd.enter(address, now)
            if crowded is not None:
                return self._overload(Limited(crowded.value), self._limits.max_wait)
        if self._arrivals is not None:
            self._arrivals.take(1, now)
        return Flow(self, address, wait, now)

    def join(self, room: str, now: float) -> float | Overload:
        """Let a member in; return the seconds that it has to wait for it."""
        cost = self._servers() * 2 * self._present[room] + 1
        wait = 0.0 if self._rooms is None else self._rooms.wait_for(room, cost, now)
        if wait > self._limits.max_wait:
            return self._overload(Limited.ROOM_RATE, wait)
        if self._rooms is not None:
            self._rooms.take(room, cost, now)
        self._present[room] += 1
        return wait

    def leave(self, address: Address, room: str | None, now: float) -> None:
        """Note that a connection has ended, and what the others are told of it."""
        if room is not None:
            self.tell_room(room, now)
            self._present[room] -= 1
            if not self._present[room]:
                del self._present[room]
        if address != UNKNOWN:
            self._crowd.leave(address)

    def tell_room(self, room: str, now: float) -> float:
        """Note an event for all members of a room; return for how long whoever caused it is to pause."""
        if self._rooms is None:
            return 0.0
        return self._pause(
            Limited.ROOM_RATE, self._rooms.take(room, self._servers() * self._present[room], now)
        )

    def receive(self, bucket: Bucket | None, address: Address, size_bytes: int, now: float) -> float:
        """Note a message; return for how long its connection is to pause."""
        cost = 1 + size_bytes // BYTES_PER_TOKEN
        own = 0.0 if bucket is None else bucket.take(cost, now)
        shared = 0.0
        if self._addresses is not None and address != UNKNOWN:
            shared = self._addresses.take(address, cost, now)
        return max(
            self._pause(Limited.CONNECTION_MESSAGES, own), self._pause(Limited.ADDRESS_MESSAGES, shared)
        )

    @property
    def limits(self) -> TrafficLimits:
        """What is enforced."""
        return self._limits

    def _pause(self, limit: Limited, seconds: float) -> float:
        if seconds > 0:
            self._counts[limit.value] += 1
        return min(seconds, self._limits.max_pause)

    def _overload(self, limit: Limited, retry_after: float) -> Overload:
        self._counts[limit.value] += 1
        return Overload(limit, retry_after)


class Flow:
    """One connection's part of the traffic."""

    __slots__ = ("_address", "_bucket", "_room", "_traffic", "wait")

    def __init__(self, traffic: Traffic, address: Address, wait: float, now: float) -> None:
        self.wait = wait
        """Seconds that the connection has to wait before anything else."""
        self._traffic = traffic
        self._address = address
        self._room: str | None = None
        rate = traffic.limits.messages
        self._bucket = None if rate is None else Bucket(rate, now=now)

    def receive(self, size_bytes: int, now: float) -> float:
        """Note a message; return the seconds for which to read nothing."""
        return self._traffic.receive(self._bucket, self._address, size_bytes, now)

    def join(self, room: str, now: float) -> float | Overload:
        """Let the connection into a room, after so many seconds, or say why not."""
        answer = self._traffic.join(room, now)
        if not isinstance(answer, Overload):
            self._room = room
        return answer

    def tell_room(self, now: float) -> float:
        """Note an event for its whole room; return the seconds for which to read nothing."""
        return 0.0 if self._room is None else self._traffic.tell_room(self._room, now)

    def close(self, now: float) -> None:
        """Note the end of the connection."""
        self._traffic.leave(self._address, self._room, now)


def _buckets(rate: Rate | None) -> Buckets[str] | None:
    return None if rate is None else Buckets(rate)
