"""Hosts joined by links."""

import heapq
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from .link import Arrival, Fate, Link, LinkConfig
from .packet import Endpoint, Kind, Packet
from .segment import Segment


class TraceEntry(NamedTuple):
    """One thing that happened to a packet."""

    time: float
    kind: Kind
    source: Endpoint
    destination: Endpoint
    size: int
    """Length in IP bytes."""
    fate: str
    """On entry the value of a `Fate`, or `unroutable`; on exit `delivered`, once per copy."""


Trace = Callable[[TraceEntry], None]


@dataclass(slots=True)
class _Lane:
    """A link with the arrival time under which the network has it in its agenda."""

    number: int
    link: Link[Packet]
    announced: float = math.inf


class Network:
    """Carries packets between hosts over one link per ordered pair of hosts.

    Packets are handed over in order of arrival time, then of sequence number. Every link has its own randomness,
    derived from the seed and the names of its two hosts, so traffic of one pair does not change the fortune of
    another. The link of a host to itself is perfect until it is configured.
    """

    def __init__(self, *, seed: int, link: LinkConfig | None = None, trace: Trace | None = None) -> None:
        self.trace = trace
        """Told of everything that happens to a packet."""
        self.unroutable = 0
        """Packets sent to an address that no host has."""
        self.unreachable = 0
        """Datagrams that arrived at a port that no socket had, as the owner of the sockets counts them."""
        self._seed = seed
        self._default = link or LinkConfig()
        self._host_of: dict[str, str] = {}
        self._lanes: dict[tuple[str, str], _Lane] = {}
        self._agenda: list[tuple[float, int, _Lane]] = []
        self._sequence = 0

    def attach(self, host: str, addresses: Iterable[str]) -> None:
        """Give a host its addresses. Raises ValueError when another one has one of them."""
        for address in addresses:
            if address in self._host_of:
                raise ValueError(f"{address} already belongs to {self._host_of[address]}")
            self._host_of[address] = host

    def host_of(self, address: str) -> str | None:
        """Name the host that has an address."""
        return self._host_of.get(address)

    def link(self, source: str, destination: str) -> Link[Packet]:
        """Return the link from one host to another."""
        return self._lane(source, destination).link

    def links(self) -> dict[tuple[str, str], Link[Packet]]:
        """Return the links that were used or configured, by (source, destination)."""
        return {pair: lane.link for pair, lane in self._lanes.items()}

    def send(
        self, kind: Kind, source: Endpoint, destination: Endpoint, payload: bytes | Segment, now: float
    ) -> None:
        """Send one packet; it comes out of `packets_due` when and if it arrives."""
        packet = Packet(self._sequence, kind, source, destination, payload)
        self._sequence += 1
        sender, receiver = self._host_of.get(source.address), self._host_of.get(destination.address)
        if sender is None or receiver is None:
            self.unroutable += 1
            self._record(packet, "unroutable", now)
            return
        lane = self._lane(sender, receiver)
        fate = lane.link.send(packet, now)
        self._record(packet, fate.value, now)
        if fate is Fate.CARRIED:
            self._announce(lane)

    def deadline(self) -> float | None:
        """When the next packet arrives."""
        while self._agenda and self._agenda[0][0] != self._agenda[0][2].announced:
            heapq.heappop(self._agenda)
        return self._agenda[0][0] if self._agenda else None

    def packets_due(self, now: float) -> list[Packet]:
        """Hand over the packets that arrived up to `now`."""
        arrivals: list[Arrival[Packet]] = []
        while (deadline := self.deadline()) is not None and deadline <= now:
            lane = heapq.heappop(self._agenda)[2]
            lane.announced = math.inf
            arrivals += lane.link.arrivals(now)
            self._announce(lane)
        arrivals.sort(key=lambda arrival: (arrival.at, arrival.packet.sequence))
        for arrival in arrivals:
            self._record(arrival.packet, "delivered", arrival.at)
        return [arrival.packet for arrival in arrivals]

    def _lane(self, source: str, destination: str) -> _Lane:
        pair = (source, destination)
        if pair not in self._lanes:
            config = self._default if source != destination else LinkConfig()
            link: Link[Packet] = Link(config, Random(f"{self._seed}/{source}/{destination}"))
            self._lanes[pair] = _Lane(len(self._lanes), link)
        return self._lanes[pair]

    def _announce(self, lane: _Lane) -> None:
        deadline = lane.link.deadline()
        if deadline is not None and deadline < lane.announced:
            lane.announced = deadline
            heapq.heappush(self._agenda, (deadline, lane.number, lane))

    def _record(self, packet: Packet, fate: str, now: float) -> None:
        if self.trace is not None:
            self.trace(TraceEntry(now, packet.kind, packet.source, packet.destination, packet.size, fate))
