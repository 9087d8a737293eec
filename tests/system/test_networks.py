"""Real peers on a real network that breaks, in Linux namespaces: the conversation takes whatever path there is."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import pytest

from support.conversations import Conversation, talking
from support.namespaces import Host, network
from support.processes import serving

Record = Callable[[str, object], None]

pytestmark = [pytest.mark.namespaces, pytest.mark.timeout(240)]


@asynccontextmanager
async def two_hosts(*, udp: bool = True) -> AsyncGenerator[tuple[Host, Conversation]]:
    """Let two peers talk on hosts of their own; give the first one's host."""
    async with network("ann", "bob") as net:
        ann, bob = net.hosts
        if not udp:
            await ann.lose_udp()
        async with (
            serving(8080, host=net.address, within=net.switch.command()) as (_, url),
            talking(url, within=(ann.command(), bob.command())) as conversation,
        ):
            yield ann, conversation


async def test_udp_is_dropped_under_a_conversation_and_passes_again(record: Record) -> None:
    async with two_hosts() as (ann, conversation):
        await conversation.path("direct")
        await conversation.goes_on()
        await ann.lose_udp()
        await conversation.path("relayed")
        await conversation.goes_on()
        await ann.pass_udp()
        await conversation.path("direct")
        await conversation.goes_on()
        record("longest silence in seconds at each end", await conversation.check())


async def test_where_udp_never_passes_the_relay_carries_all(record: Record) -> None:
    async with two_hosts(udp=False) as (_, conversation):
        await conversation.path("relayed")
        for _ in range(5):
            await conversation.goes_on()
        gaps = await conversation.check()
        assert not any("path direct" in end.seen for end in conversation.ends)
        record("longest silence in seconds at each end", gaps)


async def test_an_interface_goes_away_and_comes_back(record: Record) -> None:
    async with two_hosts() as (ann, conversation):
        await conversation.path("direct")
        await conversation.goes_on()
        await ann.pull_cable()
        await conversation.path("none")
        await ann.plug_cable()
        await conversation.path("direct")
        await conversation.goes_on()
        record("longest silence in seconds at each end", await conversation.check())


async def test_a_host_changes_its_address(record: Record) -> None:
    async with two_hosts() as (ann, conversation):
        await conversation.path("direct")
        await conversation.goes_on()
        await ann.change_address("10.77.0.77")
        await conversation.path("direct")
        await conversation.goes_on()
        record("longest silence in seconds at each end", await conversation.check())
