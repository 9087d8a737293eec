"""The signaling server and the data path of aiortc through proxies, on real sockets."""

import asyncio

from interop.aiortc_remote import AiortcRemote
from interop.remote import Reliability
from rtcmesh.netem.link import LinkConfig
from rtcmesh.netem.packet import Endpoint
from rtcmesh.netem.proxy import ProxyNetwork, TcpProxy, Toxics, candidate_endpoints, rewrite_candidates
from rtcmesh.netem.topology import HostSpec, Topology, Uplink
from rtcmesh.signaling import (
    Identity,
    LinkLost,
    LinkResumed,
    LocalPrekey,
    PeerJoined,
    ServerConfig,
    Signal,
    SignalingLink,
)
from rtcmesh.signaling.server import serve
from support.processes import port_of

PATIENCE = 30.0
DELAY = 0.05


async def test_a_link_whose_connection_is_reset_resumes_and_misses_nothing() -> None:
    ann, bob = Identity.create(), Identity.create()
    prekeys = {who: LocalPrekey.create(who, "lobby").public for who in (ann, bob)}
    async with asyncio.timeout(PATIENCE), serve(ServerConfig(port=0)) as server:
        slow = Toxics(latency=0.02, slice_bytes=100)
        async with (
            TcpProxy(Endpoint("127.0.0.1", port_of(server.url)), there=slow, back=slow) as proxy,
            SignalingLink.open(
                f"http://127.0.0.1:{proxy.endpoint.port}", room="lobby", identity=ann, prekey=prekeys[ann]
            ) as anns,
            SignalingLink.open(server.url, room="lobby", identity=bob, prekey=prekeys[bob]) as bobs,
        ):
            assert isinstance(await anext(anns), PeerJoined)
            proxy.reset()
            assert isinstance(await anext(anns), LinkLost)
            await bobs.signal(ann.peer_id, b"sealed")
            seen = [await anext(anns), await anext(anns)]
            assert [type(event) for event in seen] == [LinkResumed, Signal]
            assert proxy.counters.reset == 1
            assert proxy.counters.accepted >= 2


async def test_peers_talk_through_the_proxy_that_stands_in_their_candidates() -> None:
    link = LinkConfig(delay=DELAY)
    hosts = tuple(HostSpec(name=name, uplinks=(Uplink(up=link),)) for name in ("ann", "bob"))
    ann, bob = AiortcRemote(), AiortcRemote()
    async with asyncio.timeout(PATIENCE), ProxyNetwork(Topology(hosts=hosts)) as network:

        def through(description: str, sender: str, receiver: str) -> str:
            """Have the receiver of a description reach its sender through the proxy alone."""
            own = candidate_endpoints(description)
            return rewrite_candidates(description, {end: network.udp(receiver, sender, end) for end in own})

        try:
            answer = await bob.answer(through(await ann.offer(), "ann", "bob"))
            await ann.accept(through(answer, "bob", "ann"))
            await ann.open("talk", Reliability())
            loop = asyncio.get_running_loop()
            sent_at = loop.time()
            await ann.send("talk", "hello")
            assert await bob.received("talk", 1) == ["hello"]
            assert loop.time() - sent_at >= DELAY * 0.99
            counters = network.counters()
            assert counters["ann"]["up"]["delivered"] > 5
            assert counters["bob"]["up"]["delivered"] > 5
        finally:
            await asyncio.gather(ann.close(), bob.close())
