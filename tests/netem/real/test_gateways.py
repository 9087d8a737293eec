"""Gateways as the kernel makes them: each behaves as it was asked to, or is not used."""

import asyncio
import itertools
import subprocess
import sys

import pytest

from rtcmesh.netem.faults import Rebind
from rtcmesh.netem.real import real_topology
from rtcmesh.netem.real.nat_probe import Observed
from rtcmesh.netem.real.topology import RealTopology
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

pytestmark = pytest.mark.namespaces

EVERY_NAT = [
    *(
        NatConfig(mapping=mapping, filtering=filtering, ports=ports)
        for mapping, filtering, ports in itertools.product(Dependence, Dependence, PortAssignment)
    ),
    *(NatConfig(mapping=dependence, filtering=dependence, hairpinning=True) for dependence in Dependence),
]

SEEN_FROM = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mirror:
    mirror.bind(("", 3478))
    print("listening", flush=True)
    while True:
        _, sender = mirror.recvfrom(100)
        mirror.sendto(str(sender[1]).encode(), sender)
"""
ASK = """
import json, socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
    asker.bind(("", 5000))
    asker.settimeout(1)
    for _ in range(30):
        asker.sendto(b"?", (sys.argv[1], 3478))
        try:
            print(asker.recv(100).decode())
            break
        except TimeoutError:
            pass
    else:
        print(0)
"""


def behind(*nats: NatConfig) -> Topology:
    """Return a host behind each of these, and a server."""
    gateways = tuple(GatewaySpec(name=f"gateway{number}", nat=nat) for number, nat in enumerate(nats))
    hosts = tuple(
        HostSpec(name=f"host{number}", uplinks=(Uplink(to=gateway.name),))
        for number, gateway in enumerate(gateways)
    )
    return Topology(hosts=(*hosts, HostSpec(name="server")), gateways=gateways)


async def external_port(lab: RealTopology, host: str) -> int:
    """Return which port of the gateway port 5000 of a host is seen as."""
    program = await lab.host(host).spawn(
        sys.executable, "-c", ASK, lab.host("server").address, stdout=subprocess.PIPE
    )
    output, _ = await program.communicate()
    return int(output)


async def mirror_on(lab: RealTopology) -> None:
    mirror = await lab.host("server").spawn(sys.executable, "-c", SEEN_FROM, stdout=subprocess.PIPE)
    assert mirror.stdout is not None
    assert await mirror.stdout.readline() == b"listening\n"


async def test_every_combination_of_rfc_4787_is_what_it_says() -> None:
    async with real_topology(behind(*EVERY_NAT)) as lab:
        assert len(lab.boxes) == len(EVERY_NAT)  # or it would not have started


async def test_the_kinds_that_people_speak_of_behave_like_it() -> None:
    async with real_topology(behind(*NATS.values())) as lab:
        observed = dict(zip(NATS, lab.boxes.values(), strict=True))
    assert observed["full-cone"].filtering is Dependence.ENDPOINT_INDEPENDENT
    assert observed["address-restricted"].filtering is Dependence.ADDRESS_DEPENDENT
    assert observed["port-restricted"].filtering is Dependence.ADDRESS_AND_PORT_DEPENDENT
    assert observed["symmetric"].mapping is Dependence.ADDRESS_AND_PORT_DEPENDENT
    assert observed["udp-blocked"] == Observed(None, None, None, None)


def test_what_is_not_as_asked_is_named() -> None:
    seen = Observed(
        Dependence.ENDPOINT_INDEPENDENT,
        Dependence.ENDPOINT_INDEPENDENT,
        hairpinning=False,
        ports=PortAssignment.PRESERVED,
    )
    assert seen.differences(NATS["full-cone"]) == []
    assert seen.differences(NATS["port-restricted"]) == [
        "filtering is endpoint-independent, not address-and-port-dependent"
    ]
    assert len(seen.differences(NATS["udp-blocked"])) == 4


@pytest.mark.parametrize("ports", PortAssignment)
async def test_a_rebinding_gives_other_ports(ports: PortAssignment) -> None:
    async with real_topology(behind(NatConfig(ports=ports))) as lab:
        await mirror_on(lab)
        seen = [await external_port(lab, "host0") for _ in range(2)]
        for _ in range(2):
            await lab.apply(Rebind(node="gateway0"))
            seen.append(await external_port(lab, "host0"))
    assert seen[0] == seen[1]
    assert len(set(seen)) == 3
    assert 0 not in seen


async def test_two_hosts_with_the_same_port_have_two_ports_outside() -> None:
    topology = Topology(
        hosts=(
            HostSpec(name="ann", uplinks=(Uplink(to="home"),)),
            HostSpec(name="bob", uplinks=(Uplink(to="home"),)),
            HostSpec(name="server"),
        ),
        gateways=(GatewaySpec(name="home"),),
    )
    async with real_topology(topology) as lab:
        await mirror_on(lab)
        ports = [await external_port(lab, name) for name in ("ann", "bob", "ann", "bob")]
    assert ports[0] == 5000
    assert ports[1] not in {0, 5000}
    assert ports[:2] == ports[2:]


async def test_a_mapping_is_forgotten_after_its_lifetime() -> None:
    async with real_topology(behind(NatConfig(udp_lifetime=1, ports=PortAssignment.RANDOM))) as lab:
        await mirror_on(lab)
        first = await external_port(lab, "host0")
        async with asyncio.timeout(30):
            while await external_port(lab, "host0") == first:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(2)
