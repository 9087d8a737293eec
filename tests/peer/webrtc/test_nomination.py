"""Which pair two ends agree on, whatever answers first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace

import pytest
from aioice import ice, stun
from hypothesis import given, settings
from hypothesis import strategies as st

from rtcmesh.netem import LinkConfig, VirtualNetwork
from rtcmesh.netem.topology import NATS, GatewaySpec, HostSpec, Topology, Uplink
from rtcmesh.peer.webrtc.checks import Checks
from rtcmesh.peer.webrtc.ice import IceAgentFactory
from rtcmesh.peer.webrtc.ice_server import StunServer
from rtcmesh.peer.webrtc.ice_server import TurnServer as TurnAddress
from rtcmesh.peer.webrtc.nomination import (
    MAX_ROUND_TRIP,
    RELAYED_PATIENCE,
    Check,
    Reach,
    Validity,
    weigh,
)
from rtcmesh.peer.webrtc.plain_ice import PlainIce
from rtcmesh.peer.webrtc.trickle_ice import TrickleIce
from support.ice import End, Servers, connect, ends, exchange, virtually
from support.turn import TurnServer

LONGEST_WAIT = RELAYED_PATIENCE + 4 * MAX_ROUND_TRIP


# The rule


@dataclass(frozen=True)
class Fate:
    """What becomes of one check: when its pair is known, and when it succeeds or fails, if ever."""

    priority: int
    reach: Reach
    known_at: float
    ends_at: float | None
    succeeds: bool

    def at(self, now: float, number: int) -> Check[int] | None:
        """Return how the check list has it, where failed checks are not."""
        over = self.ends_at is not None and self.ends_at <= now
        if self.known_at > now or (over and not self.succeeds):
            return None
        began_at = self.known_at
        validity = (
            Validity(self.ends_at, self.ends_at - began_at) if over and self.ends_at is not None else None
        )
        return Check(number, self.priority, self.reach, validity)


TIMES = st.integers(0, 40).map(lambda tenths: tenths / 10)


@st.composite
def fates(draw: st.DrawFn) -> list[Fate]:
    drawn: list[Fate] = []
    for priority in draw(st.lists(st.integers(0, 9), unique=True, max_size=6)):
        known_at = draw(TIMES)
        took = draw(st.none() | TIMES)
        # RFC 8445 section 5.1.2.1: hosts are preferred to what servers tell, and that to relays.
        reach = draw(st.sampled_from(Reach))
        preference = {Reach.HOSTS: 200, Reach.DIRECT: 100, Reach.RELAYED: 0}[reach]
        ends_at = None if took is None else known_at + took
        drawn.append(Fate(priority + preference, reach, known_at, ends_at, draw(st.booleans())))
    return drawn


@given(fates(), TIMES)
def test_one_pair_is_nominated_in_time_and_no_valid_one_is_better(
    drawn: list[Fate], complete_at: float
) -> None:
    def look(now: float) -> list[Check[int]]:
        checks = (fate.at(now, number) for number, fate in enumerate(drawn))
        return [check for check in checks if check is not None]

    moments = (
        {complete_at}
        | {fate.known_at for fate in drawn}
        | {f.ends_at for f in drawn if f.ends_at is not None}
    )
    waiting, nominated, now = sorted(moments), None, 0.0
    deadline: float | None = None
    while nominated is None and (waiting or deadline is not None):
        now = deadline if deadline is not None and (not waiting or deadline < waiting[0]) else waiting.pop(0)
        weighed = weigh(look(now), more_expected=now < complete_at)
        deadline = weighed.decide_at
        if deadline is not None and deadline <= now:
            nominated = weighed.best
    worked_at = [fate.ends_at for fate in drawn if fate.ends_at is not None and fate.succeeds]
    assert (nominated is None) == (not worked_at)
    if nominated is None:
        return
    best = drawn[nominated]
    valid = [check for check in look(now) if check.validity is not None]
    assert best.priority == max(check.priority for check in valid)
    assert min(worked_at) <= now <= min(worked_at) + LONGEST_WAIT
    if best.reach is Reach.RELAYED and now < min(worked_at) + RELAYED_PATIENCE:
        assert now >= complete_at
        assert all(check.priority <= best.priority for check in look(now)), "nothing better was on its way"


def test_what_is_waited_for_is_worth_it() -> None:
    shown = Validity(since=10, round_trip=0.1)
    hosts, direct, relayed = (Check(reach, 9 - reach.value, reach, shown) for reach in Reach)
    better: Check[Reach] = Check(Reach.HOSTS, 99, Reach.HOSTS, None)
    assert weigh([hosts], more_expected=True).decide_at == 10
    assert weigh([direct], more_expected=False).decide_at == 10
    for more_expected, checks in ((True, []), (False, [better])):
        assert weigh([direct, *checks], more_expected=more_expected).decide_at == pytest.approx(10.45)
        assert weigh([relayed, *checks], more_expected=more_expected).decide_at == pytest.approx(11.4)
    late = replace(direct, validity=Validity(since=11.3, round_trip=0.1))
    assert weigh([late, relayed, better], more_expected=False).decide_at == pytest.approx(11.4)
    repeated = replace(relayed, validity=Validity(since=10, round_trip=7))
    assert weigh([repeated, better], more_expected=False).decide_at == pytest.approx(10 + LONGEST_WAIT)


# Two agents


class Internet:
    """Ann, bob and a STUN and TURN server."""

    def __init__(self, network: VirtualNetwork) -> None:
        self.network = network
        self.turn = TurnServer(network.host("server").address)
        self.servers: Servers = []

    async def serve(self) -> None:
        with self.network.host("server") as host:
            port = await self.turn.listen_udp()
        self.servers = [
            StunServer(host=host.address, port=port),
            TurnAddress(
                host=host.address, port=port, transport="udp", tls=False, username="user", password="secret"
            ),
        ]

    @asynccontextmanager
    async def meeting(
        self, *, both_controlling: bool = False, ann_make: IceAgentFactory = TrickleIce
    ) -> AsyncGenerator[tuple[End, End]]:
        """Serve, and give two agents that have not met yet."""
        await self.serve()
        hosts = [self.network.host(name) for name in ("ann", "bob")]
        ann = End(ann_make, hosts[0], controlling=True, servers=self.servers)
        bob = End(TrickleIce, hosts[1], controlling=both_controlling, servers=self.servers)
        async with ends(ann, bob):
            yield ann, bob
        self.turn.close()


def flat(*, direct: LinkConfig, server: LinkConfig) -> Internet:
    """Let all stand in the internet itself."""
    network = VirtualNetwork()
    ann, bob, middle = (network.add_host(name) for name in ("ann", "bob", "server"))
    network.set_link(ann, bob, direct)
    for host in (ann, bob):
        network.set_link(host, middle, server)
    return Internet(network)


def behind(kind: str, other: str) -> Internet:
    line = LinkConfig(delay=0.02)
    near = LinkConfig(delay=0.001)
    names = {"ann": kind, "bob": other}
    gateways = tuple(
        GatewaySpec(name=f"{name}-home", nat=NATS[nat], uplink=Uplink(to="internet", up=line, down=line))
        for name, nat in names.items()
    )
    hosts = [HostSpec(name=name, uplinks=(Uplink(to=f"{name}-home", up=near, down=near),)) for name in names]
    server = HostSpec(name="server", uplinks=(Uplink(to="internet", up=near, down=near),))
    return Internet(VirtualNetwork(Topology(hosts=(*hosts, server), gateways=gateways)))


@contextmanager
def nominations() -> Generator[list[ice.CandidatePair]]:
    """Collect the pairs that either end nominates, each of which is the best that works at that time."""
    nominated: list[ice.CandidatePair] = []

    def build_request(checks: Checks, pair: ice.CandidatePair, nominate: bool) -> stun.Message:
        if nominate:
            assert checks.ice_controlling
            valid = [check for check in checks._checks() if check.validity is not None]
            assert pair is max(valid, key=lambda check: check.priority).pair
            nominated.append(pair)
        return real(checks, pair, nominate)

    real = Checks.build_request
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checks, "build_request", build_request)
        yield nominated


def types(end: End) -> set[str]:
    pair = end.agent.selected_pair
    assert pair is not None
    return {pair.local.type, pair.remote.type}


async def settle(ann: End, bob: End, within: float = LONGEST_WAIT) -> None:
    """Let the longest wait pass, and one for the nomination itself."""
    await asyncio.sleep(within)
    for end in (ann, bob):
        assert isinstance(end.agent, TrickleIce)
        assert end.agent.is_settled


def assert_agreed(ann: End, bob: End) -> None:
    """Where no NAT stands between them, each sees its pair as the mirror image of the other's."""
    one, other = ann.agent.selected_pair, bob.agent.selected_pair
    assert one is not None
    assert other is not None
    assert (one.local.address, one.local.port) == (other.remote.address, other.remote.port)
    assert (one.remote.address, one.remote.port) == (other.local.address, other.local.port)


def test_a_direct_pair_is_used_though_the_relay_answers_first() -> None:
    async def scenario() -> None:
        internet = flat(direct=LinkConfig(delay=0.15), server=LinkConfig(delay=0.005))
        async with internet.meeting() as (ann, bob):
            with nominations() as nominated:
                await connect(ann, bob)
                assert asyncio.get_running_loop().time() < 0.1
                assert "relay" in types(ann), "what works carries until there is something better"
                await exchange(ann, bob)
                await settle(ann, bob)
            assert len(nominated) == 1
            assert_agreed(ann, bob)
            for end in (ann, bob):
                assert types(end) == {"host"}
                end.received.clear()
            await exchange(ann, bob)

    virtually(scenario)


@pytest.mark.parametrize("other", ["full-cone", "address-restricted", "port-restricted"])
@pytest.mark.parametrize("kind", ["full-cone", "address-restricted", "port-restricted"])
def test_two_homes_do_without_the_relay_if_they_can(kind: str, other: str) -> None:
    """The server is a tenth as far as the other home, and what both send first is dropped by the other's gateway."""

    async def scenario() -> None:
        internet = behind(kind, other)
        async with internet.meeting() as (ann, bob):
            with nominations() as nominated:
                await connect(ann, bob)
                await settle(ann, bob)
            assert len(nominated) == 1
            assert "relay" not in types(ann) | types(bob)
            await exchange(ann, bob)
            assert asyncio.get_running_loop().time() < 3.5

    virtually(scenario)


def test_a_relay_whose_candidate_is_signaled_late_is_not_taken_for_a_direct_pair() -> None:
    """Its check shows an address that nobody has named, like that of a NAT with a mapping for everybody."""

    async def scenario() -> None:
        internet = behind("full-cone", "full-cone")
        async with internet.meeting() as (ann, bob):
            bob.holds_back = LONGEST_WAIT
            with nominations() as nominated:
                await connect(ann, bob)
                await settle(ann, bob)
            assert len(nominated) == 1
            assert nominated[0].remote_addr[0] == internet.network.nat("bob-home").address
            assert "relay" not in types(ann) | types(bob)

    virtually(scenario)


def test_two_homes_that_need_the_relay_have_it_at_once() -> None:
    async def scenario() -> None:
        internet = behind("symmetric", "port-restricted")
        async with internet.meeting() as (ann, bob):
            with nominations() as nominated:
                await connect(ann, bob)
                assert asyncio.get_running_loop().time() < 0.5
                await exchange(ann, bob)
                await settle(ann, bob)
            assert len(nominated) == 1
            assert "relay" in types(ann)
            assert "relay" in types(bob)

    virtually(scenario)


@settings(max_examples=30)
@given(
    direct=st.none() | st.floats(0, 0.3),
    server=st.floats(0, 0.1),
    loss=st.sampled_from([0, 0, 0.05, 0.15]),
    seed=st.integers(0, 1_000),
)
def test_both_ends_agree_on_a_line_that_loses(
    direct: float | None, server: float, loss: float, seed: int
) -> None:
    async def scenario() -> None:
        to_server = LinkConfig(delay=server, loss=loss)
        internet = flat(
            direct=LinkConfig(loss=1) if direct is None else LinkConfig(delay=direct, loss=loss),
            server=to_server,
        )
        async with internet.meeting() as (ann, bob):
            with nominations() as nominated:
                await connect(ann, bob)
                await settle(ann, bob, within=30 if loss else LONGEST_WAIT + 1)
            assert_agreed(ann, bob)
            if not loss:
                assert len(nominated) == 1
                assert ("relay" in types(ann)) == (direct is None)

    virtually(scenario, seed=seed)


def test_a_pair_that_dies_before_it_is_nominated_gives_way_to_the_next() -> None:
    async def scenario() -> None:
        internet = flat(direct=LinkConfig(delay=0.15), server=LinkConfig(delay=0.005))
        async with internet.meeting() as (ann, bob):
            with nominations() as nominated:
                await connect(ann, bob)
                while not nominated:
                    await ann.next_pair()
                internet.network.partition(*(internet.network.host(name) for name in ("ann", "bob")))
                await settle(ann, bob, within=10)
            assert len(nominated) == 2
            assert_agreed(ann, bob)
            assert "relay" in types(ann)
            await exchange(ann, bob)
            assert not ann.reason

    virtually(scenario)


def test_a_relay_that_is_lost_ends_the_search_only_when_it_is_nominated() -> None:
    async def scenario() -> None:
        internet = flat(direct=LinkConfig(delay=0.15), server=LinkConfig(delay=0.005))
        async with internet.meeting() as (ann, bob):
            await connect(ann, bob)
            lose(bob, "relay")
            lose(ann, "relay")
            await settle(ann, bob)
            assert types(ann) == {"host"}
            assert not ann.ended.is_set()
            await exchange(ann, bob)
            lose(ann, "host")
            await ann.ended.wait()
            assert ann.reason == "its socket was closed"

    virtually(scenario)


def test_an_end_that_is_never_told_which_pair_stays_stops_when_nobody_answers() -> None:
    async def scenario() -> None:
        internet = flat(direct=LinkConfig(delay=0.7), server=LinkConfig(delay=0.005))
        async with internet.meeting() as (ann, bob):
            await connect(ann, bob)
            await ann.agent.close()
            async with asyncio.timeout(40):
                await bob.ended.wait()
            assert bob.reason == "the other end no longer answers ICE"
            assert bob.agent.selected_pair is None

    virtually(scenario)


def test_of_all_that_is_nominated_at_once_the_best_is_used() -> None:
    """By an agent that nominates with every check, as aioice does by itself."""

    async def scenario() -> None:
        internet = flat(direct=LinkConfig(delay=0.01), server=LinkConfig(delay=0.02))
        async with internet.meeting(ann_make=PlainIce) as (ann, bob):
            await connect(ann, bob)
            await asyncio.sleep(LONGEST_WAIT)
            assert types(bob) == {"host"}

    virtually(scenario)


def test_who_nominates_a_better_pair_later_is_followed() -> None:
    async def scenario() -> None:
        internet = flat(direct=LinkConfig(delay=0.7), server=LinkConfig(delay=0.005))
        async with internet.meeting() as (ann, bob):
            await connect(ann, bob)
            await settle(ann, bob)
            assert "relay" in types(ann) & types(bob), "the direct one took too long"
            assert isinstance(ann.agent, TrickleIce)
            checks = ann.agent._connection
            (pair,) = [
                pair
                for pair in checks._check_list
                if {pair.local_candidate.type, pair.remote_candidate.type} == {"host"}
            ]
            await pair.protocol.request(
                checks.build_request(pair, nominate=True),
                pair.remote_addr,
                integrity_key=bob.agent.password.encode(),
            )
            await asyncio.sleep(3)
            assert types(bob) == {"host"}

    virtually(scenario)


def lose(end: End, kind: str) -> None:
    """Close a socket of an agent as the system, or the server, would."""
    assert isinstance(end.agent, TrickleIce)
    for protocol in end.agent._connection.protocols:
        if protocol.local_candidate.type == kind:
            client = vars(protocol.transport).get("_TurnTransport__inner_protocol", protocol)
            client.transport.close()


def test_two_ends_that_both_want_to_nominate_settle_who_does() -> None:
    async def scenario() -> None:
        internet = flat(direct=LinkConfig(delay=0.05), server=LinkConfig(delay=0.005))
        async with internet.meeting(both_controlling=True) as (ann, bob):
            with nominations() as nominated:
                await connect(ann, bob)
                await settle(ann, bob)
            assert len(nominated) == 1
            assert_agreed(ann, bob)
            await exchange(ann, bob)

    virtually(scenario)
