"""Which path two peers get behind every pair of NATs, and how soon the first message is there."""

from __future__ import annotations

import asyncio
from itertools import combinations_with_replacement

import pytest

from rtcmesh.netem import LinkConfig
from rtcmesh.netem.faults import Rebind
from rtcmesh.netem.topology import GatewaySpec, HostSpec, NatConfig, Uplink
from rtcmesh.peer import PathKind
from rtcmesh.peer.testing import virtual_room
from support.scenes import KINDS, LINE, Place, line, place, scene, world
from support.virtual import on_virtual_time

ROUND_TRIP = 4 * LINE.delay
"""From a peer to a server and back."""

MAPS_ANEW = {"symmetric", "carrier-grade"}
STRICT = {"port-restricted", *MAPS_ANEW}


def expected(one: str, other: str) -> PathKind:
    """Return the path of a pair, which does not depend on who of them is who."""
    if "udp-blocked" in {one, other}:
        return PathKind.RELAYED
    is_hopeless = (one in MAPS_ANEW and other in STRICT) or (other in MAPS_ANEW and one in STRICT)
    return PathKind.RELAYED if is_hopeless else PathKind.DIRECT


@pytest.mark.parametrize(("one", "other"), list(combinations_with_replacement(KINDS, 2)))
@on_virtual_time
async def test_a_pair_gets_the_best_path_there_is_and_talks_from_the_first_round_trip(
    one: str, other: str
) -> None:
    loop = asyncio.get_running_loop()
    async with virtual_room(topology=world(place("ann", one), place("bob", other))) as room:
        bob = await room.join("bob")
        await asyncio.sleep(1)
        ann = await room.join("ann")
        joined_at = loop.time()
        await ann.channel("chat").send("hello")
        assert (await bob.channel("chat").receive()).data == "hello"
        assert loop.time() - joined_at <= 1.5 * ROUND_TRIP
        if expected(one, other) is PathKind.DIRECT:
            async with asyncio.timeout(2):
                await asyncio.gather(*(mesh.wait_for_peers(1, path=PathKind.DIRECT) for mesh in (ann, bob)))
        else:
            await asyncio.sleep(15)
        paths = {peer.path for mesh in (ann, bob) for peer in mesh.peers.values()}
        assert paths == {expected(one, other)}
        assert room.network.machine.gateways().keys() == {
            gateway.name for spot in (place("ann", one), place("bob", other)) for gateway in spot[1]
        }


@pytest.mark.parametrize("victim", ["ann", "bob"])
@pytest.mark.parametrize(
    "kind", ["full-cone", "address-restricted", "port-restricted", "symmetric", "carrier-grade"]
)
@on_virtual_time
async def test_a_rebinding_silences_the_conversation_for_less_than_two_seconds(
    kind: str, victim: str
) -> None:
    """The relay's connection of the victim breaks as well: it comes from another port."""
    other = "full-cone" if kind in MAPS_ANEW else kind
    spots = (place("ann", kind), place("bob", other))
    async with scene(world(*(spots if victim == "ann" else spots[::-1]))) as talk:
        await talk.until(PathKind.DIRECT)
        await asyncio.sleep(2)
        gateways = [name for name in talk.room.network.machine.gateways() if name.startswith(victim)]
        for name in gateways:
            at = await talk.apply(Rebind(node=name))
        await talk.until(PathKind.DIRECT)
        await asyncio.sleep(10)
        await talk.until(PathKind.DIRECT, within=5)
        assert talk.silence(at) < 2
        await talk.finish()


def neighbours(*, hairpinning: bool) -> tuple[Place, Place, GatewaySpec]:
    """Put two homes under one carrier."""
    homes = [
        GatewaySpec(name=f"{name}-home", uplink=Uplink(to="carrier", up=LINE, down=LINE))
        for name in ("ann", "bob")
    ]
    ann, bob = (
        (HostSpec(name=name, uplinks=(Uplink(to=home.name),)), (home,))
        for name, home in zip(("ann", "bob"), homes, strict=True)
    )
    return ann, bob, GatewaySpec(name="carrier", nat=NatConfig(hairpinning=hairpinning), uplink=line())


@pytest.mark.parametrize("hairpinning", [True, False])
@on_virtual_time
async def test_homes_under_one_carrier_meet_only_if_it_turns_packets_round(*, hairpinning: bool) -> None:
    ann, bob, carrier = neighbours(hairpinning=hairpinning)
    async with scene(world(ann, bob, more=[carrier])) as talk:
        if hairpinning:
            await talk.until(PathKind.DIRECT, within=3)
        await asyncio.sleep(15)
        assert set(talk.paths) == {PathKind.DIRECT if hairpinning else PathKind.RELAYED}
        assert bool(talk.room.network.nat("carrier").counters.hairpinned) is hairpinning
        await talk.finish()


@on_virtual_time
async def test_two_peers_of_one_home_meet_without_leaving_it() -> None:
    home = GatewaySpec(name="home", uplink=line())
    lan = Uplink(to="home", up=LinkConfig(delay=0.001), down=LinkConfig(delay=0.001))
    spots = [(HostSpec(name=name, uplinks=(lan,)), ()) for name in ("ann", "bob")]
    async with scene(world(*spots, more=[home])) as talk:
        await talk.until(PathKind.DIRECT, within=2)
        await asyncio.sleep(3)
        (peer,) = talk.meshes[0].peers.values()
        assert peer.rtt is not None
        assert peer.rtt < 0.01
        assert talk.room.network.nat("home").counters.hairpinned == 0
        await talk.finish()
