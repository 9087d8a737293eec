"""UDP through proxies on real sockets of loopback."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import cast

import pytest

from rtcmesh.netem.errors import CannotCarry
from rtcmesh.netem.faults import ChangeAddress, Cut, Heal, Impair, Partition, Rebind, Signal, SwitchUplink
from rtcmesh.netem.link import LinkConfig
from rtcmesh.netem.packet import Endpoint, Packet
from rtcmesh.netem.proxy.network import ProxyNetwork
from rtcmesh.netem.proxy.udp import MAX_FLOWS, UdpProxy
from rtcmesh.netem.topology import GatewaySpec, HostSpec, Topology, Uplink

PATIENCE = 20.0


class Socket(asyncio.DatagramProtocol):
    """A socket whose datagrams are awaited; a server answers them."""

    def __init__(self, *, answers: bool = False) -> None:
        self.received: asyncio.Queue[tuple[bytes, Endpoint]] = asyncio.Queue()
        self._answers = answers

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)
        self.endpoint = Endpoint(*transport.get_extra_info("sockname"))

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.received.put_nowait((data, Endpoint(*addr)))
        if self._answers:
            self.transport.sendto(data, addr)

    def send(self, data: bytes, to: Endpoint) -> None:
        self.transport.sendto(data, to)

    async def next(self) -> tuple[bytes, Endpoint]:
        async with asyncio.timeout(PATIENCE):
            return await self.received.get()


class Taps:
    """What a proxy tells of its datagrams, to be waited for."""

    def __init__(self) -> None:
        self._fates: asyncio.Queue[str] = asyncio.Queue()

    def note(self, time: float, packet: Packet, fate: str, host: str | None) -> None:
        del time, packet, host
        self._fates.put_nowait(fate)

    async def until(self, fate: str) -> None:
        """Wait for one that meets this fate."""
        async with asyncio.timeout(PATIENCE):
            while await self._fates.get() != fate:
                pass


@asynccontextmanager
async def sockets() -> AsyncGenerator[tuple[Socket, Socket]]:
    loop = asyncio.get_running_loop()
    pair = Socket(), Socket(answers=True)
    for one in pair:
        await loop.create_datagram_endpoint(lambda one=one: one, local_addr=("127.0.0.1", 0))  # type: ignore[misc]
    try:
        yield pair
    finally:
        for one in pair:
            one.transport.close()
        await asyncio.sleep(0)


def topology(up: LinkConfig | None = None) -> Topology:
    client = HostSpec(name="client", uplinks=(Uplink(up=up or LinkConfig()),))
    return Topology(hosts=(client, HostSpec(name="server")))


async def test_datagrams_go_through_late_and_answers_come_back() -> None:
    async with sockets() as (client, server), ProxyNetwork(topology(LinkConfig(delay=0.2))) as network:
        way = network.udp("client", "server", server.endpoint)
        sent_at = asyncio.get_running_loop().time()
        client.send(b"hello", way)
        data, seen_from = await server.next()
        assert asyncio.get_running_loop().time() - sent_at >= 0.199
        assert data == b"hello"
        assert seen_from != client.endpoint
        assert await client.next() == (b"hello", way)
        assert network.counters()["client"]["up"]["delivered"] == 1


async def test_the_same_way_is_given_twice_and_serves_many() -> None:
    async with sockets() as (one, server), sockets() as (two, _), ProxyNetwork(topology()) as network:
        way = network.udp("client", "server", server.endpoint)
        assert network.udp("client", "server", server.endpoint) == way
        one.send(b"of one", way)
        two.send(b"of two", way)
        assert (await one.next())[0] == b"of one"
        assert (await two.next())[0] == b"of two"
        assert len({(await server.next())[1], (await server.next())[1]}) == 2


async def test_faults_do_what_they_say() -> None:
    taps = Taps()
    async with sockets() as (client, server), ProxyNetwork(topology(), tap=taps.note) as network:
        way = network.udp("client", "server", server.endpoint)
        await network.apply(Cut(node="client"))
        for data in (b"cut", b"cut too"):
            client.send(data, way)
            await taps.until("cut")
        assert network.counters()["client"]["up"]["cut"] == 2
        await network.apply(Heal(node="client"))
        await network.apply(Partition(nodes=("server", "client"), one_way=True))
        client.send(b"there", way)
        assert (await server.next())[0] == b"there"
        await taps.until("cut")  # the answer
        await network.apply(Heal(node="server"))
        await network.apply(Impair(node="client", down=LinkConfig(duplication=1.0)))
        client.send(b"twice", way)
        assert [(await client.next())[0] for _ in range(2)] == [b"twice"] * 2
        _, before = await server.next()
        await network.apply(ChangeAddress(node="client"))
        client.send(b"moved", way)
        _, after = await server.next()
        assert before != after


async def test_what_proxies_cannot_do_they_say() -> None:
    with pytest.raises(CannotCarry, match="the gateway 'home': a proxy translates no addresses"):
        ProxyNetwork(Topology(hosts=(HostSpec(name="ann"),), gateways=(GatewaySpec(name="home"),)))
    twofold = HostSpec(name="ann", uplinks=(Uplink(), Uplink(to="home")))
    with pytest.raises(CannotCarry, match="has 2 uplinks"):
        ProxyNetwork(Topology(hosts=(twofold,), gateways=(GatewaySpec(name="home"),)))
    async with ProxyNetwork(topology()) as network:
        for fault in (
            Rebind(node="home"),
            SwitchUplink(node="client", to="home"),
            Signal(process="x", signal="kill"),
        ):
            with pytest.raises(CannotCarry):
                await network.apply(fault)
        with pytest.raises(ValueError, match="no host is called 'moon'"):
            await network.apply(Cut(node="moon"))
        with pytest.raises(ValueError, match="no host is called 'moon'"):
            network.udp("client", "moon", Endpoint("127.0.0.1", 1))


async def test_a_target_that_is_not_there_is_counted() -> None:
    taps = Taps()
    nobody = Endpoint("127.0.0.1", 1)
    async with sockets() as (client, _), UdpProxy(nobody, (), (), tap=taps.note) as proxy:
        while not proxy.counters.refused:
            client.send(b"anybody?", proxy.endpoint)
            await taps.until("delivered")


async def test_senders_are_bounded_and_the_silent_one_is_forgotten() -> None:
    async with sockets() as (_, server), UdpProxy(server.endpoint, (), ()) as proxy:
        for port in range(1, MAX_FLOWS + 3):
            proxy.take(b"hello", Endpoint("127.0.0.1", port))
        assert proxy.counters.flows_forgotten == 2
        assert (await server.next())[0] == b"hello"


async def test_two_links_of_one_proxy_share_their_rate_between_all_who_send() -> None:
    """20 datagrams of 1,000 bytes at 100,000 bytes/s take 0.2 s, whoever sends them."""
    config = LinkConfig(rate_bytes_per_second=100_000)
    async with sockets() as (one, server), sockets() as (two, _), ProxyNetwork(topology(config)) as network:
        way = network.udp("client", "server", server.endpoint)
        sent_at = asyncio.get_running_loop().time()
        for _ in range(10):
            one.send(bytes(972), way)
            two.send(bytes(972), way)
        for _ in range(20):
            await server.next()
        assert asyncio.get_running_loop().time() - sent_at >= 0.199
