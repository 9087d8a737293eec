"""Which addresses, devices, routes and rules a topology consists of: decided here, without touching the system.

    internet     198.18.0.0/15 (RFC 2544) and fd77::/64         a router that knows every node, and nobody else
    gateway      192.168.n.0/24 below it                        or 100.64.n.0/24, if gateways are below it (RFC 6598)

Every node is the only one on its cable, so each has its address alone, and one route to it on the node above.
"""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

from rtcmesh.netem.topology import INTERNET, GatewaySpec, HostSpec, Topology, Uplink

from .link_protocol import BoxTask, End, NamespaceTask, Task, TunnelTask
from .nat_rules import lifetime_of, rules
from .tun import lines_for

MAX_GATEWAYS = 254

_INTERNET = ipaddress.IPv4Network("198.18.0.0/15")
_INTERNET6 = ipaddress.IPv6Network("fd77::/64")
_FIRST_NODE = 2
"""The number of the first node of a network: the one before is the network's own router."""

_ROUTER = (
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv4/conf/all/send_redirects", "0"),
    ("net/ipv4/conf/default/send_redirects", "0"),
)
_WITHOUT_IPV6 = (("net/ipv6/conf/all/disable_ipv6", "1"), ("net/ipv6/conf/default/disable_ipv6", "1"))


class Network:
    """The addresses below a place."""

    def __init__(self, network: ipaddress.IPv4Network, network6: ipaddress.IPv6Network | None = None) -> None:
        self.network = network
        self._network6 = network6
        self._numbers = itertools.count(_FIRST_NODE)

    @property
    def router(self) -> str:
        """The address of the place itself."""
        return str(self.network[_FIRST_NODE - 1])

    def take(self) -> tuple[str, str]:
        """Give an address, and one of IPv6, empty where there are none. Raises ValueError when all are given."""
        number = next(self._numbers)
        if number >= self.network.num_addresses - 1:
            raise ValueError(f"all addresses of {self.network} are given away")
        return str(self.network[number]), "" if self._network6 is None else str(self._network6[number])


@dataclass(kw_only=True)
class Attachment:
    """An uplink, with what there is at both ends of it."""

    node: str
    uplink: Uplink
    tunnel: int
    device: str
    """What the node calls its end."""
    device_above: str
    address: str
    """The address of the node there now."""
    address6: str

    @property
    def up(self) -> int:
        """The number of the link from the node."""
        return 2 * self.tunnel

    @property
    def down(self) -> int:
        """The number of the link to it."""
        return 2 * self.tunnel + 1

    @property
    def addresses(self) -> tuple[str, ...]:
        """All that the node has there."""
        return tuple(filter(None, (self.address, self.address6)))

    def arrive(self, mtu: int) -> list[str]:
        """Return what iproute2 does at the node to use it."""
        addresses = tuple(f"{address}/{32 if ':' not in address else 128}" for address in self.addresses)
        lines = [*lines_for(self.device, addresses, mtu), f"route replace default dev {self.device}"]
        return [*lines, f"route replace ::/0 dev {self.device}"] if self.address6 else lines

    def leave(self) -> list[str]:
        """Return what iproute2 does at the node to use it no more."""
        return [f"addr flush dev {self.device}", f"link set dev {self.device} down"]

    def be_reached(self) -> list[str]:
        """Return what iproute2 does above the node to find it."""
        return [f"route replace {address} dev {self.device_above}" for address in self.addresses]

    def be_lost(self) -> list[str]:
        """Return what iproute2 does above the node to find it no more."""
        return [f"route del {address} dev {self.device_above}" for address in self.addresses]


@dataclass
class Plan:
    """A topology with its addresses. Raises ValueError for one that has more nodes than addresses."""

    topology: Topology
    mtu: int = 1500
    names: tuple[str, ...] = field(init=False)
    """The nodes, in the order of their namespaces."""
    networks: dict[str, Network] = field(init=False)
    """By the place above."""
    attachments: dict[str, list[Attachment]] = field(init=False)
    """By node, in the order of its uplinks."""

    def __post_init__(self) -> None:
        topology = self.topology
        nodes: tuple[GatewaySpec | HostSpec, ...] = (*topology.gateways, *topology.hosts)
        if len(topology.gateways) > MAX_GATEWAYS:
            raise ValueError(f"a laboratory of namespaces has room for {MAX_GATEWAYS} gateways at most")
        self.names = (INTERNET, *(node.name for node in nodes))
        carriers = {gateway.uplink.to for gateway in topology.gateways}
        self.networks = {INTERNET: Network(_INTERNET, _INTERNET6)}
        for number, gateway in enumerate(topology.gateways, 1):
            prefix = "100.64" if gateway.name in carriers else "192.168"
            self.networks[gateway.name] = Network(ipaddress.IPv4Network(f"{prefix}.{number}.0/24"))
        numbers = itertools.count()
        self.attachments = {
            node.name: [
                self._attach(node.name, *each, next(numbers)) for each in enumerate(_uplinks_of(node))
            ]
            for node in nodes
        }

    def task(self, *, seed: int, verify: bool = True, losses: int | None = None) -> Task:
        """Return what the laboratory's process is to make."""
        every = [attachment for node in self.attachments.values() for attachment in node]
        return Task(
            seed=seed,
            namespaces=tuple(self._namespace(name) for name in self.names),
            tunnels=tuple(
                TunnelTask(
                    name=f"{each.node}/{each.uplink.to}",
                    low=End(self.names.index(each.node), each.device),
                    high=End(self.names.index(each.uplink.to), each.device_above),
                    mtu=self.mtu,
                    up=each.uplink.up,
                    down=each.uplink.down,
                )
                for each in every
            ),
            boxes=tuple(self._boxes()) if verify else (),
            losses=losses,
        )

    def rules(self, gateway: str, generation: int = 0) -> str:
        """Return what nft loads at a gateway; another generation gives other ports."""
        return rules(
            self.topology.gateway(gateway).nat,
            external=self.attachments[gateway][0].address,
            inside=str(self.networks[gateway].network),
            generation=generation,
        )

    def below(self, place: str) -> list[Attachment]:
        """Return the uplinks that lead to a place."""
        return [each for node in self.attachments.values() for each in node if each.uplink.to == place]

    def _attach(self, node: str, index: int, uplink: Uplink, tunnel: int) -> Attachment:
        address, address6 = self.networks[uplink.to].take()
        if node in self.networks:
            address6 = ""  # gateways are for IPv4
        return Attachment(
            node=node,
            uplink=uplink,
            tunnel=tunnel,
            device=f"up{index}",
            device_above=f"down{tunnel}",
            address=address,
            address6=address6,
        )

    def _namespace(self, name: str) -> NamespaceTask:
        lines = [line for each in self.below(name) for line in self._lines_below(each)]
        if name == INTERNET:
            # Without a route for the rest of the world programs see errors that the internet does not have.
            return NamespaceTask(
                settings=(*_ROUTER, ("net/ipv6/conf/all/forwarding", "1")),
                lines=(
                    f"addr add {self.networks[name].router}/32 dev lo",
                    "route add blackhole default",
                    "route add blackhole ::/0",
                    *lines,
                ),
            )
        first = self.attachments[name][0]
        if name not in self.networks:
            return NamespaceTask(lines=tuple(first.arrive(self.mtu)))
        lifetime = str(lifetime_of(self.topology.gateway(name).nat))
        return NamespaceTask(
            settings=(*_ROUTER, *_WITHOUT_IPV6),
            lines=(f"addr add {self.networks[name].router}/32 dev lo", *first.arrive(self.mtu), *lines),
            rules=self.rules(name),
            late_settings=(
                ("net/netfilter/nf_conntrack_udp_timeout", lifetime),
                ("net/netfilter/nf_conntrack_udp_timeout_stream", lifetime),
            ),
        )

    def _lines_below(self, each: Attachment) -> list[str]:
        lines = lines_for(each.device_above, (), self.mtu)
        return [*lines, *each.be_reached()]

    def _boxes(self) -> Iterator[BoxTask]:
        for gateway in self.topology.gateways:
            (outside,) = self.attachments[gateway.name]
            for inside in self.below(gateway.name)[:1]:
                yield BoxTask(
                    name=gateway.name,
                    nat=gateway.nat,
                    namespace=self.names.index(gateway.name),
                    outside=outside.tunnel,
                    inside=inside.tunnel,
                    host_address=inside.address,
                    external_address=outside.address,
                )


def _uplinks_of(node: GatewaySpec | HostSpec) -> tuple[Uplink, ...]:
    return node.uplinks if isinstance(node, HostSpec) else (node.uplink,)
