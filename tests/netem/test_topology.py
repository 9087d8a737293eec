"""What a network may consist of, and what can be done to it."""

import msgspec
import pytest

from rtcmesh.netem.faults import ChangeAddress, Cut, Direction, Fault, Impair, Rebind, SwitchUplink
from rtcmesh.netem.link import LinkConfig
from rtcmesh.netem.topology import GatewaySpec, HostSpec, Topology, Uplink


@pytest.mark.parametrize(
    ("hosts", "gateways", "complaint"),
    [
        (["ann", "ann"], {}, "two nodes are called 'ann'"),
        (["ann"], {"ann": "internet"}, "two nodes are called 'ann'"),
        ([""], {}, "no name"),
        (["internet"], {}, "the root"),
        (["ann@home"], {}, "'ann' is behind 'home', which is no gateway"),
        (["ann@bob", "bob"], {}, "'ann' is behind 'bob', which is no gateway"),
        (["ann"], {"home": "home"}, "in a ring: home"),
        (["ann"], {"home": "carrier", "carrier": "home"}, "in a ring: home, carrier"),
    ],
)
def test_an_impossible_topology_says_what_is_wrong(
    hosts: list[str], gateways: dict[str, str], complaint: str
) -> None:
    specs: list[HostSpec] = []
    for text in hosts:
        name, _, behind = text.partition("@")
        specs.append(HostSpec(name=name, uplinks=(Uplink(to=behind or "internet"),)))
    boxes = tuple(GatewaySpec(name=name, uplink=Uplink(to=to)) for name, to in gateways.items())
    with pytest.raises(ValueError, match=complaint):
        Topology(hosts=tuple(specs), gateways=boxes)


def test_a_host_has_uplinks_that_lead_to_different_places() -> None:
    with pytest.raises(ValueError, match="has no uplink"):
        Topology(hosts=(HostSpec(name="ann", uplinks=()),))
    with pytest.raises(ValueError, match="to the same place"):
        Topology(hosts=(HostSpec(name="ann", uplinks=(Uplink(), Uplink())),))


def test_nodes_are_found_by_name() -> None:
    ann, home = HostSpec(name="ann", uplinks=(Uplink(to="home"), Uplink())), GatewaySpec(name="home")
    topology = Topology(hosts=(ann,), gateways=(home,))
    assert topology.host("ann") is ann
    assert topology.gateway("home") is home
    with pytest.raises(KeyError):
        topology.host("home")
    with pytest.raises(KeyError):
        topology.gateway("ann")


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        ({"do": "cut", "node": "ann", "direction": "up"}, Cut(node="ann", direction=Direction.UP)),
        ({"do": "impair", "node": "ann", "up": {"loss": 0.5}}, Impair(node="ann", up=LinkConfig(loss=0.5))),
        ({"do": "change-address", "node": "ann"}, ChangeAddress(node="ann")),
        ({"do": "switch-uplink", "node": "ann", "to": "lte"}, SwitchUplink(node="ann", to="lte")),
        ({"do": "rebind", "node": "home"}, Rebind(node="home")),
    ],
)
def test_faults_have_the_names_that_scenarios_write(written: dict[str, object], fault: Fault) -> None:
    assert msgspec.convert(written, type=Fault) == fault


def test_a_fault_with_an_unknown_key_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="directions"):
        msgspec.convert({"do": "cut", "node": "ann", "directions": "up"}, type=Fault)
