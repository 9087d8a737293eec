"""Two real peers that meet on a network in namespaces, with our servers and a real STUN server on it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from rtcmesh.netem import LinkConfig
from rtcmesh.netem.faults import Fault, Impair
from rtcmesh.netem.models.rule import Rule
from rtcmesh.netem.real import RealTopology, real_topology
from rtcmesh.netem.real.coturn import start_coturn
from rtcmesh.netem.topology import GatewaySpec, HostSpec, Topology, Uplink
from support.conversations import Conversation, talking
from support.processes import Program, serving

PORT = 8080

OPEN = Topology(hosts=(HostSpec(name="server"), HostSpec(name="ann"), HostSpec(name="bob")))
"""Everybody has an address of the world."""

AT_HOME = Topology(
    hosts=(
        HostSpec(name="server"),
        HostSpec(name="ann", uplinks=(Uplink(to="home"), Uplink(to="mobile"))),
        HostSpec(name="bob", uplinks=(Uplink(to="office"), Uplink(to="cafe"))),
    ),
    gateways=tuple(GatewaySpec(name=name) for name in ("home", "mobile", "office", "cafe")),
)
"""Both are behind gateways as most people are, and have another one that they can go to."""

WITHOUT_UDP = LinkConfig(rules=(Rule(transport="udp"),))


def udp_lost(node: str) -> Fault:
    """Return the fault that drops every UDP packet on the uplink of a node."""
    return Impair(node=node, up=WITHOUT_UDP, down=WITHOUT_UDP)


def udp_passing(node: str) -> Fault:
    """Return the one that lets it through again."""
    return Impair(node=node, up=LinkConfig(), down=LinkConfig())


@dataclass(frozen=True)
class Meeting:
    """A network with our server on it, whose peers are on the hosts `ann` and `bob`."""

    lab: RealTopology
    stun: str

    async def apply(self, fault: Fault) -> None:
        """Do it to the network."""
        await self.lab.apply(fault)

    def serving(self) -> AbstractAsyncContextManager[tuple[Program, str]]:
        """Run the server; it tells the peers of the STUN server."""
        host = self.lab.host("server")
        within = host.command()
        return serving(PORT, host=host.address, within=within, options=("--ice-server", self.stun))

    def talking(self, url: str) -> AbstractAsyncContextManager[Conversation]:
        """Have both talk."""
        return talking(url, within=(self.lab.host("ann").command(), self.lab.host("bob").command()))


@asynccontextmanager
async def meeting(topology: Topology = OPEN) -> AsyncGenerator[Meeting]:
    """Make the network, and nobody on it but the STUN server."""
    async with real_topology(topology) as lab:
        coturn = await start_coturn(lab.host("server"))
        yield Meeting(lab, coturn.urls[0])


@asynccontextmanager
async def conversing(
    topology: Topology = OPEN, *, faults: Sequence[Fault] = ()
) -> AsyncGenerator[tuple[Meeting, Conversation]]:
    """Have both talk on a network to which these faults were done before."""
    async with meeting(topology) as net:
        for fault in faults:
            await net.apply(fault)
        async with net.serving() as (_, url), net.talking(url) as conversation:
            yield net, conversation
