"""What an RFC 5780 probe finds out about the kinds of NAT."""

import asyncio
import os
import socket

import pytest

from rtcmesh.netem import LinkConfig, VirtualNetwork, run_virtual
from rtcmesh.netem.packet import Endpoint
from rtcmesh.netem.topology import (
    NATS,
    Dependence,
    GatewaySpec,
    HostSpec,
    NatConfig,
    PortAssignment,
    Topology,
    Uplink,
)
from rtcmesh.netem.virtual.nat_check import NatBehaviour, NotAProbeServer, check_nat
from rtcmesh.netem.virtual.stun_server import stun_server

LOSSY = LinkConfig(delay=0.03, loss=0.1)
SERVER = ("203.0.113.1", "203.0.113.2")
ALIKE = Dependence.ENDPOINT_INDEPENDENT
BY_ADDRESS = Dependence.ADDRESS_DEPENDENT
BY_PORT = Dependence.ADDRESS_AND_PORT_DEPENDENT


def probe(*nats: NatConfig, seed: int = 0) -> NatBehaviour:
    """Check what is between a host and the internet: NATs from the inside out."""
    names = [f"nat{number}" for number in range(len(nats))]
    gateways = [
        GatewaySpec(name=name, nat=nat, uplink=Uplink(to=to, up=LOSSY, down=LOSSY))
        for name, nat, to in zip(names, nats, [*names[1:], "internet"], strict=False)
    ]
    topology = Topology(
        hosts=(HostSpec(name="ann", uplinks=(Uplink(to=[*names, "internet"][0]),)),), gateways=tuple(gateways)
    )

    async def main() -> NatBehaviour:
        network = VirtualNetwork(topology)
        with network.add_host("server", SERVER):
            async with stun_server(SERVER) as server:
                with network.host("ann"):
                    return await check_nat(server, patience=6)

    return run_virtual(main(), seed=seed)


@pytest.mark.parametrize(
    ("nats", "mapping", "filtering", "preserves"),
    [
        ([], ALIKE, ALIKE, True),
        ([NATS["full-cone"]], ALIKE, ALIKE, True),
        ([NATS["address-restricted"]], ALIKE, BY_ADDRESS, True),
        ([NATS["port-restricted"]], ALIKE, BY_PORT, True),
        ([NATS["symmetric"]], BY_PORT, BY_PORT, False),
        ([NATS["full-cone"], NATS["port-restricted"]], ALIKE, BY_PORT, True),
        ([NATS["port-restricted"], NATS["symmetric"]], BY_PORT, BY_PORT, False),
        ([NatConfig(mapping=BY_ADDRESS, filtering=ALIKE)], BY_ADDRESS, ALIKE, True),
        ([NatConfig(mapping=ALIKE, ports=PortAssignment.CONTIGUOUS)], ALIKE, BY_PORT, False),
    ],
)
def test_each_kind_is_told_from_the_others(
    nats: list[NatConfig], mapping: Dependence, filtering: Dependence, *, preserves: bool
) -> None:
    found = probe(*nats)
    assert (found.mapping, found.filtering, found.preserves_ports) == (mapping, filtering, preserves)
    assert found.lets_udp_through


@pytest.mark.parametrize("filtering", Dependence)
@pytest.mark.parametrize("mapping", Dependence)
def test_every_combination_of_mapping_and_filtering_is_recognised(
    mapping: Dependence, filtering: Dependence
) -> None:
    found = probe(NatConfig(mapping=mapping, filtering=filtering), seed=3)
    assert (found.mapping, found.filtering) == (mapping, filtering)


@pytest.mark.parametrize("hairpinning", [True, False])
@pytest.mark.parametrize("kind", ["full-cone", "address-restricted", "port-restricted"])
def test_hairpinning_is_seen(kind: str, *, hairpinning: bool) -> None:
    nat = NatConfig(filtering=NATS[kind].filtering, hairpinning=hairpinning)
    assert probe(nat).hairpinning is hairpinning


def test_blocked_udp_is_seen() -> None:
    assert probe(NATS["udp-blocked"]) == NatBehaviour(external=None)
    assert probe(NATS["full-cone"], NATS["udp-blocked"]) == NatBehaviour(external=None)


def test_a_server_with_one_address_cannot_tell() -> None:
    async def main() -> None:
        network = VirtualNetwork()
        with network.add_host("server"):
            async with stun_server(["10.0.0.1"]) as server:
                with network.add_host("ann"), pytest.raises(NotAProbeServer, match=r"10\.0\.0\.1:3478"):
                    await check_nat(server)

    run_virtual(main())


def test_the_probe_runs_on_real_sockets_as_well() -> None:
    port = 20_000 + os.getpid() % 10_000

    async def main() -> NatBehaviour:
        async with stun_server(["127.0.0.1", "127.0.0.2"], port=port) as server:
            assert server == Endpoint("127.0.0.1", port)
            return await check_nat(server, patience=2)

    found = asyncio.run(main())
    assert (found.mapping, found.filtering, found.hairpinning) == (ALIKE, ALIKE, True)


async def test_it_asks_on_the_event_loop_of_the_system_too() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with stun_server(["127.0.0.1"], port) as server:
        with pytest.raises(NotAProbeServer):
            await check_nat(server)
