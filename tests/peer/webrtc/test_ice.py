"""Both ICE agents: what every agent guarantees, and what only the fast one does."""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from aioice import stun
from hypothesis import given, settings
from hypothesis import strategies as st

from rtcmesh.netem import Host, LinkConfig, TraceEntry, VirtualNetwork
from rtcmesh.peer.webrtc import Candidate, IceTransportPolicy, WebRtcConfig
from rtcmesh.peer.webrtc.checks import PATIENCE
from rtcmesh.peer.webrtc.datagrams import Datagrams
from rtcmesh.peer.webrtc.ice import IceAgentFactory
from rtcmesh.peer.webrtc.ice_server import StunServer, TurnServer
from rtcmesh.peer.webrtc.plain_ice import PlainIce
from rtcmesh.peer.webrtc.trickle_ice import TrickleIce, missing_names
from support.ice import End, Servers, connect, ends, exchange, introduce, virtually
from support.tls import certificate_for
from support.turn import TurnServer as Turn


@pytest.fixture(params=[TrickleIce, PlainIce])
def make(request: pytest.FixtureRequest) -> IceAgentFactory:
    agent: IceAgentFactory = request.param
    return agent


def network() -> tuple[VirtualNetwork, Host, Host, Host]:
    net = VirtualNetwork(link=LinkConfig(delay=0.02))
    return net, net.add_host("ann"), net.add_host("bob"), net.add_host("server")


def test_datagrams_cross_both_ways(make: IceAgentFactory) -> None:
    async def scenario() -> None:
        _, ann_host, bob_host, _ = network()
        ann, bob = End(make, ann_host, controlling=True), End(make, bob_host, controlling=False)
        async with ends(ann, bob):
            await connect(ann, bob)
            await exchange(ann, bob)

    virtually(scenario)


def test_both_families_of_addresses_are_candidates(make: IceAgentFactory) -> None:
    async def scenario() -> None:
        net = VirtualNetwork(link=LinkConfig(delay=0.02))
        both = net.add_host("ann", ("10.1.0.1", "fd00::1")), net.add_host("bob", ("fd00::2",))
        ann, bob = End(make, both[0], controlling=True), End(make, both[1], controlling=False)
        async with ends(ann, bob):
            await connect(ann, bob)
            assert {candidate.address for candidate in ann.candidates} == {"10.1.0.1", "fd00::1"}
            await exchange(ann, bob)

    virtually(scenario)


def test_a_peer_that_cannot_be_reached_is_an_end_with_a_reason(make: IceAgentFactory) -> None:
    async def scenario() -> None:
        net, ann_host, bob_host, _ = network()
        net.partition(ann_host, bob_host)
        ann, bob = End(make, ann_host, controlling=True), End(make, bob_host, controlling=False)
        async with ends(ann, bob):
            connecting = asyncio.create_task(connect(ann, bob))
            await asyncio.gather(ann.ended.wait(), bob.ended.wait())
            assert ann.reason
            connecting.cancel()
            await asyncio.gather(connecting, return_exceptions=True)

    virtually(scenario)


@pytest.mark.parametrize("ann_controls", [True, False])
def test_a_check_of_the_other_end_finds_it_where_its_candidates_say_nothing(
    ann_controls: bool,
) -> None:
    async def scenario() -> None:
        _, ann_host, bob_host, _ = network()
        ann = End(TrickleIce, ann_host, controlling=ann_controls)
        bob = End(TrickleIce, bob_host, controlling=not ann_controls)
        async with ends(ann, bob):
            await asyncio.gather(ann.gather(), bob.gather())
            await introduce(ann, bob, [None])
            await asyncio.sleep(PATIENCE - 1)
            await introduce(bob, ann, [*ann.candidates, None])
            await asyncio.gather(ann.selected.wait(), bob.selected.wait())
            await exchange(ann, bob)
            await asyncio.sleep(PATIENCE)
            assert not ann.ended.is_set()

    virtually(scenario)


def test_an_end_without_any_candidate_is_waited_for_but_not_for_ever() -> None:
    async def scenario() -> None:
        _, ann_host, bob_host, _ = network()
        ann, bob = End(TrickleIce, ann_host, controlling=True), End(TrickleIce, bob_host, controlling=False)
        async with ends(ann, bob):
            await asyncio.gather(ann.gather(), bob.gather())
            await introduce(ann, bob, [None])
            async with asyncio.timeout(PATIENCE + 0.1):
                await ann.ended.wait()
            assert asyncio.get_running_loop().time() >= PATIENCE

    virtually(scenario)


def test_an_end_whose_sockets_are_gone_is_not_waited_for() -> None:
    async def scenario() -> None:
        _, ann_host, bob_host, _ = network()
        ann, bob = End(TrickleIce, ann_host, controlling=True), End(TrickleIce, bob_host, controlling=False)
        async with ends(ann, bob):
            await asyncio.gather(ann.gather(), bob.gather())
            await introduce(ann, bob, [*bob.candidates, None])
            await asyncio.sleep(0.01)
            for protocol in list(vars(ann.agent)["_connection"].protocols):
                protocol.transport.close()
            async with asyncio.timeout(1):
                await ann.ended.wait()

    virtually(scenario)


def test_an_early_check_without_a_priority_ends_nothing() -> None:
    async def scenario() -> None:
        _, ann_host, bob_host, _ = network()
        ann, bob = End(TrickleIce, ann_host, controlling=True), End(TrickleIce, bob_host, controlling=False)
        async with ends(ann, bob):
            await ann.gather()
            with bob_host:
                early, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                    asyncio.DatagramProtocol, local_addr=(bob_host.address, 0)
                )
            request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
            request.attributes["USERNAME"] = f"{ann.agent.ufrag}:{bob.agent.ufrag}"
            request.add_message_integrity(ann.agent.password.encode())
            early.sendto(bytes(request), (ann.candidates[0].address, ann.candidates[0].port))
            await asyncio.sleep(0.1)
            early.close()
            await bob.gather()
            await introduce(ann, bob, [*bob.candidates, None])
            await introduce(bob, ann, [*ann.candidates, None])
            await asyncio.gather(ann.selected.wait(), bob.selected.wait())
            await exchange(ann, bob)

    virtually(scenario)


def test_candidates_that_nobody_can_use_are_ignored(make: IceAgentFactory) -> None:
    async def scenario() -> None:
        _, ann_host, bob_host, _ = network()
        ann, bob = End(make, ann_host, controlling=True), End(make, bob_host, controlling=False)
        async with ends(ann, bob):
            await ann.gather()
            for text in (
                "1 1 tcp 1 10.0.0.9 9 typ host tcptype active",
                "1 2 udp 1 10.0.0.9 9 typ host",
                "1 1 udp 1 224.0.0.1 9 typ host",
                "1 1 udp 1 0.0.0.0 9 typ host",
                "1 1 udp 1 10.0.0.9 0 typ host",
                "1 1 udp 1 host.example 9 typ host",
                "1 1 udp 1 10.0.0.9 9 typ unknown",
                "1 1 udp 1 0c8a3f8e-21e5-4f0c-8f0c-9d1dd2f5a4b1.local 9 typ host",
            ):
                await ann.agent.add_remote_candidate(Candidate.parse(text))
            assert asyncio.get_running_loop().time() == 0, "no name is waited for"
            await bob.gather()
            await introduce(ann, bob, bob.candidates)
            await introduce(bob, ann, ann.candidates)
            await asyncio.gather(ann.selected.wait(), bob.selected.wait())

    virtually(scenario)


@settings(max_examples=25)
@given(st.lists(st.binary(max_size=60), max_size=20), st.binary(max_size=40))
def test_whatever_strangers_and_peers_send_the_agent_survives(datagrams: list[bytes], body: bytes) -> None:
    async def scenario() -> None:
        _, ann_host, bob_host, _ = network()
        ann, bob = End(TrickleIce, ann_host, controlling=True), End(TrickleIce, bob_host, controlling=False)
        async with ends(ann, bob):
            await connect(ann, bob)
            with bob_host:
                stranger, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                    asyncio.DatagramProtocol, local_addr=(bob_host.address, 0)
                )
            target = (ann.candidates[0].address, ann.candidates[0].port)
            request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
            request.attributes["USERNAME"] = f"{ann.agent.ufrag}:{bob.agent.ufrag}"
            request.add_message_integrity(
                ann.agent.password.encode()
            )  # and without the priority that it must have
            header = struct.pack("!HHI12s", 0x0001, len(body), 0x2112A442, bytes(12))
            for datagram in [*datagrams, bytes(request), header + body]:
                stranger.sendto(datagram, target)
            await asyncio.sleep(1)
            ann.received = [datagram for datagram in ann.received if datagram not in datagrams]
            await exchange(ann, bob)
            stranger.close()

    virtually(scenario)


def test_closing_at_any_time_is_harmless(make: IceAgentFactory) -> None:
    async def scenario() -> None:
        _, ann_host, bob_host, _ = network()
        for moment in (0.0, 0.005, 0.02, 0.03, 0.05, 0.1):
            ann, bob = End(make, ann_host, controlling=True), End(make, bob_host, controlling=False)
            await End(make, ann_host, controlling=True).agent.close()
            async with ends(ann, bob):
                connecting = asyncio.create_task(connect(ann, bob))
                await asyncio.sleep(moment)
                await ann.agent.close()
                ann.agent.send(Datagrams(b"\x16late", 5))
                connecting.cancel()
                await asyncio.gather(connecting, return_exceptions=True)

    virtually(scenario)


def test_host_candidates_come_at_once_and_those_of_servers_as_they_are_found() -> None:
    async def scenario() -> None:
        _, ann_host, _, server_host = network()
        turn = Turn(server_host.address)
        with server_host:
            port = await turn.listen_udp()
        servers: Servers = [
            StunServer(host="server", port=port),
            StunServer(host=server_host.address, port=port),
            TurnServer(
                host=server_host.address,
                port=port,
                transport="udp",
                tls=False,
                username="user",
                password="secret",
            ),
        ]
        ann = End(TrickleIce, ann_host, controlling=True, servers=servers)
        async with ends(ann):
            await ann.gather()
            assert asyncio.get_running_loop().time() == 0
            assert ann.types == ["host"]
            assert not ann.gathered.is_set()
            await ann.gathered.wait()
            assert ann.types == ["host", "relay"], "what STUN says is the address of the host itself"
            assert turn.bindings == 2, "every server is asked"
        assert turn.allocations == set(), "closing gives the allocation back"
        turn.close()

    virtually(scenario)


def test_a_silent_server_delays_nothing_but_the_end_of_candidates() -> None:
    async def scenario() -> None:
        _, ann_host, bob_host, server_host = network()
        silent = Turn(server_host.address)
        silent.is_silent = True
        with server_host:
            port = await silent.listen_udp()
        servers: Servers = [
            StunServer(host="nobody.example", port=1),
            StunServer(host=server_host.address, port=port),
            TurnServer(
                host=server_host.address,
                port=port,
                transport="udp",
                tls=False,
                username="user",
                password="secret",
            ),
            TurnServer(
                host=server_host.address,
                port=port,
                transport="tcp",
                tls=False,
                username="user",
                password="secret",
            ),
        ]
        ann = End(TrickleIce, ann_host, controlling=True, servers=servers)
        bob = End(TrickleIce, bob_host, controlling=False)
        loop = asyncio.get_running_loop()
        async with ends(ann, bob):
            await connect(ann, bob)
            assert loop.time() < 0.2
            await ann.gathered.wait()
            assert loop.time() == pytest.approx(WebRtcConfig().gathering_timeout, abs=0.1)
            await exchange(ann, bob)
        silent.close()

    virtually(scenario)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_with_the_relay_policy_only_the_relay_is_seen(transport: str) -> None:
    async def scenario() -> None:
        _, ann_host, bob_host, server_host = network()
        turn = Turn(server_host.address)
        with server_host:
            port = await (turn.listen_udp() if transport == "udp" else turn.listen_tcp())
        server = TurnServer(
            host=server_host.address,
            port=port,
            transport=transport,
            tls=False,
            username="user",
            password="secret",
        )
        config = WebRtcConfig(ice_transport_policy=IceTransportPolicy.RELAY)
        ann = End(TrickleIce, ann_host, controlling=True, servers=[server], config=config)
        bob = End(TrickleIce, bob_host, controlling=False)
        async with ends(ann, bob):
            await connect(ann, bob)
            await ann.gathered.wait()
            assert ann.types == ["relay"]
            assert ann.candidates[0].related_address == "0.0.0.0"
            await asyncio.sleep(60)
            assert not ann.ended.is_set()
            assert not bob.ended.is_set()
            await exchange(ann, bob, count=50)
            assert turn.relayed > 100
            pair = bob.agent.selected_pair
            assert pair is not None
            assert pair.remote.address == server_host.address
        turn.close()

    virtually(scenario)


def test_a_turn_server_that_dies_does_not_hold_up_closing() -> None:
    async def scenario() -> None:
        _, ann_host, _, server_host = network()
        turn = Turn(server_host.address)
        with server_host:
            port = await turn.listen_udp()
        server = TurnServer(
            host=server_host.address,
            port=port,
            transport="udp",
            tls=False,
            username="user",
            password="secret",
        )
        ann = End(TrickleIce, ann_host, controlling=True, servers=[server])
        await ann.gather()
        await ann.gathered.wait()
        turn.is_silent = True
        before = asyncio.get_running_loop().time()
        await ann.agent.close()
        assert asyncio.get_running_loop().time() - before < 1.5
        turn.close()

    virtually(scenario)


def test_a_wrong_password_costs_the_relay_and_nothing_else() -> None:
    async def scenario() -> None:
        _, ann_host, bob_host, server_host = network()
        turn = Turn(server_host.address)
        with server_host:
            port = await turn.listen_udp()
        server = TurnServer(
            host=server_host.address, port=port, transport="udp", tls=False, username="user", password="wrong"
        )
        ann = End(TrickleIce, ann_host, controlling=True, servers=[server])
        bob = End(TrickleIce, bob_host, controlling=False)
        async with ends(ann, bob):
            await connect(ann, bob)
            await ann.gathered.wait()
            assert ann.types == ["host"]
            await exchange(ann, bob)
        turn.close()

    virtually(scenario)


@pytest.mark.parametrize("kind", ["udp", "tcp", "tls"])
async def test_a_relay_on_real_sockets(kind: str) -> None:
    tls, trusting = certificate_for("127.0.0.1")
    turn = Turn("127.0.0.1")
    port = await (turn.listen_udp() if kind == "udp" else turn.listen_tcp(tls if kind == "tls" else None))
    server = TurnServer(
        host="127.0.0.1",
        port=port,
        transport="udp" if kind == "udp" else "tcp",
        tls=kind == "tls",
        username="user",
        password="secret",
    )
    config = WebRtcConfig(ice_transport_policy=IceTransportPolicy.RELAY, turn_tls=trusting)
    ann = End(TrickleIce, None, controlling=True, servers=[server], config=config)
    bob = End(TrickleIce, None, controlling=False, servers=[server], config=config)
    async with ends(ann, bob):
        await connect(ann, bob)
        await exchange(ann, bob, count=50)
    turn.close()


async def test_a_server_with_a_certificate_nobody_vouches_for_is_not_used() -> None:
    tls, _ = certificate_for("127.0.0.1")
    turn = Turn("127.0.0.1")
    port = await turn.listen_tcp(tls)
    server = TurnServer(
        host="127.0.0.1", port=port, transport="tcp", tls=True, username="user", password="secret"
    )
    ann = End(TrickleIce, None, controlling=True, servers=[server])
    async with ends(ann):
        await ann.gather()
        await ann.gathered.wait()
        assert "relay" not in ann.types
    turn.close()


async def test_runs_cross_real_sockets(make: IceAgentFactory) -> None:
    ann, bob = End(make, None, controlling=True), End(make, None, controlling=False)
    async with ends(ann, bob):
        await connect(ann, bob)
        await exchange(ann, bob, count=60)
        pair = ann.agent.selected_pair
        assert (pair is None) == (make is PlainIce)
        if pair is not None:
            assert pair.local.address == pair.remote.address


# Consent (RFC 7675)


@asynccontextmanager
async def at_rest(
    one_way: float = 0.02, bob_make: IceAgentFactory = TrickleIce
) -> AsyncGenerator[tuple[VirtualNetwork, list[TraceEntry], End, End]]:
    """Connect over a path with this delay; also what is sent on it."""
    sent: list[TraceEntry] = []

    def note(entry: TraceEntry) -> None:
        if entry.fate == "carried":
            sent.append(entry)

    net = VirtualNetwork(link=LinkConfig(delay=one_way), trace=note)
    ann = End(TrickleIce, net.add_host("ann"), controlling=True)
    bob = End(bob_make, net.add_host("bob"), controlling=False)
    async with ends(ann, bob):
        await connect(ann, bob)
        yield net, sent, ann, bob


def test_a_connection_at_rest_stays_and_costs_a_binding_in_five_seconds_and_direction(
    make: IceAgentFactory,
) -> None:
    async def scenario() -> None:
        async with at_rest(bob_make=make) as (_, sent, ann, bob):
            await asyncio.sleep(10)
            sent.clear()
            await asyncio.sleep(500)
            assert len(sent) / 4 == pytest.approx(100, rel=0.1)
            assert not ann.ended.is_set()
            assert not bob.ended.is_set()
            await exchange(ann, bob)

    virtually(scenario)


def test_a_connection_at_rest_has_no_task() -> None:
    async def scenario() -> None:
        before = len(asyncio.all_tasks())
        async with at_rest():
            await asyncio.sleep(10)
            assert len(asyncio.all_tasks()) == before

    virtually(scenario)


def test_a_slow_path_is_no_silence() -> None:
    async def scenario() -> None:
        async with at_rest(one_way=1.5) as (_, _, ann, bob):
            await asyncio.sleep(300)
            assert not ann.ended.is_set()
            await exchange(ann, bob)

    virtually(scenario)


@pytest.mark.parametrize("one_way", [True, False])
def test_who_gets_no_answer_sends_no_more(one_way: bool) -> None:
    async def scenario() -> None:
        async with at_rest() as (net, sent, ann, bob):
            assert ann.host is not None
            assert bob.host is not None
            await asyncio.sleep(10)
            cut_at = asyncio.get_running_loop().time()
            net.partition(ann.host, bob.host, one_way=one_way)
            await asyncio.gather(ann.ended.wait(), bob.ended.wait())
            assert 24 <= asyncio.get_running_loop().time() - cut_at <= 31
            assert ann.reason == bob.reason == "the other end no longer answers ICE"
            assert ann.agent.selected_pair is None
            sent.clear()
            ann.agent.send(Datagrams(b"\x16late", 5))
            await asyncio.sleep(60)
            assert not sent

    virtually(scenario)


def test_the_installed_aioice_has_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing_names() == []
    monkeypatch.delattr("aioice.ice.Connection._pair_remote_candidate")
    assert missing_names() == ["_pair_remote_candidate"]


def test_contexts_are_the_standard_librarys() -> None:
    assert isinstance(certificate_for("127.0.0.1")[0], ssl.SSLContext)
