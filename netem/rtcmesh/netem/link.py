"""A one-way pipe that can be impaired."""

import enum
import heapq
import math
from dataclasses import dataclass, fields
from random import Random
from typing import Generic, NamedTuple, Protocol, TypeVar


class Sized(Protocol):
    """What a link can carry."""

    @property
    def size(self) -> int:
        """The length in bytes of the whole IP packet."""
        ...


P = TypeVar("P", bound=Sized)

JITTER_TIME_CONSTANT = 0.5
"""Seconds over which the jitter of a link forgets what it was."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LinkConfig:
    """How one direction of a path treats packets. The default is a perfect wire."""

    delay: float = 0.0
    """Mean one-way delay in seconds."""
    jitter: float = 0.0
    """Standard deviation in seconds of a delay that wanders (an Ornstein-Uhlenbeck process); order is kept."""
    loss: float = 0.0
    """Probability that a packet is lost, each independently of the others."""
    duplication: float = 0.0
    """Probability that a packet enters the link twice."""
    reordering: float = 0.0
    """Probability that a packet is held back by `reordering_delay` so that later ones overtake it (RFC 4737)."""
    reordering_delay: float = 0.05
    """Seconds by which a reordered packet is held back."""
    rate_bytes_per_second: float | None = None
    """How fast packets leave the queue at the entrance, one after another; None: all at once."""
    max_queue_bytes: int = 256 * 1024
    """What waits there at most, the packet that is leaving included; one that does not fit is dropped."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value: float | None = getattr(self, field.name)
            if value is not None and (not math.isfinite(value) or value < 0):
                raise ValueError(f"{field.name} must be finite and not negative, not {value}")
        if self.rate_bytes_per_second == 0:
            raise ValueError("rate_bytes_per_second must be positive; cut a link that is to carry nothing")
        for name in ("loss", "duplication", "reordering"):
            if getattr(self, name) > 1:
                raise ValueError(
                    f"{name} is a probability and cannot exceed 1, as {getattr(self, name)} does"
                )


@dataclass(slots=True)
class LinkCounters:
    """What became of the packets given to a link: sent + duplicated = delivered + lost + dropped + cut + in flight."""

    sent: int = 0
    duplicated: int = 0
    delivered: int = 0
    lost: int = 0
    dropped: int = 0
    cut: int = 0
    reordered: int = 0


class Fate(enum.Enum):
    """What a link decided about a packet when it arrived."""

    CARRIED = "carried"
    LOST = "lost"
    DROPPED = "dropped"
    CUT = "cut"


class Arrival(NamedTuple, Generic[P]):
    """A packet at the far end of a link, and when it got there."""

    at: float
    packet: P


class Link(Generic[P]):
    """Carries packets one way, and decides everything about a packet when it is sent.

    Packets that are not held back for reordering arrive in the order in which they were sent, whatever the jitter or
    a new configuration does. A link that is cut, or configured anew, still delivers what is in flight: what waits in
    its queue leaves at the rate that held when it came. A packet that is lost takes no part of the rate.
    """

    def __init__(self, config: LinkConfig, random: Random) -> None:
        self.config = config
        """How packets sent from now on are treated; assign a new one at any time."""
        self.counters = LinkCounters()
        self.is_cut = False
        self._random = random
        self._flight: list[tuple[float, int, P]] = []
        self._entered = 0
        self._last_due = -math.inf
        self._busy_until = -math.inf
        self._wander = 0.0
        self._wandered_at = -math.inf

    @property
    def in_flight(self) -> int:
        """How many packets are between the two ends."""
        return len(self._flight)

    def queued_bytes(self, now: float) -> float:
        """How much waits for its turn to leave, at the rate that holds now."""
        rate = self.config.rate_bytes_per_second
        return 0.0 if rate is None else max(0.0, self._busy_until - now) * rate

    def cut(self) -> None:
        """Let no further packet in until `heal`."""
        self.is_cut = True

    def heal(self) -> None:
        """Carry packets again."""
        self.is_cut = False

    def send(self, packet: P, now: float) -> Fate:
        """Take a packet in and say what becomes of it; `CARRIED` when at least one copy arrives."""
        self.counters.sent += 1
        fate = self._enter(packet, now)
        if self._happens(self.config.duplication):
            self.counters.duplicated += 1
            copy_fate = self._enter(packet, now)
            fate = fate if fate is Fate.CARRIED else copy_fate
        return fate

    def deadline(self) -> float | None:
        """When the next packet arrives."""
        return self._flight[0][0] if self._flight else None

    def arrivals(self, now: float) -> list[Arrival[P]]:
        """Hand over the packets that arrived up to `now`, in order of arrival."""
        arrived: list[Arrival[P]] = []
        while self._flight and self._flight[0][0] <= now:
            due, _, packet = heapq.heappop(self._flight)
            arrived.append(Arrival(due, packet))
        self.counters.delivered += len(arrived)
        return arrived

    def _enter(self, packet: P, now: float) -> Fate:
        if self.is_cut:
            self.counters.cut += 1
            return Fate.CUT
        if self._happens(self.config.loss):
            self.counters.lost += 1
            return Fate.LOST
        if not self._queue(packet.size, now):
            self.counters.dropped += 1
            return Fate.DROPPED
        due = max(max(now, self._busy_until) + self._delay(now), self._last_due)
        if self._happens(self.config.reordering):
            self.counters.reordered += 1
            due += self.config.reordering_delay
        else:
            self._last_due = due
        heapq.heappush(self._flight, (due, self._entered, packet))
        self._entered += 1
        return Fate.CARRIED

    def _queue(self, size: int, now: float) -> bool:
        """Put a packet behind those that wait at the entrance, if there is room; an empty queue takes any."""
        rate = self.config.rate_bytes_per_second
        if rate is None:
            return True
        waiting = self.queued_bytes(now)
        if waiting and waiting + size > self.config.max_queue_bytes:
            return False
        self._busy_until = max(now, self._busy_until) + size / rate
        return True

    def _happens(self, probability: float) -> bool:
        return probability > 0 and self._random.random() < probability

    def _delay(self, now: float) -> float:
        if self.config.jitter == 0:
            return self.config.delay
        if now > self._wandered_at:
            rho = math.exp((self._wandered_at - now) / JITTER_TIME_CONSTANT)
            self._wander = rho * self._wander + math.sqrt(1 - rho * rho) * self._random.gauss(0, 1)
            self._wandered_at = now
        return max(0.0, self.config.delay + self.config.jitter * self._wander)
