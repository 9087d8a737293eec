"""A one-way pipe that can be impaired."""

import heapq
import math
from random import Random
from typing import Generic, NamedTuple, TypeVar

from .models.assembly import Assembly, pace_of
from .models.carriable import Carriable
from .models.config import LinkConfig as LinkConfig  # noqa: PLC0414 - a link's own words, for all who import them with it
from .models.fate import Fate as Fate  # noqa: PLC0414
from .models.fate import LinkCounters as LinkCounters  # noqa: PLC0414
from .models.jitter import NetemJitter
from .models.line import Drop, Line, QueueDiscipline
from .models.pace import Pace

P = TypeVar("P", bound=Carriable)


class Arrival(NamedTuple, Generic[P]):
    """A packet at the far end of a link, and when it got there."""

    at: float
    packet: P


class Link(Generic[P]):
    """Carries packets one way, and decides about a packet when it is sent.

    Packets that are not held back for reordering arrive in the order in which they were sent, whatever the jitter (but
    netem's) or a new configuration does. A link that is cut, or configured anew, still delivers what is in flight: what
    waits in its queue leaves at the rate that held when it came. A part that a new configuration leaves as it was goes
    on as it was. A packet that is lost takes no part of the rate.

    Two queues decide later, and drop packets that were `CARRIED` at first: `HEAD_DROP` and `CODEL`. Those are in
    `given_up`.
    """

    def __init__(self, config: LinkConfig, random: Random) -> None:
        self.counters = LinkCounters()
        self.is_cut = False
        self.given_up: list[Drop[P]] = []
        """What the queue dropped in the last call of `send` or `arrivals`, though it had been let in."""
        self._config = config
        self._random = random
        self._assembly = Assembly(random)
        self._flight: list[tuple[float, int, P]] = []
        self._entered = 0
        self._last_due = -math.inf
        self._free_at = -math.inf
        self._pace: Pace | None = None
        self._last_pace: Pace | None = None
        self._line: Line[P] | None = None
        self._open_queue()
        self._take_parts()

    @property
    def config(self) -> LinkConfig:
        """How packets sent from now on are treated; assign a new one at any time."""
        return self._config

    @config.setter
    def config(self, config: LinkConfig) -> None:
        is_queue_kept = config.queue_key == self._config.queue_key
        if not is_queue_kept:
            self._close_queue()
        self._config = config
        self._take_parts()
        if not is_queue_kept:
            self._open_queue()

    @property
    def in_flight(self) -> int:
        """How many packets are between the two ends."""
        return len(self._flight) + (0 if self._line is None else len(self._line))

    def queued_bytes(self, now: float) -> float:
        """How much waits for its turn to leave."""
        if self._line is not None:
            self._advance(self._line, now)
            return self._line.waiting_bytes(now)
        return 0.0 if self._pace is None else self._pace.waiting_bytes(now)

    def cut(self) -> None:
        """Let no further packet in until `heal`."""
        self.is_cut = True

    def heal(self) -> None:
        """Carry packets again."""
        self.is_cut = False

    def pass_at_once(self, now: float) -> bool:
        """Carry a packet in no time, where nothing would hold it up or take it out. False: it has to be sent."""
        if not self._is_perfect or self.is_cut or self._flight or max(self._last_due, self._free_at) > now:
            return False
        self.counters.sent += 1
        self.counters.delivered += 1
        return True

    def send(self, packet: P, now: float) -> Fate:
        """Take a packet in and say what becomes of it; `CARRIED` when at least one copy is let in."""
        if self.given_up:
            self.given_up = []
        self.counters.sent += 1
        fate = self._enter(packet, now)
        if self._duplication and self._random.random() < self._duplication:
            self.counters.duplicated += 1
            copy_fate = self._enter(packet, now)
            fate = fate if fate is Fate.CARRIED else copy_fate
        return fate

    def deadline(self) -> float | None:
        """When to ask for `arrivals`: a packet arrives, or the next one leaves a queue that may drop it instead."""
        due = self._flight[0][0] if self._flight else None
        if self._line is not None:
            leaves_at = self._line.deadline()
            if leaves_at is not None and (due is None or leaves_at < due):
                return leaves_at
        return due

    def arrivals(self, now: float) -> list[Arrival[P]]:
        """Hand over the packets that arrived up to `now`, in order of arrival."""
        if self.given_up:
            self.given_up = []
        if self._line is not None:
            self._advance(self._line, now)
        arrived: list[Arrival[P]] = []
        flight = self._flight
        while flight and flight[0][0] <= now:
            due, _, packet = heapq.heappop(flight)
            arrived.append(Arrival(due, packet))
        self.counters.delivered += len(arrived)
        return arrived

    def _enter(self, packet: P, now: float) -> Fate:
        if self.is_cut:
            return self._count(Fate.CUT)
        for gate in self._gates:
            fate = gate.judge(packet, now)
            if fate is not None:
                return self._count(fate)
        if self._damage and self._random.random() < self._damage:
            packet = packet.damaged(self._random)
            self.counters.damaged += 1
        if self._line is not None:
            return self._wait(self._line, packet, now)
        left_at = max(now, self._free_at) if self._pace is None else self._pace.offer(packet.size, now)
        if left_at is None:
            return self._count(Fate.DROPPED)
        self._fly(packet, left_at, now)
        return Fate.CARRIED

    def _fly(self, packet: P, left_at: float, now: float) -> None:
        """Put a packet on its way that left the queue; its delay is that of `now`."""
        delay = self._delay
        if self._offsets:
            for offset in self._offsets:
                delay += offset.offset(now)
            delay = max(0.0, delay)
        due = left_at + delay
        if due < self._last_due and self._keeps_order:
            due = self._last_due
        if self._reordering and self._random.random() < self._reordering:
            self.counters.reordered += 1
            due += self._config.reordering_delay
        else:
            self._last_due = due
        heapq.heappush(self._flight, (due, self._entered, packet))
        self._entered += 1

    def _wait(self, line: Line[P], packet: P, now: float) -> Fate:
        self._advance(line, now)
        if not line.enter(packet, now):
            return self._count(Fate.DROPPED)
        self._advance(line, now)
        return Fate.CARRIED

    def _advance(self, line: Line[P], now: float) -> None:
        """Put on their way what began to leave the queue."""
        for left_at, packet in line.departures(now):
            self._fly(packet, left_at, left_at)
        self._note_drops(line)

    def _count(self, fate: Fate) -> Fate:
        self.counters.count(fate)
        return fate

    def _note_drops(self, line: Line[P]) -> None:
        for drop in line.take_drops():
            self._count(drop.fate)
            self.given_up.append(drop)

    def _take_parts(self) -> None:
        """Look once at what is configured, so that what is not costs a packet nothing."""
        config = self._config
        self._gates, self._offsets = self._assembly.parts(config)
        self._delay = config.delay
        self._duplication = config.duplication
        self._reordering = config.reordering
        self._damage = config.corruption if config.corruption_is_repaired else 0.0
        self._keeps_order = not isinstance(config.jitter, NetemJitter)
        is_free = config.rate_bytes_per_second is None and config.rate_trace is None
        does_nothing = not (
            self._gates or self._offsets or self._duplication or self._reordering or self._damage
        )
        self._is_perfect = is_free and does_nothing and config.delay == 0

    def _open_queue(self) -> None:
        self._pace = pace_of(self._config, self._last_pace)
        discipline = self._config.queue
        if self._pace is not None and discipline is not QueueDiscipline.TAIL_DROP:
            self._line = Line(self._pace, codel=discipline is QueueDiscipline.CODEL)

    def _close_queue(self) -> None:
        """Let what waits leave at the rate that held so far."""
        if self._line is not None:
            for left_at, packet in self._line.settle():
                self._fly(packet, left_at, left_at)
            self._note_drops(self._line)
            self._line = None
        if self._pace is not None:
            if self._pace.free_at > self._free_at:  # else nothing was put into it
                self._last_pace = self._pace
            self._free_at = self._pace.free_at
