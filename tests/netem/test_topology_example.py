"""The second example of the README: a phone behind a NAT that leaves the house."""

import asyncio
import inspect
from pathlib import Path
from typing import cast

from rtcmesh.netem import GatewaySpec, HostSpec, LinkConfig, Topology, Uplink, VirtualNetwork, run_virtual
from rtcmesh.netem.faults import SwitchUplink
from rtcmesh.netem.topology import NATS


class Echo(asyncio.DatagramProtocol):
    """Tells whoever asks under which address it is seen."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(f"{data.decode()} {addr[0]}".encode(), addr)


class Ear(asyncio.DatagramProtocol):
    """Puts what it hears into a queue."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.heard.put_nowait(data)


DSL = Uplink(up=LinkConfig(delay=0.02, rate_bytes_per_second=60_000), down=LinkConfig(delay=0.02))
LTE = Uplink(up=LinkConfig(delay=0.04, jitter=0.01), down=LinkConfig(delay=0.03))
TOWN = Topology(
    hosts=(
        HostSpec(name="phone", uplinks=(Uplink(to="home"), Uplink(to="cell"))),
        HostSpec(name="server"),
    ),
    gateways=(
        GatewaySpec(name="home", nat=NATS["port-restricted"], uplink=DSL),
        GatewaySpec(name="cell", nat=NATS["symmetric"], uplink=LTE),
    ),
)


async def leave_the_house() -> list[bytes]:
    network = VirtualNetwork(TOWN)
    loop = asyncio.get_running_loop()
    with network.host("server"):
        await loop.create_datagram_endpoint(Echo, local_addr=("0.0.0.0", 7000))
    with network.host("phone"):
        socket, ear = await loop.create_datagram_endpoint(Ear, local_addr=("0.0.0.0", 0))
    socket.sendto(b"seen as", ("server", 7000))
    answers = [await ear.heard.get()]
    await network.apply(SwitchUplink(node="phone", to="cell"))
    socket.sendto(b"seen as", ("server", 7000))
    return [*answers, await ear.heard.get()]


def test_the_example_of_the_readme() -> None:
    assert run_virtual(leave_the_house()) == [b"seen as 198.18.0.2", b"seen as 198.18.0.3"]


def test_the_readme_shows_this_example() -> None:
    readme = (Path(__file__).parents[2] / "netem" / "README.md").read_text()
    assert inspect.getsource(leave_the_house) in readme
    source = Path(__file__).read_text()
    assert source[source.index("DSL = ") : source.index("\n\n\nasync def leave")] in readme
