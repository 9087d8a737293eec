"""What a topology consists of, decided without touching the system."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.netem.real.plan import MAX_GATEWAYS, Network, Plan
from rtcmesh.netem.topology import INTERNET, NATS, GatewaySpec, HostSpec, Topology, Uplink


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    gateways: list[GatewaySpec] = []
    for number in range(draw(st.integers(0, 6))):
        above = draw(st.sampled_from([INTERNET, *(gateway.name for gateway in gateways)]))
        nat = NATS[draw(st.sampled_from(sorted(NATS)))]
        gateways.append(GatewaySpec(name=f"gateway{number}", nat=nat, uplink=Uplink(to=above)))
    places = [INTERNET, *(gateway.name for gateway in gateways)]
    hosts = [
        HostSpec(name=f"host{number}", uplinks=tuple(Uplink(to=place) for place in each))
        for number, each in enumerate(
            draw(st.lists(st.lists(st.sampled_from(places), min_size=1, max_size=3, unique=True), max_size=6))
        )
    ]
    return Topology(hosts=tuple(hosts), gateways=tuple(gateways))


@given(topologies())
def test_every_uplink_has_an_address_of_the_place_it_leads_to(topology: Topology) -> None:
    plan = Plan(topology)
    every = [each for node in plan.attachments.values() for each in node]
    addresses = [each.address for each in every] + [network.router for network in plan.networks.values()]
    assert len(set(addresses)) == len(addresses)
    for each in every:
        assert ipaddress.ip_address(each.address) in plan.networks[each.uplink.to].network
        assert bool(each.address6) == (each.uplink.to == INTERNET and each.node not in plan.networks)


@given(topologies())
def test_what_the_process_is_told_holds_together(topology: Topology) -> None:
    plan = Plan(topology)
    task = plan.task(seed=1)
    ends = [end for tunnel in task.tunnels for end in (tunnel.low, tunnel.high)]
    assert len(set(ends)) == len(ends)
    assert all(0 <= end.namespace < len(task.namespaces) and len(end.device) < 16 for end in ends)
    assert len({tunnel.name for tunnel in task.tunnels}) == len(task.tunnels)
    for number, name in enumerate(plan.names):
        devices = {end.device for end in ends if end.namespace == number}
        lines = task.namespaces[number].lines
        assert {line.split()[3] for line in lines if line.startswith("link set dev")} <= devices
        assert bool(task.namespaces[number].rules) == (
            name in {gateway.name for gateway in topology.gateways}
        )
    for box in task.boxes:
        assert task.tunnels[box.outside].low.namespace == box.namespace
        assert task.tunnels[box.inside].high.namespace == box.namespace


def test_a_gateway_with_gateways_below_it_is_one_of_a_carrier() -> None:
    plan = Plan(
        Topology(
            hosts=(HostSpec(name="ann", uplinks=(Uplink(to="home"),)),),
            gateways=(GatewaySpec(name="carrier"), GatewaySpec(name="home", uplink=Uplink(to="carrier"))),
        )
    )
    assert plan.attachments["home"][0].address == "100.64.1.2"
    assert plan.attachments["ann"][0].address == "192.168.2.2"


def test_there_are_no_more_gateways_than_networks() -> None:
    gateways = tuple(GatewaySpec(name=f"gateway{number}") for number in range(MAX_GATEWAYS + 1))
    with pytest.raises(ValueError, match="254 gateways"):
        Plan(Topology(hosts=(), gateways=gateways))


def test_addresses_run_out() -> None:
    network = Network(ipaddress.IPv4Network("192.168.1.0/29"))
    assert [network.take()[0] for _ in range(5)] == [f"192.168.1.{number}" for number in range(2, 7)]
    with pytest.raises(ValueError, match="given away"):
        network.take()
