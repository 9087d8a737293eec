"""Unmodified aiortc on the virtual network."""

import asyncio

import pytest
from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection

from rtcmesh.netem import Host, LinkConfig, VirtualNetwork, run_virtual, virtual_aiortc


def open_peer(host: Host) -> tuple[RTCPeerConnection, RTCDataChannel, asyncio.Event]:
    """Make a peer connection with one negotiated channel on a host."""
    with host:
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    channel = peer.createDataChannel("test", negotiated=True, id=0)
    opened = asyncio.Event()
    channel.on("open", opened.set)
    return peer, channel, opened


async def negotiate(alice: Host, offerer: RTCPeerConnection, bob: Host, answerer: RTCPeerConnection) -> None:
    """Exchange the descriptions of two peer connections."""
    with alice:
        await offerer.setLocalDescription(await offerer.createOffer())
    with bob:
        await answerer.setRemoteDescription(offerer.localDescription)
        await answerer.setLocalDescription(await answerer.createAnswer())
    with alice:
        await offerer.setRemoteDescription(answerer.localDescription)


async def connect_pair(link: LinkConfig) -> float:
    network = VirtualNetwork(link=link)
    alice, bob = network.add_host("alice"), network.add_host("bob")
    with virtual_aiortc():
        offerer, _, offerer_opened = open_peer(alice)
        answerer, _, answerer_opened = open_peer(bob)
        await negotiate(alice, offerer, bob, answerer)
        async with asyncio.timeout(30):
            await offerer_opened.wait()
            await answerer_opened.wait()
        connected_at = asyncio.get_running_loop().time()
        await offerer.close()
        await answerer.close()
    return connected_at


@pytest.mark.parametrize("seed", range(20))
def test_a_pair_connects_over_a_lossy_link(seed: int) -> None:
    assert 0.3 < run_virtual(connect_pair(LinkConfig(delay=0.05, loss=0.05)), seed=seed) < 15
