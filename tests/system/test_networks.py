"""Real peers on real networks that break, in Linux namespaces: the conversation takes whatever path there is.

Nothing is ever lost, repeated or reordered, which each `check` asserts; the silences are those of a busy machine too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from rtcmesh.netem import LinkConfig
from rtcmesh.netem.faults import (
    ChangeAddress,
    Cut,
    Direction,
    Fault,
    Heal,
    Impair,
    Rebind,
    Reboot,
    SwitchUplink,
)
from rtcmesh.netem.topology import Topology
from support.meetings import AT_HOME, OPEN, conversing, meeting, udp_lost, udp_passing

Record = Callable[[str, object], None]

pytestmark = [pytest.mark.namespaces, pytest.mark.timeout(240)]

PATIENCE = 15.0
"""By how many seconds a silence may be longer than what caused it, on a machine that runs other tests too."""
SILENCE = "longest silence in seconds at each end"


async def test_udp_is_dropped_under_a_conversation_and_passes_again(record: Record) -> None:
    async with conversing() as (net, conversation):
        await conversation.path("direct")
        await conversation.goes_on()
        await net.apply(udp_lost("ann"))
        await conversation.path("relayed")
        await conversation.goes_on()
        await net.apply(udp_passing("ann"))
        await conversation.path("direct")
        await conversation.goes_on()
        gaps = await conversation.check()
    assert max(gaps) < PATIENCE
    record(SILENCE, gaps)


@pytest.mark.parametrize("blocked", [("ann",), ("ann", "bob")], ids=["one side", "both sides"])
async def test_where_udp_never_passes_the_relay_carries_all(blocked: Sequence[str], record: Record) -> None:
    async with conversing(faults=[udp_lost(node) for node in blocked]) as (_, conversation):
        await conversation.path("relayed")
        for _ in range(5):
            await conversation.goes_on()
        record(SILENCE, await conversation.check())
        assert not any("path direct" in end.seen for end in conversation.ends)


@pytest.mark.parametrize(
    ("seconds", "direction"),
    [
        (2, Direction.BOTH),
        (2, Direction.UP),
        (2, Direction.DOWN),
        (10, Direction.BOTH),
        *(pytest.param(seconds, each, marks=pytest.mark.soak) for seconds in (10, 40) for each in Direction),
    ],
)
async def test_a_blackout_is_a_silence_and_nothing_else(
    seconds: float, direction: Direction, record: Record
) -> None:
    async with conversing() as (net, conversation):
        await conversation.path("direct")
        await conversation.goes_on()
        await net.apply(Cut(node="ann", direction=direction))
        await asyncio.sleep(seconds)
        await net.apply(Heal(node="ann"))
        for _ in range(3):
            await conversation.goes_on()
        gaps = await conversation.check()
    assert seconds * 0.9 < max(gaps) < seconds + PATIENCE
    record(SILENCE, gaps)


async def test_an_uplink_that_stays_dark_leaves_no_path_until_it_is_bright(record: Record) -> None:
    async with conversing() as (net, conversation):
        await conversation.path("direct")
        await conversation.goes_on()
        await net.apply(Cut(node="ann"))
        await conversation.path("none")
        await net.apply(Heal(node="ann"))
        await conversation.path("direct")
        await conversation.goes_on()
        record(SILENCE, await conversation.check())


@pytest.mark.parametrize(
    ("topology", "node"), [(OPEN, "ann"), (AT_HOME, "bob")], ids=["of the world", "at home"]
)
async def test_a_host_has_another_address(topology: Topology, node: str, record: Record) -> None:
    async with conversing(topology) as (net, conversation):
        await conversation.path("direct")
        await conversation.goes_on()
        await net.apply(ChangeAddress(node=node))
        await conversation.path("direct")
        await conversation.goes_on()
        gaps = await conversation.check()
    assert max(gaps) < PATIENCE
    record(SILENCE, gaps)


@pytest.mark.parametrize(("node", "to"), [("ann", "mobile"), ("bob", "cafe")])
async def test_a_host_takes_another_uplink(node: str, to: str, record: Record) -> None:
    async with conversing(AT_HOME) as (net, conversation):
        await conversation.path("direct")
        await conversation.goes_on()
        await net.apply(SwitchUplink(node=node, to=to))
        await conversation.path("direct")
        await conversation.goes_on()
        gaps = await conversation.check()
    assert max(gaps) < PATIENCE
    record(SILENCE, gaps)


@pytest.mark.parametrize(
    "fault", [Rebind(node="home"), Rebind(node="office"), Reboot(node="home", seconds=3)]
)
async def test_a_gateway_forgets_its_mappings(fault: Fault, record: Record) -> None:
    """All that went through it is cut off, to the server as well, whose TCP connection has another end now."""
    async with conversing(AT_HOME) as (net, conversation):
        await conversation.path("direct")
        await conversation.goes_on()
        await net.apply(fault)
        for _ in range(5):
            await conversation.goes_on()
        gaps = await conversation.check()
    assert max(gaps) < PATIENCE
    record(SILENCE, gaps)


async def test_a_server_is_started_anew_beside_a_conversation_behind_gateways(record: Record) -> None:
    async with meeting(AT_HOME) as net, net.serving() as (server, url), net.talking(url) as conversation:
        await conversation.path("direct")
        await conversation.goes_on()
        await server.kill()
        for _ in range(3):
            await conversation.goes_on()
        async with net.serving():
            await conversation.goes_on()
            gaps = await conversation.check()
    assert max(gaps) < PATIENCE
    assert not any("path none" in end.seen for end in conversation.ends)
    record(SILENCE, gaps)


async def test_packets_are_lost_one_way(record: Record) -> None:
    async with conversing() as (net, conversation):
        await conversation.path("direct")
        await conversation.goes_on()
        await net.apply(Impair(node="ann", up=LinkConfig(loss=0.2, delay=0.02), down=LinkConfig(delay=0.02)))
        for _ in range(5):
            await conversation.goes_on()
        gaps = await conversation.check()
    assert max(gaps) < PATIENCE
    record(SILENCE, gaps)
