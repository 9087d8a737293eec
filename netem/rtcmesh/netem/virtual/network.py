"""Hosts and gateways joined by links."""

import heapq
import math
from collections.abc import Callable, Iterable
from functools import partial
from operator import itemgetter
from random import Random
from typing import NamedTuple

from rtcmesh.netem.link import Fate, Link, LinkConfig
from rtcmesh.netem.packet import Endpoint, Kind, Packet
from rtcmesh.netem.segment import Segment
from rtcmesh.netem.topology import INTERNET, NatConfig, Uplink

from .nat import Nat, Refusal
from .node import Ends, Gateway, Lane, Net, Node


class TraceEntry(NamedTuple):
    """One thing that happened to a packet."""

    time: float
    kind: Kind
    source: Endpoint
    """As it was where this happened: gateways change it, and the destination."""
    destination: Endpoint
    size: int
    """Length in IP bytes."""
    fate: str
    """`carried` once, when its host sent it; where it ends the value of another `Fate`, `unroutable`, `down` or the
    `Refusal` of a gateway; on exit `delivered`, once per copy."""


Trace = Callable[[TraceEntry], None]
Tap = Callable[[float, Packet, str, str | None], None]
"""Called with a time, a packet, its fate as a `TraceEntry` has it, and the host at which it was delivered."""


class Delivery(NamedTuple):
    """A packet that arrived at a host."""

    host: str
    packet: Packet


class Network:
    """Carries packets between hosts, along links and through gateways.

    The internet is a full mesh: every ordered pair of nodes in it has a link of its own, configured like `link` until
    it is configured otherwise. A node stands in it (`attach`), or is joined to it, or to the network below a gateway,
    by a link up and a link down (`join`, `join_gateway`). A packet goes up to the first network that knows its
    destination, and down from there; what comes to the internet for an address that nobody has there is unroutable.

    Packets are handed over in order of arrival time, then of sequence number. Every link has its own randomness,
    derived from the seed and the names of its two ends, so traffic of one link does not change the fortune of
    another. The link of a host to itself is perfect until it is configured.
    """

    def __init__(self, *, seed: int, link: LinkConfig | None = None, trace: Trace | None = None) -> None:
        self.trace = trace
        """Told of everything that happens to a packet."""
        self.tap: Tap | None = None
        """Told the same, and given the packet."""
        self.unroutable = 0
        """Packets sent to an address that nobody has where they came to."""
        self.unreachable = 0
        """Datagrams that arrived at a port that no socket had, as the owner of the sockets counts them."""
        self.parted = 0
        """Packets that a partition held up which no link could."""
        self._seed = seed
        self._default = link or LinkConfig()
        self._has_core = self._default != LinkConfig()
        self._internet = Net(INTERNET)
        self._nodes: dict[str, Node] = {}
        self._lanes: dict[tuple[str, str], Lane] = {}
        self._ends: dict[tuple[str, str], Ends] = {}
        self._parted: set[tuple[str, str]] = set()
        self._agenda: list[tuple[float, int, Lane]] = []
        self._arrived: list[tuple[float, Delivery]] = []
        self._sequence = 0

    # What it consists of

    def attach(self, host: str, addresses: Iterable[str]) -> None:
        """Put a host in the internet. Raises ValueError when another one has one of its addresses."""
        self._settle(Node(host, self._internet), tuple(addresses))

    def join(self, host: str, address: str, uplink: Uplink) -> None:
        """Join a host to the internet, or to the network below a gateway."""
        node = Node(host, self._net(uplink.to))
        self._settle(node, (address,))
        self._connect(node, uplink)

    def join_gateway(self, name: str, address: str, uplink: Uplink, nat: NatConfig) -> None:
        """Join a gateway to the internet, or to the network below another one."""
        box = Nat(nat, address, Random(f"{self._seed}/{name}"))
        gateway = Gateway(name, self._net(uplink.to), nat=box, inner=Net(name))
        gateway.inner.gateway = gateway
        self._settle(gateway, (address,))
        self._connect(gateway, uplink)

    def move(self, host: str, address: str, uplink: Uplink) -> None:
        """Give a host another address, in the same network or in another one."""
        node = self.node(host)
        for old in node.addresses:
            del node.net.members[old]
        node.net = self._net(uplink.to)
        self._settle(node, (address,))
        self._connect(node, uplink)

    def node(self, name: str) -> Node:
        """Return a host or a gateway. Raises ValueError."""
        if name not in self._nodes:
            raise ValueError(f"no node is called {name!r}")
        return self._nodes[name]

    def gateway(self, name: str) -> Gateway:
        """Return a gateway. Raises ValueError."""
        node = self.node(name)
        if not isinstance(node, Gateway):
            raise ValueError(f"{name!r} is no gateway")  # noqa: TRY004, a wrong name and not a wrong type
        return node

    def gateways(self) -> dict[str, Gateway]:
        """Return the gateways, by name."""
        return {name: node for name, node in self._nodes.items() if isinstance(node, Gateway)}

    def knows(self, address: str) -> bool:
        """Tell whether anybody has this address, wherever."""
        return any(address in node.addresses for node in self._nodes.values())

    def link(self, source: str, destination: str) -> Link[Packet]:
        """Return the link between two nodes in the internet, or between one and what it is joined to."""
        return self._lane(source, destination).link

    def links(self) -> dict[tuple[str, str], Link[Packet]]:
        """Return the links that were used or configured, by (source, destination)."""
        return {pair: lane.link for pair, lane in self._lanes.items()}

    # What is done to it

    def part(self, source: str, destination: str) -> None:
        """Let no further packet pass from one node, or from what is behind it, to another one."""
        if self.node(source).ends is None and self.node(destination).ends is None:
            self.link(source, destination).cut()
        else:
            self._parted.add((source, destination))

    def unite(self, source: str, destination: str) -> None:
        """End what `part` began."""
        self._parted.discard((source, destination))
        if (source, destination) in self._lanes:
            self._lanes[source, destination].link.heal()

    def heal(self, name: str) -> None:
        """End whatever cut a node off: at its own links, or by a partition."""
        self._parted = {pair for pair in self._parted if name not in pair}
        for (source, destination), lane in self._lanes.items():
            is_below = (source, destination) in self._ends and destination == name
            is_below |= (destination, source) in self._ends and source == name
            if name in (source, destination) and not is_below:
                lane.link.heal()

    def reboot(self, name: str, seconds: float, now: float) -> None:
        """Have a gateway carry nothing for some seconds, and know nothing of before."""
        gateway = self.gateway(name)
        gateway.down_until = now + seconds
        gateway.nat.forget()

    # Packets

    def send(
        self,
        host: str,
        kind: Kind,
        source: Endpoint,
        destination: Endpoint,
        payload: bytes | Segment,
        *,
        now: float,
    ) -> None:
        """Send one packet from a host; it comes out of `packets_due` when and if it arrives."""
        if self._agenda and self._agenda[0][0] <= now:
            self._advance(now)
        packet = Packet(self._sequence, kind, source, destination, payload, host)
        self._sequence += 1
        node = self._nodes[host]
        if destination.address in node.addresses:
            self._enter(self._lane(host, host), packet, now, is_first=True)
        elif node.ends is None:
            self._cross(node, packet, now, is_first=True)
        else:
            self._enter(node.ends.up, packet, now, is_first=True)

    def deadline(self) -> float | None:
        """When `packets_due` has something to do."""
        if self._arrived:
            return self._arrived[0][0]
        while self._agenda and self._agenda[0][0] != self._agenda[0][2].announced:
            heapq.heappop(self._agenda)
        return self._agenda[0][0] if self._agenda else None

    def packets_due(self, now: float) -> list[Delivery]:
        """Hand over the packets that arrived at a host up to `now`."""
        self._advance(now)
        arrived, self._arrived = self._arrived, []
        if len(arrived) > 1:
            arrived.sort(key=_order)
        for at, delivery in arrived:
            self._record(delivery.packet, "delivered", at, delivery.host)
        return [delivery for _, delivery in arrived]

    # The way of a packet: up to the first network that knows it, across, and down

    def _rise(self, node: Node, net: Net, packet: Packet, now: float) -> None:
        """Arrive in a network from a node of it."""
        gateway = net.gateway
        if gateway is None:
            self._cross(node, packet, now)
        elif now < gateway.down_until:
            self._drop_at(gateway, packet, now)
        elif (member := net.members.get(packet.destination.address)) is not None:
            self._descend(member, packet, now)
        else:
            self._go_out(gateway, packet, now)

    def _go_out(self, gateway: Gateway, packet: Packet, now: float) -> None:
        nat, kind, source, destination = gateway.nat, packet.kind, packet.source, packet.destination
        if destination.address == nat.address:
            ends = nat.hairpin(kind, source, destination.port, now)
            if isinstance(ends, Refusal):
                self._record(packet, ends.value, now)
            else:
                self._deliver_behind(gateway, _translated(packet, *ends), now)
            return
        external = nat.outbound(kind, source, destination, now)
        if isinstance(external, Refusal):
            self._record(packet, external.value, now)
        else:
            assert gateway.ends is not None, "gateways are always joined to something"
            self._enter(gateway.ends.up, _translated(packet, external, destination), now)

    def _cross(self, node: Node, packet: Packet, now: float, *, is_first: bool = False) -> None:
        """Go from one node of the internet to another one."""
        target = self._internet.members.get(packet.destination.address)
        if target is None:
            self.unroutable += 1
            self._record(packet, "unroutable", now)
            return
        lane = self._lanes.get((node.name, target.name))
        if lane is None and (self._has_core or node.ends is None or target.ends is None):
            lane = self._lane(node.name, target.name)
        if lane is None:
            self._descend(target, packet, now)
        else:
            self._enter(lane, packet, now, is_first=is_first)

    def _descend(self, node: Node, packet: Packet, now: float) -> None:
        """Go from a network to a node of it."""
        if self._parted and self._is_parted(packet, node):
            self.parted += 1
            self._record(packet, Fate.CUT.value, now)
        elif node.ends is None:
            self._reach(node, packet, now)
        else:
            self._enter(node.ends.down, packet, now)

    def _reach(self, node: Node, packet: Packet, now: float) -> None:
        """Arrive at a node from above."""
        if not isinstance(node, Gateway):
            self._arrived.append((now, Delivery(node.name, packet)))
        elif now < node.down_until:
            self._drop_at(node, packet, now)
        else:
            internal = node.nat.inbound(packet.kind, packet.source, packet.destination.port, now)
            if isinstance(internal, Refusal):
                self._record(packet, internal.value, now)
            else:
                self._deliver_behind(node, _translated(packet, packet.source, internal), now)

    def _deliver_behind(self, gateway: Gateway, packet: Packet, now: float) -> None:
        member = gateway.inner.members.get(packet.destination.address)
        if member is None:
            self.unroutable += 1
            self._record(packet, "unroutable", now)
        else:
            self._descend(member, packet, now)

    def _enter(self, lane: Lane, packet: Packet, now: float, *, is_first: bool = False) -> None:
        if lane.link.pass_at_once(now):
            if is_first:
                self._record(packet, Fate.CARRIED.value, now)
            lane.arrive(packet, now)
            return
        fate = lane.link.send(packet, now)
        if is_first or fate is not Fate.CARRIED:
            self._record(packet, fate.value, now)
        if lane.link.given_up:
            self._record_given_up(lane, now)
        if fate is Fate.CARRIED:
            self._leave(lane, now)

    def _leave(self, lane: Lane, now: float) -> None:
        """Take out of a link what is at its end, and note when there will be more."""
        deadline = lane.link.deadline()
        if deadline is not None and deadline <= now:
            arrivals = lane.link.arrivals(now)
            self._record_given_up(lane, now)
            for arrival in arrivals:
                lane.arrive(arrival.packet, now)
            deadline = lane.link.deadline()
        if deadline is not None and deadline < lane.announced:
            lane.announced = deadline
            heapq.heappush(self._agenda, (deadline, lane.number, lane))

    def _advance(self, now: float) -> None:
        """Move all packets on that came to the end of a link, in order of time, then of sequence number."""
        while self._agenda and (at := self._agenda[0][0]) <= now:
            batch: list[tuple[int, Lane, Packet]] = []
            while self._agenda and self._agenda[0][0] == at:
                lane = heapq.heappop(self._agenda)[2]
                if lane.announced == at:
                    lane.announced = math.inf
                    batch += [(packet.sequence, lane, packet) for _, packet in lane.link.arrivals(at)]
                    if lane.link.given_up:
                        self._record_given_up(lane, at)
                    self._leave(lane, at)
            if len(batch) > 1:
                batch.sort(key=itemgetter(0))
            for _, lane, packet in batch:
                lane.arrive(packet, at)

    # Rules

    def _is_parted(self, packet: Packet, node: Node) -> bool:
        return any((place, node.name) in self._parted for place in self._nodes[packet.origin].places())

    def _drop_at(self, gateway: Gateway, packet: Packet, now: float) -> None:
        gateway.dropped += 1
        self._record(packet, "down", now)

    def _net(self, name: str) -> Net:
        return self._internet if name == INTERNET else self.gateway(name).inner

    def _settle(self, node: Node, addresses: tuple[str, ...]) -> None:
        members = node.net.members
        for address in addresses:
            if address in members:
                raise ValueError(f"{address} already belongs to {members[address].name}")
        node.addresses = addresses
        members.update((address, node) for address in addresses)
        self._nodes[node.name] = node

    def _connect(self, node: Node, uplink: Uplink) -> None:
        """Join a node to its network by the links that it had to it, or by new ones."""
        pair = (node.name, uplink.to)
        if pair not in self._ends:
            up = self._add_lane(node.name, uplink.to, uplink.up, partial(self._rise, node, node.net))
            down = self._add_lane(uplink.to, node.name, uplink.down, partial(self._reach, node))
            self._ends[pair] = Ends(up, down)
        node.ends = self._ends[pair]

    def _lane(self, source: str, destination: str) -> Lane:
        lane = self._lanes.get((source, destination))
        if lane is None:
            target = self.node(destination)
            if source == destination:
                return self._add_lane(source, destination, LinkConfig(), partial(self._reach, target))
            if not (self.node(source).is_top_level and target.is_top_level):
                raise ValueError(f"no link leads from {source!r} to {destination!r}")
            return self._add_lane(source, destination, self._default, partial(self._descend, target))
        return lane

    def _add_lane(
        self, source: str, destination: str, config: LinkConfig, arrive: Callable[[Packet, float], None]
    ) -> Lane:
        link: Link[Packet] = Link(config, Random(f"{self._seed}/{source}/{destination}"))
        lane = self._lanes[source, destination] = Lane(len(self._lanes), link, arrive)
        return lane

    def _record_given_up(self, lane: Lane, now: float) -> None:
        for fate, packet in lane.link.given_up:
            self._record(packet, fate.value, now)

    def _record(self, packet: Packet, fate: str, now: float, host: str | None = None) -> None:
        if self.trace is not None:
            self.trace(TraceEntry(now, packet.kind, packet.source, packet.destination, packet.size, fate))
        if self.tap is not None:
            self.tap(now, packet, fate, host)


def _translated(packet: Packet, source: Endpoint, destination: Endpoint) -> Packet:
    return Packet(packet.sequence, packet.kind, source, destination, packet.payload, packet.origin)


def _order(arrived: tuple[float, Delivery]) -> tuple[float, int]:
    return arrived[0], arrived[1].packet.sequence
