"""What a network machine consists of: nodes, the networks they are in, and the lanes between them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from rtcmesh.netem.link import Link
from rtcmesh.netem.packet import Packet
from rtcmesh.netem.topology import INTERNET

from .nat import Nat


@dataclass(slots=True, eq=False)
class Lane:
    """A link with what happens at its end, and the arrival time under which the network has it in its agenda."""

    number: int
    link: Link[Packet]
    arrive: Callable[[Packet, float], None]
    announced: float = math.inf


@dataclass(slots=True, eq=False)
class Ends:
    """What joins a node to a network."""

    up: Lane
    down: Lane


@dataclass(slots=True, eq=False)
class Node:
    """A host in a network. Without `ends` it stands in the core of the internet itself."""

    name: str
    net: Net
    addresses: tuple[str, ...] = ()
    ends: Ends | None = None

    @property
    def is_top_level(self) -> bool:
        """Whether nothing stands between its network and the internet."""
        return self.net.name == INTERNET

    def places(self) -> list[str]:
        """Return its own name and those of the gateways it is behind, from the inside out."""
        names, gateway = [self.name], self.net.gateway
        while gateway is not None:
            names.append(gateway.name)
            gateway = gateway.net.gateway
        return names


@dataclass(slots=True, eq=False)
class Net:
    """A network in which addresses mean somebody: the internet, or what is below one gateway."""

    name: str
    gateway: Gateway | None = None
    """None for the internet."""
    members: dict[str, Node] = field(default_factory=dict[str, Node])
    """Who has which address."""


@dataclass(slots=True, eq=False, kw_only=True)
class Gateway(Node):
    """A node with a network of its own below it."""

    nat: Nat
    inner: Net
    down_until: float = -math.inf
    """When it carries again."""
    dropped: int = 0
    """Packets that came while it was down."""
