"""Scenarios as hypothesis draws them."""

from hypothesis import strategies as st

from rtcmesh.netem.faults import (
    ChangeAddress,
    Cut,
    Direction,
    Fault,
    Heal,
    Impair,
    Partition,
    Rebind,
    Reboot,
    Signal,
    SwitchUplink,
)
from rtcmesh.netem.link import LinkConfig
from rtcmesh.netem.scenario.words import (
    Counted,
    Delivered,
    Event,
    Exits,
    Expectation,
    OnPath,
    Packets,
    Program,
    Scenario,
    Silence,
)
from rtcmesh.netem.topology import (
    INTERNET,
    NATS,
    Dependence,
    GatewaySpec,
    HostSpec,
    NatConfig,
    PortAssignment,
    Topology,
    Uplink,
)

SECONDS = st.floats(0, 100)
NAMES = st.text("abcdefghij-0_", min_size=1, max_size=6)
PROBABILITY = st.floats(0, 1)


@st.composite
def links(draw: st.DrawFn) -> LinkConfig:
    return LinkConfig(
        delay=draw(SECONDS),
        loss=draw(PROBABILITY),
        rate_bytes_per_second=draw(st.none() | st.floats(1, 1e9)),
        max_queue_bytes=draw(st.integers(0, 2**30)),
    )


@st.composite
def nats(draw: st.DrawFn) -> NatConfig:
    drawn = NatConfig(
        mapping=draw(st.sampled_from(Dependence)),
        filtering=draw(st.sampled_from(Dependence)),
        hairpinning=draw(st.booleans()),
        ports=draw(st.sampled_from(PortAssignment)),
        udp_lifetime=draw(st.floats(1, 300)),
    )
    return draw(st.sampled_from([drawn, *NATS.values()]))


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    """Every gateway stands behind one that comes before it, so there is no ring."""
    names = draw(st.lists(NAMES.filter(lambda name: name != INTERNET), min_size=2, max_size=7, unique=True))
    hosts = draw(st.integers(1, len(names)))
    places = [INTERNET]
    gateways: list[GatewaySpec] = []
    for name in names[hosts:]:
        to = draw(st.sampled_from(places))
        gateways.append(
            GatewaySpec(
                name=name, nat=draw(nats()), uplink=Uplink(to=to, up=draw(links()), down=draw(links()))
            )
        )
        places.append(name)
    specs: list[HostSpec] = []
    for name in names[:hosts]:
        ways = draw(st.lists(st.sampled_from(places), min_size=1, max_size=3, unique=True))
        specs.append(
            HostSpec(
                name=name, uplinks=tuple(Uplink(to=to, up=draw(links()), down=draw(links())) for to in ways)
            )
        )
    return Topology(hosts=tuple(specs), gateways=tuple(gateways))


def faults(topology: Topology, programs: list[str]) -> st.SearchStrategy[Fault]:
    """Whatever can be done to this network."""
    hosts = [host.name for host in topology.hosts]
    gateways = [gateway.name for gateway in topology.gateways]
    node = st.sampled_from(hosts + gateways)
    kinds: list[st.SearchStrategy[Fault]] = [
        st.builds(Impair, node=node, up=links(), down=st.none() | links()),
        st.builds(Impair, node=node, down=links()),
        st.builds(Cut, node=node, direction=st.sampled_from(Direction)),
        st.builds(Heal, node=node),
        st.builds(ChangeAddress, node=st.sampled_from(hosts)),
        st.sampled_from(topology.hosts).flatmap(
            lambda host: st.builds(
                SwitchUplink,
                node=st.just(host.name),
                to=st.sampled_from([uplink.to for uplink in host.uplinks]),
            )
        ),
    ]
    if len(hosts + gateways) > 1:
        pairs = st.permutations(hosts + gateways).map(lambda names: (names[0], names[1]))
        kinds.append(st.builds(Partition, nodes=pairs, one_way=st.booleans()))
    if gateways:
        kinds.append(st.builds(Rebind, node=st.sampled_from(gateways)))
        kinds.append(st.builds(Reboot, node=st.sampled_from(gateways), seconds=SECONDS))
    if programs:
        signal = st.sampled_from(["pause", "resume", "kill"])
        kinds.append(st.builds(Signal, process=st.sampled_from(programs), signal=signal))
    return st.one_of(kinds)


@st.composite
def events(draw: st.DrawFn, topology: Topology, programs: list[str]) -> Event:
    fault = draw(faults(topology, programs))
    every = draw(st.none() | st.floats(0.1, 50))
    may_last = isinstance(fault, Cut | Impair | Partition) or (
        isinstance(fault, Signal) and fault.signal == "pause"
    )
    return Event(
        at=draw(SECONDS),
        fault=fault,
        every=every,
        times=draw(st.none() | st.integers(1, 5)) if every else None,
        until=draw(st.none() | SECONDS) if every else None,
        lasting=draw(st.none() | SECONDS) if may_last else None,
    )


def expectations(topology: Topology, programs: list[str]) -> st.SearchStrategy[Expectation]:
    nodes = [host.name for host in topology.hosts] + [gateway.name for gateway in topology.gateways]
    few, many = st.integers(0, 9), st.integers(9, 100)
    kinds: list[st.SearchStrategy[Expectation]] = [
        st.builds(Packets, node=st.sampled_from(nodes), fate=st.just("lost"), at_least=few, at_most=many)
    ]
    if programs:
        program = st.sampled_from(programs)
        kinds += [
            st.builds(Exits, program=program, status=st.integers(0, 255)),
            st.builds(
                Silence,
                program=program,
                at_most=SECONDS,
                since=st.none() | SECONDS,
                until=st.none() | SECONDS,
            ),
            st.builds(
                Delivered, program=program, at_least=few, at_most=st.none() | many, by=st.none() | SECONDS
            ),
            st.builds(OnPath, program=program, path=st.text(), at=st.none() | SECONDS),
            st.builds(Counted, program=program, name=st.text(), at_least=st.none() | SECONDS),
        ]
    return st.one_of(kinds)


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """A program comes after those before it alone, so that none waits for ever."""
    topology = draw(topologies())
    hosts: list[str] = [host.name for host in topology.hosts]
    programs: dict[str, Program] = {}
    for name in draw(st.lists(NAMES, max_size=3, unique=True)):
        is_command = draw(st.booleans())
        programs[name] = Program(
            host=draw(st.sampled_from(hosts)),
            run="" if is_command else "module:main",
            command=("true",) if is_command else (),
            arguments=tuple(
                draw(st.lists(st.sampled_from(["-x", f"{{{topology.hosts[0].name}}}:80"]), max_size=2))
            ),
            after=tuple(draw(st.lists(st.sampled_from([*programs]), unique=True))) if programs else (),
            background=draw(st.booleans()),
        )
    names = [*programs]
    return Scenario(
        title=draw(st.text()),
        topology=topology,
        seed=draw(st.integers(0, 2**32)),
        duration=draw(st.floats(1, 100)),
        programs=programs,
        events=tuple(draw(st.lists(events(topology, names), max_size=4))),
        expectations=tuple(draw(st.lists(expectations(topology, names), max_size=4))),
    )
