"""What a network consists of: hosts, gateways that translate addresses, and the uplinks that join them into a tree.

                    internet
           ┌───────────┼────────────┐
        gateway     gateway       host            every line is an uplink: one link up, one link down
         home       carrier       relay
           │           │
         host       gateway
         ann          flat
                       │
                     host
                     bob

A packet goes up from its host to the first place that knows the way, and down from there. Addresses above the
gateways are public; each gateway has a private network below it.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, field

from .link import LinkConfig
from .models.ranges import check_positive

INTERNET = "internet"
"""The name of the root: what is not behind anything."""


class Dependence(enum.Enum):
    """On what of the remote endpoint a mapping or a filter depends (RFC 4787, sections 4.1 and 5)."""

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address-and-port-dependent"


class PortAssignment(enum.Enum):
    """Which external port a new mapping gets (RFC 4787, section 4.2.1)."""

    PRESERVED = "preserved"
    """The internal one where it is free."""
    CONTIGUOUS = "contiguous"
    """The next free one after the last."""
    RANDOM = "random"


@dataclass(frozen=True, kw_only=True, slots=True)
class NatConfig:
    """How a gateway translates and filters, in the terms of RFC 4787. The default is a Linux home router."""

    mapping: Dependence = Dependence.ENDPOINT_INDEPENDENT
    filtering: Dependence = Dependence.ADDRESS_AND_PORT_DEPENDENT
    hairpinning: bool = False
    """Whether two hosts behind it reach each other by its external address (section 6)."""
    ports: PortAssignment = PortAssignment.PRESERVED
    udp_lifetime: float = 120.0
    """Seconds without an outgoing packet after which a mapping is forgotten (section 4.3; its REQ-5: at least 120)."""
    blocks_udp: bool = False
    """Whether it lets no UDP through at all, as the firewall of an office may."""

    def __post_init__(self) -> None:
        check_positive(udp_lifetime=self.udp_lifetime)


NATS: dict[str, NatConfig] = {
    "full-cone": NatConfig(filtering=Dependence.ENDPOINT_INDEPENDENT),
    "address-restricted": NatConfig(filtering=Dependence.ADDRESS_DEPENDENT),
    "port-restricted": NatConfig(),
    "symmetric": NatConfig(
        mapping=Dependence.ADDRESS_AND_PORT_DEPENDENT,
        filtering=Dependence.ADDRESS_AND_PORT_DEPENDENT,
        ports=PortAssignment.RANDOM,
    ),
    "udp-blocked": NatConfig(blocks_udp=True),
}
"""The kinds that people speak of, by the names they use."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Uplink:
    """What joins a host or a gateway to what it is behind."""

    to: str = INTERNET
    """A gateway's name, or `INTERNET`."""
    up: LinkConfig = field(default_factory=LinkConfig)
    down: LinkConfig = field(default_factory=LinkConfig)


@dataclass(frozen=True, kw_only=True, slots=True)
class HostSpec:
    """A host. The first of its uplinks is in use until it switches."""

    name: str
    uplinks: tuple[Uplink, ...] = (Uplink(),)


@dataclass(frozen=True, kw_only=True, slots=True)
class GatewaySpec:
    """A box that translates addresses between the private network below it and what it is behind."""

    name: str
    nat: NatConfig = field(default_factory=NatConfig)
    uplink: Uplink = field(default_factory=Uplink)


@dataclass(frozen=True, kw_only=True, slots=True)
class Topology:
    """A tree of hosts and gateways. Raises ValueError, which names what is wrong, when it cannot be built."""

    hosts: tuple[HostSpec, ...]
    gateways: tuple[GatewaySpec, ...] = ()

    def __post_init__(self) -> None:
        names = [host.name for host in self.hosts] + [gateway.name for gateway in self.gateways]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two nodes are called {name!r}")
            if not name:
                raise ValueError("a node has no name")
            if name == INTERNET:
                raise ValueError(f"no node may be called {INTERNET!r}: it is the root")
        for host in self.hosts:
            if not host.uplinks:
                raise ValueError(f"the host {host.name!r} has no uplink")
            if len({uplink.to for uplink in host.uplinks}) < len(host.uplinks):
                raise ValueError(f"two uplinks of the host {host.name!r} lead to the same place")
        for name, uplink in self._uplinks():
            if uplink.to != INTERNET and uplink.to not in {gateway.name for gateway in self.gateways}:
                raise ValueError(f"{name!r} is behind {uplink.to!r}, which is no gateway")
        for gateway in self.gateways:
            self._check_way_up(gateway)

    def gateway(self, name: str) -> GatewaySpec:
        """Return a gateway. Raises KeyError."""
        for gateway in self.gateways:
            if gateway.name == name:
                return gateway
        raise KeyError(name)

    def host(self, name: str) -> HostSpec:
        """Return a host. Raises KeyError."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise KeyError(name)

    def _uplinks(self) -> Iterator[tuple[str, Uplink]]:
        for host in self.hosts:
            for uplink in host.uplinks:
                yield host.name, uplink
        for gateway in self.gateways:
            yield gateway.name, gateway.uplink

    def _check_way_up(self, gateway: GatewaySpec) -> None:
        passed = [gateway.name]
        while gateway.uplink.to != INTERNET:
            gateway = self.gateway(gateway.uplink.to)
            if gateway.name in passed:
                raise ValueError(f"gateways stand behind each other in a ring: {', '.join(passed)}")
            passed.append(gateway.name)
