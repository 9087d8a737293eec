"""What is said as soon as a transport opens travels with the last packet of its handshake."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from rtcmesh.netem import Host, LinkConfig, VirtualNetwork, run_virtual, virtual_webrtc
from rtcmesh.peer import Mesh, MeshConfig, PathChanged, PathKind, PathPolicy
from rtcmesh.peer.testing import virtual_room
from rtcmesh.peer.webrtc import WebRtcTransport

ONE_WAY = 0.025
ROUND_TRIP = 2 * ONE_WAY


class Sink:
    """A transport that says something at once, and when what happened."""

    def __init__(self) -> None:
        self.transport = WebRtcTransport(self, ())
        self.opened_at = self.received_at = 0.0
        self.received: list[bytes] = []
        self.reason = ""
        self.opened, self.heard, self.closed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def transport_opened(self) -> None:
        assert not self.received
        self.opened_at = now()
        self.opened.set()
        self.transport.send_datagram(b"ping")
        self.transport.send(b"first")

    def candidate_gathered(self, candidate: str) -> None: ...

    def packet_received(self, packet: bytes) -> None:
        assert self.opened.is_set()
        self.received_at = now()
        self.received.append(packet)
        self.heard.set()

    def datagram_received(self, datagram: bytes) -> None:
        assert self.opened.is_set()
        self.received.append(datagram)

    def transport_writable(self) -> None: ...

    def transport_closed(self, reason: str) -> None:
        self.reason = reason
        self.closed.set()


def now() -> float:
    return asyncio.get_running_loop().time()


@asynccontextmanager
async def negotiated() -> AsyncGenerator[tuple[VirtualNetwork, tuple[Host, Host], Sink, Sink]]:
    """Connect two transports; the descriptions cross at once."""
    with virtual_webrtc():
        network = VirtualNetwork(link=LinkConfig(delay=ONE_WAY))
        hosts = network.add_host("ann"), network.add_host("bob")
        ann, bob = Sink(), Sink()
        try:
            with hosts[0]:
                offer = await ann.transport.create_offer()
            with hosts[1]:
                answer = await bob.transport.create_answer(offer)
            await ann.transport.accept_answer(answer)
            yield network, hosts, ann, bob
        finally:
            await asyncio.gather(ann.transport.close(), bob.transport.close())


def test_the_first_words_arrive_with_the_cookie() -> None:
    async def main() -> None:
        async with negotiated() as (_, _, ann, bob):
            await asyncio.gather(ann.heard.wait(), bob.heard.wait())
            # The DTLS client is the answering end: the other one is first to be answered.
            assert ann.opened_at < bob.opened_at
            assert bob.received_at == pytest.approx(ann.opened_at + ONE_WAY)
            assert ann.received_at == pytest.approx(bob.opened_at + ONE_WAY)
            assert sorted(ann.received) == sorted(bob.received) == [b"first", b"ping"]

    run_virtual(main())


def test_who_is_open_and_never_hears_more_is_closed_with_a_reason() -> None:
    async def main() -> None:
        async with negotiated() as (network, (ann_host, bob_host), ann, bob):
            await ann.opened.wait()
            network.partition(ann_host, bob_host)
            await asyncio.gather(ann.closed.wait(), bob.closed.wait())
            assert now() < 40
            assert ann.reason
            assert bob.reason
            assert ann.received == bob.received == []

    run_virtual(main())


async def direct_at(mesh: Mesh) -> float:
    async for event in mesh.events():
        if isinstance(event, PathChanged) and event.path is PathKind.DIRECT:
            break
    return now()


@pytest.mark.parametrize("policy", [PathPolicy.AUTO, PathPolicy.DIRECT_ONLY])
def test_a_direct_path_is_asked_at_once_and_measured_right(policy: PathPolicy) -> None:
    async def main() -> None:
        async with virtual_room(link=LinkConfig(delay=ONE_WAY), webrtc=True) as room:
            config = MeshConfig(path_policy=policy)
            meshes = await asyncio.gather(room.join("ann", config=config), room.join("bob", config=config))
            offering, answering = sorted(meshes, key=lambda mesh: mesh.peer_id)
            times = await asyncio.gather(direct_at(offering), direct_at(answering))
            assert times[1] - times[0] == pytest.approx(ONE_WAY), (
                "who is answered first need not wait for more"
            )
            await asyncio.sleep(1)
            for mesh in meshes:
                (peer,) = mesh.peers.values()
                assert peer.rtt == pytest.approx(ROUND_TRIP)

    run_virtual(main(), seed=1)


def test_the_first_message_of_a_member_comes_with_the_path() -> None:
    async def main() -> None:
        async with virtual_room(link=LinkConfig(delay=ONE_WAY), webrtc=True) as room:
            config = MeshConfig(path_policy=PathPolicy.DIRECT_ONLY)
            meshes = await asyncio.gather(room.join("ann", config=config), room.join("bob", config=config))
            offering, answering = sorted(meshes, key=lambda mesh: mesh.peer_id)
            channel = answering.channel("words")

            async def heard_at() -> float:
                await channel.receive()
                return now()

            async def talk() -> None:
                await offering.wait_for_peers(1)
                await offering.channel("words").send(b"first")

            opened_at, first_at, _ = await asyncio.gather(direct_at(answering), heard_at(), talk())
            assert first_at == opened_at

    run_virtual(main(), seed=1)
