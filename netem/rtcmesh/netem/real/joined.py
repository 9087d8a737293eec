"""Two hosts in namespaces of their own, joined by an impaired link."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from rtcmesh.netem.link import LinkConfig, LinkCounters

from .audit import Audit
from .carrier import Carrier, carrying
from .hosts import RealHost
from .link_protocol import Configure, Cut, End, NamespaceTask, Order, Task, TunnelTask
from .tun import lines_for

INTERFACE = "rtcmesh0"
DEFAULT_MTU = 1500
RIGHTWARD, LEFTWARD = 0, 1


class Crossings(NamedTuple):
    """What became of the packets so far."""

    rightward: LinkCounters
    leftward: LinkCounters
    audit: Audit
    """How late the link was since the last call of any method."""


class JoinedHosts:
    """Two hosts and the link between them, both ways."""

    def __init__(self, left: RealHost, right: RealHost, carrier: Carrier) -> None:
        self.left = left
        self.right = right
        self._carrier = carrier

    async def configure(self, rightward: LinkConfig, leftward: LinkConfig | None = None) -> None:
        """Treat packets like this from now on, also while some are in flight; one way for both, or each its own."""
        await self._obey([Configure(RIGHTWARD, rightward), Configure(LEFTWARD, leftward or rightward)])

    async def cut(self, *, rightward: bool = True, leftward: bool = True) -> None:
        """Let no further packet pass these ways; those in flight still arrive."""
        await self._obey([Cut(RIGHTWARD, rightward), Cut(LEFTWARD, leftward)])

    async def heal(self) -> None:
        """Carry packets both ways again."""
        await self.cut(rightward=False, leftward=False)

    async def report(self) -> Crossings:
        """Return what became of the packets so far, and how late the link was since the last call of any method."""
        return await self._obey([])

    async def _obey(self, orders: Sequence[Order]) -> Crossings:
        carried = await self._carrier.obey(orders)
        return Crossings(carried.links[RIGHTWARD], carried.links[LEFTWARD], carried.audit)


@asynccontextmanager
async def joined_hosts(
    rightward: LinkConfig | None = None,
    leftward: LinkConfig | None = None,
    *,
    seed: int = 0,
    mtu: int = DEFAULT_MTU,
) -> AsyncGenerator[JoinedHosts]:
    """Run two hosts joined by a link for the block; `rightward` holds for both ways unless `leftward` is given.

    The programs started on the hosts are killed with the block. Raises `LaboratoryUnavailable`.
    """
    rightward = rightward or LinkConfig()
    addresses = [(f"10.77.0.{number}", f"fd77::{number}") for number in (1, 2)]
    tunnel = TunnelTask(
        name="joined",
        low=End(0, INTERFACE),
        high=End(1, INTERFACE),
        mtu=mtu,
        up=rightward,
        down=leftward or rightward,
    )
    namespaces = tuple(
        NamespaceTask(
            lines=(
                *lines_for(INTERFACE, (f"{address}/24", f"{address6}/64"), mtu),
                # Some programs look for the interface of the default route, or take no route for no network.
                f"route add default dev {INTERFACE}",
            )
        )
        for address, address6 in addresses
    )
    async with carrying(Task(seed=seed, namespaces=namespaces, tunnels=(tunnel,))) as carrier:
        left, right = (
            RealHost(name, namespace, carrier.programs, address=address, address6=address6)
            for name, namespace, (address, address6) in zip(
                ("left", "right"), carrier.namespaces, addresses, strict=True
            )
        )
        yield JoinedHosts(left, right, carrier)
