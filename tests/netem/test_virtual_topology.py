"""Programs behind gateways, and what faults do to them."""

from __future__ import annotations

import asyncio
import errno
from collections import Counter
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtcmesh.netem import LinkConfig, TraceEntry, VirtualNetwork, run_virtual
from rtcmesh.netem.errors import CannotCarry
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
from rtcmesh.netem.topology import NATS, GatewaySpec, HostSpec, NatConfig, Topology, Uplink
from support.virtual import on_virtual_time

SLOW = Uplink(up=LinkConfig(delay=0.01), down=LinkConfig(delay=0.02))
HOME = GatewaySpec(name="home", nat=NATS["full-cone"], uplink=SLOW)
SERVER = HostSpec(name="server")


def behind(name: str, *gateways: str) -> HostSpec:
    return HostSpec(name=name, uplinks=tuple(Uplink(to=gateway) for gateway in gateways))


class Port(asyncio.DatagramProtocol):
    """A socket that keeps what comes."""

    transport: asyncio.DatagramTransport

    def __init__(self) -> None:
        self.heard: list[tuple[bytes, tuple[str, int]]] = []
        self.errors: list[int | None] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.heard.append((data, addr))

    def error_received(self, exc: Exception) -> None:
        assert isinstance(exc, OSError)
        self.errors.append(exc.errno)


async def open_port(network: VirtualNetwork, host: str, port: int = 4000, address: str | None = None) -> Port:
    with network.host(host) as on:
        local = (address or on.address, port)
        return (await asyncio.get_running_loop().create_datagram_endpoint(Port, local_addr=local))[1]


async def build(
    *hosts: HostSpec, gateways: tuple[GatewaySpec, ...] = ()
) -> tuple[VirtualNetwork, list[Port]]:
    network = VirtualNetwork(Topology(hosts=hosts, gateways=gateways))
    return network, [await open_port(network, host.name) for host in hosts]


@on_virtual_time
async def test_a_host_behind_two_gateways_is_seen_as_the_outer_one_and_gets_the_answer() -> None:
    carrier = GatewaySpec(name="carrier", nat=NATS["symmetric"], uplink=SLOW)
    home = GatewaySpec(name="home", uplink=Uplink(to="carrier"))
    network, (ann, server) = await build(behind("ann", "home"), SERVER, gateways=(home, carrier))
    ann.transport.sendto(b"question", ("server", 4000))
    await asyncio.sleep(0.011)
    ((_, seen),) = server.heard
    assert seen[0] == network.nat("carrier").address
    server.transport.sendto(b"answer", seen)
    await asyncio.sleep(0.019)
    assert ann.heard == []
    await asyncio.sleep(0.002)
    assert ann.heard == [(b"answer", ("198.18.0.3", 4000))]
    assert [network.nat(name).counters.sent_out for name in ("home", "carrier")] == [1, 1]
    addresses = [network.host("ann").address, network.nat("home").address, network.nat("carrier").address]
    assert addresses == ["10.2.0.2", "100.64.0.2", "198.18.0.2"]


@on_virtual_time
async def test_homes_have_the_same_private_addresses_and_each_reaches_its_own() -> None:
    other = GatewaySpec(name="other", uplink=SLOW)
    network, (ann, sister, bob) = await build(
        behind("ann", "home"), behind("sister", "home"), behind("bob", "other"), gateways=(HOME, other)
    )
    assert network.host("ann").address == network.host("bob").address
    ann.transport.sendto(b"to my sister", (network.host("sister").address, 4000))
    bob.transport.sendto(b"to nobody", (network.host("sister").address, 4000))
    await asyncio.sleep(1)
    assert sister.heard == [(b"to my sister", (network.host("ann").address, 4000))]
    assert network.machine.unroutable == 1


@pytest.mark.parametrize("hairpinning", [True, False])
def test_neighbours_reach_each_other_by_their_external_addresses_if_the_gateway_turns_packets_round(
    *, hairpinning: bool
) -> None:
    async def main() -> None:
        home = GatewaySpec(name="home", nat=NatConfig(hairpinning=hairpinning), uplink=SLOW)
        network, (ann, sister, server) = await build(
            behind("ann", "home"), behind("sister", "home"), SERVER, gateways=(home,)
        )
        for port in (ann, sister):
            port.transport.sendto(b"here", ("server", 4000))
        await asyncio.sleep(1)
        (_, ann_seen), (_, sister_seen) = server.heard
        for _ in range(2):
            ann.transport.sendto(b"ann", sister_seen)
            sister.transport.sendto(b"sister", ann_seen)
            await asyncio.sleep(1)
        assert [data for data, _ in ann.heard] == [b"sister"] * 2 * hairpinning
        assert {addr for _, addr in ann.heard} == ({sister_seen} if hairpinning else set())
        assert network.nat("home").counters.not_hairpinned == 4 * (not hairpinning)

    run_virtual(main())


@on_virtual_time
async def test_streams_cross_gateways_and_blocked_udp_does_not() -> None:
    office = GatewaySpec(name="office", nat=NATS["udp-blocked"], uplink=SLOW)
    network, (ann, server) = await build(behind("ann", "office"), SERVER, gateways=(office,))
    ann.transport.sendto(b"lost", ("server", 4000))

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(5))
        writer.close()

    with network.host("server"):
        listening = await asyncio.start_server(echo, port=80)
    with network.host("ann"):
        reader, writer = await asyncio.open_connection("server", 80)
    writer.write(b"hello")
    assert await reader.read() == b"hello"
    writer.close()
    listening.close()
    assert server.heard == []
    assert network.nat("office").counters.blocked == 1


@on_virtual_time
async def test_impairing_and_cutting_an_uplink_holds_for_what_enters_it_from_then_on() -> None:
    network, (ann, server) = await build(behind("ann", "home"), SERVER, gateways=(HOME,))

    async def ask() -> tuple[int, int]:
        ann.transport.sendto(b"ping", ("server", 4000))
        await asyncio.sleep(0.5)
        for _, seen in server.heard:
            server.transport.sendto(b"pong", seen)
        await asyncio.sleep(0.5)
        counts = len(server.heard), len(ann.heard)
        server.heard.clear()
        ann.heard.clear()
        return counts

    assert await ask() == (1, 1)
    await network.apply(Cut(node="home", direction=Direction.DOWN))
    assert await ask() == (1, 0)
    await network.apply(Cut(node="ann", direction=Direction.UP))
    assert await ask() == (0, 0)
    await network.apply(Heal(node="ann"))
    assert await ask() == (1, 0)
    await network.apply(Heal(node="home"))
    await network.apply(Impair(node="home", down=LinkConfig(delay=0.7)))
    assert await ask() == (1, 0)
    assert await ask() == (1, 1), "the answer of before"
    await network.apply(Impair(node="home", up=LinkConfig(loss=1)))
    assert await ask() == (0, 1)
    assert await ask() == (0, 0)
    assert [type(fault) for _, fault in network.faults] == [Cut, Cut, Heal, Heal, Impair, Impair]
    assert [at for at, _ in network.faults] == [1, 2, 3, 4, 4, 6]


@pytest.mark.parametrize(
    "nodes", [("ann", "server"), ("home", "server"), ("ann", "sister"), ("ann", "bob"), ("home", "other")]
)
def test_a_partition_parts_two_nodes_and_what_is_behind_them_only(nodes: tuple[str, str]) -> None:
    async def main() -> None:
        other = GatewaySpec(name="other", nat=NATS["full-cone"], uplink=SLOW)
        specs = behind("ann", "home"), behind("sister", "home"), behind("bob", "other"), SERVER
        network, ports = await build(*specs, gateways=(HOME, other))
        by_name: dict[str, Port] = dict(zip(("ann", "sister", "bob", "server"), ports, strict=True))
        *homely, server = ports
        for port in homely:
            port.transport.sendto(b"here", ("server", 4000))
        await asyncio.sleep(1)
        seen = dict(zip(("ann", "sister", "bob"), (addr for _, addr in server.heard), strict=True))
        seen |= {"server": ("server", 4000)}
        houses = {"ann": "home", "sister": "home", "bob": "other", "server": "server"}

        async def reach(source: str, destination: str) -> bool:
            target = by_name[destination]
            target.heard.clear()
            is_near = houses[source] == houses[destination]
            address = (network.host(destination).address, 4000) if is_near else seen[destination]
            by_name[source].transport.sendto(b"x", address)
            await asyncio.sleep(1)
            return bool(target.heard)

        ends = [(one, other) for one in by_name for other in by_name if one != other]
        await network.apply(Partition(nodes=nodes, one_way=True))

        def is_parted(source: str, destination: str) -> bool:
            return bool(
                nodes[0] in {source, houses[source]} and nodes[1] in {destination, houses[destination]}
            )

        for pair in ends:
            assert await reach(*pair) != is_parted(*pair), pair
        await network.apply(Partition(nodes=nodes))
        for pair in ends:
            assert await reach(*pair) != (is_parted(*pair) or is_parted(*reversed(pair))), pair
        await network.apply(Heal(node=nodes[0]))
        for pair in ends:
            assert await reach(*pair), pair

    run_virtual(main())


@on_virtual_time
async def test_a_partition_holds_wherever_its_hosts_move() -> None:
    network, (_, server) = await build(behind("ann", "internet", "home"), SERVER, gateways=(HOME,))
    everywhere = await open_port(network, "ann", 5000, "0.0.0.0")
    await network.apply(Partition(nodes=("ann", "server")))
    for to in ("home", "internet"):
        everywhere.transport.sendto(b"x", ("server", 4000))
        await asyncio.sleep(1)
        assert server.heard == []
        await network.apply(SwitchUplink(node="ann", to=to))
    await network.apply(Heal(node="server"))
    everywhere.transport.sendto(b"x", ("server", 4000))
    await asyncio.sleep(1)
    assert len(server.heard) == 1


@pytest.mark.parametrize("fault", [ChangeAddress(node="ann"), SwitchUplink(node="ann", to="cell")])
def test_a_socket_on_an_address_that_is_gone_is_dead_and_one_on_all_addresses_goes_on(fault: Fault) -> None:
    async def main() -> None:
        cell = GatewaySpec(name="cell", nat=NATS["full-cone"], uplink=SLOW)
        network, (ann, server) = await build(behind("ann", "home", "cell"), SERVER, gateways=(HOME, cell))
        everywhere = await open_port(network, "ann", 5000, "0.0.0.0")
        before = network.host("ann").address
        for port in (ann, everywhere):
            port.transport.sendto(b"before", ("server", 4000))
        await asyncio.sleep(1)
        (_, ann_seen), (_, everywhere_seen) = server.heard
        await network.apply(fault)
        assert network.host("ann").address != before
        server.heard.clear()
        ann.transport.sendto(b"after", ("server", 4000))
        everywhere.transport.sendto(b"after", ("server", 4000))
        server.transport.sendto(b"to the old one", ann_seen)
        server.transport.sendto(b"to the old one", everywhere_seen)
        await asyncio.sleep(1)
        assert ann.errors == [errno.EINVAL]
        ((_, seen_now),) = server.heard
        assert seen_now != everywhere_seen
        server.transport.sendto(b"to the new one", seen_now)
        await asyncio.sleep(1)
        assert [data for data, _ in everywhere.heard] == [b"to the new one"]
        assert ann.heard == []
        expected = "home" if isinstance(fault, ChangeAddress) else "cell"
        assert seen_now[0] == network.nat(expected).address

    run_virtual(main())


@on_virtual_time
async def test_a_connection_from_an_address_that_is_gone_is_silent_until_it_is_given_up() -> None:
    network, _ = await build(behind("ann", "home"), SERVER, gateways=(HOME,))
    accepted: list[asyncio.StreamReader] = []

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(reader)
        try:
            await reader.read(1)
        finally:
            writer.close()

    with network.host("server"):
        listening = await asyncio.start_server(keep, port=80)
    with network.host("ann"):
        reader, writer = await asyncio.open_connection("server", 80)
    await network.apply(ChangeAddress(node="ann"))
    began = asyncio.get_running_loop().time()
    writer.write(b"x")
    with pytest.raises(TimeoutError):
        await reader.read()
    assert 120 <= asyncio.get_running_loop().time() - began < 140
    accepted[0].feed_eof()
    writer.close()
    listening.close()


@on_virtual_time
async def test_a_host_that_comes_back_to_an_uplink_finds_its_links_as_it_left_them() -> None:
    network, (_, server) = await build(behind("ann", "home", "internet"), SERVER, gateways=(HOME,))
    await network.apply(Cut(node="ann"))
    await network.apply(SwitchUplink(node="ann", to="internet"))
    everywhere = await open_port(network, "ann", 5000, "0.0.0.0")
    everywhere.transport.sendto(b"1", ("server", 4000))
    await asyncio.sleep(1)
    assert [addr[0] for _, addr in server.heard] == [network.host("ann").address]
    await network.apply(SwitchUplink(node="ann", to="home"))
    everywhere.transport.sendto(b"2", ("server", 4000))
    await asyncio.sleep(1)
    assert len(server.heard) == 1
    await network.apply(Heal(node="ann"))
    everywhere.transport.sendto(b"3", ("server", 4000))
    await asyncio.sleep(1)
    assert [data for data, _ in server.heard] == [b"1", b"3"]


@on_virtual_time
async def test_a_rebinding_gives_another_port_and_a_reboot_silence_and_the_same_one() -> None:
    network, (ann, server) = await build(behind("ann", "home"), SERVER, gateways=(HOME,))

    async def seen() -> list[int]:
        server.heard.clear()
        ann.transport.sendto(b"x", ("server", 4000))
        await asyncio.sleep(1)
        return [addr[1] for _, addr in server.heard]

    assert await seen() == [4000]
    old = server.heard[0][1]
    await network.apply(Rebind(node="home"))
    (port,) = await seen()
    assert port != 4000
    server.transport.sendto(b"to the old port", old)
    await asyncio.sleep(1)
    assert ann.heard == []
    await network.apply(Reboot(node="home", seconds=5))
    assert await seen() == []
    server.transport.sendto(b"to a box that is down", old)
    await asyncio.sleep(5)
    assert network.machine.gateway("home").dropped == 2
    assert await seen() == [4000]


@pytest.mark.parametrize(
    ("fault", "error", "complaint"),
    [
        (Cut(node="nobody"), ValueError, "no node is called 'nobody'"),
        (Heal(node="nobody"), ValueError, "no node is called 'nobody'"),
        (Partition(nodes=("ann", "nobody")), ValueError, "no node is called 'nobody'"),
        (Rebind(node="ann"), ValueError, "'ann' is no gateway"),
        (Reboot(node="ann", seconds=1), ValueError, "'ann' is no gateway"),
        (ChangeAddress(node="home"), ValueError, "no host is called 'home'"),
        (ChangeAddress(node="added"), ValueError, "its address cannot change"),
        (Impair(node="added"), ValueError, "has no uplink"),
        (SwitchUplink(node="ann", to="cell"), ValueError, "no uplink of 'ann' leads to 'cell'"),
        (Signal(process="p", signal="kill"), CannotCarry, "namespaces"),
    ],
)
def test_a_fault_that_cannot_be_done_says_why_and_is_not_noted(
    fault: Fault, error: type[Exception], complaint: str
) -> None:
    async def main() -> None:
        network, _ = await build(behind("ann", "home"), gateways=(HOME,))
        network.add_host("added")
        with pytest.raises(error, match=complaint):
            await network.apply(fault)
        assert network.faults == []

    run_virtual(main())


@on_virtual_time
async def test_hosts_that_are_added_stand_in_the_internet_of_the_topology() -> None:
    network, (ann,) = await build(behind("ann", "home"), gateways=(HOME,))
    added = network.add_host("added")
    port = await open_port(network, "added")
    ann.transport.sendto(b"x", ("added", 4000))
    await asyncio.sleep(1)
    assert len(port.heard) == 1
    with pytest.raises(ValueError, match="no link leads from 'ann' to 'added'"):
        network.link(network.host("ann"), added)
    with pytest.raises(ValueError, match="no host is called"):
        network.host("home")


LINKS = st.builds(
    LinkConfig,
    delay=st.sampled_from([0.0, 0.01]),
    jitter=st.sampled_from([0.0, 0.005]),
    loss=st.sampled_from([0.0, 0.2]),
    duplication=st.sampled_from([0.0, 0.2]),
)
UPLINKS = st.tuples(LINKS, LINKS)
KINDS = st.sampled_from([*NATS])
FAULTS: st.SearchStrategy[Fault] = st.sampled_from(
    [
        Cut(node="nat1"),
        Heal(node="nat1"),
        Rebind(node="nat0"),
        Reboot(node="nat2", seconds=0.3),
        ChangeAddress(node="host0"),
        SwitchUplink(node="host1", to="internet"),
        SwitchUplink(node="host1", to="nat1"),
        Partition(nodes=("host0", "host2")),
    ]
)


@st.composite
def runs(draw: st.DrawFn) -> tuple[Topology, list[tuple[int, int]], list[Fault | None]]:
    """Four hosts behind three gateways, one of which is behind another, or two; traffic, and faults in between."""
    gateways: list[GatewaySpec] = []
    for number in range(3):
        up, down = draw(UPLINKS)
        above = draw(st.sampled_from(["internet", *(gateway.name for gateway in gateways)]))
        nat = NATS[draw(KINDS)]
        gateways.append(GatewaySpec(name=f"nat{number}", nat=nat, uplink=Uplink(to=above, up=up, down=down)))
    uplinks = [("nat0",), ("nat1", "internet"), ("nat2",), ("internet",)]
    hosts = tuple(behind(f"host{number}", *to) for number, to in enumerate(uplinks))
    sends = draw(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=30))
    faults = draw(st.lists(st.none() | FAULTS, min_size=len(sends), max_size=len(sends)))
    return Topology(hosts=hosts, gateways=tuple(reversed(gateways))), sends, faults


def play(run: tuple[Topology, list[tuple[int, int]], list[Fault | None]]) -> tuple[list[TraceEntry], int]:
    topology, sends, faults = run
    trace: list[TraceEntry] = []

    async def main() -> int:
        network = VirtualNetwork(topology, trace=trace.append)
        ports = [await open_port(network, host.name, 4000, "0.0.0.0") for host in network.hosts]
        for (source, destination), fault in zip(sends, faults, strict=True):
            heard = [addr for _, addr in ports[source].heard]
            ports[source].transport.sendto(b"x", (f"host{destination}", 4000))
            if heard:
                ports[source].transport.sendto(b"x", heard[-1])
            if fault is not None:
                await network.apply(fault)
            await asyncio.sleep(0.02)
        await asyncio.sleep(5)
        duplicated = sum(link.counters.duplicated for link in network.machine.links().values())
        for link in network.machine.links().values():
            c = link.counters
            assert c.sent + c.duplicated == c.delivered + c.lost + c.dropped + c.cut
        return duplicated

    return trace, run_virtual(main(), seed=1)


@settings(max_examples=60)
@given(runs())
def test_every_packet_arrives_or_ends_somewhere_for_a_reason_and_the_same_run_gives_the_same_trace(
    run: tuple[Topology, list[tuple[int, int]], list[Fault | None]],
) -> None:
    trace, duplicated = play(run)
    assert play(run)[0] == trace
    fates = Counter(entry.fate for entry in trace)
    started = fates.pop("carried", 0)
    at_once = sum(1 for entry in trace if entry.fate in {"lost", "cut"})
    assert started <= sum(fates.values()) <= started + duplicated + at_once
    assert [entry.time for entry in trace] == sorted(entry.time for entry in trace)
