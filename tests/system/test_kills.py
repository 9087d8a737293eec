"""Servers and relays that are killed while two real peers talk: nothing is lost, repeated or reordered."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from support.conversations import talking
from support.processes import port_of, relaying, serving

Record = Callable[[str, object], None]


@pytest.mark.timeout(180)
async def test_the_relay_is_killed_under_a_conversation(record: Record) -> None:
    async with (
        relaying() as (relay, relay_url),
        serving(options=("--no-relay", "--relay", relay_url)) as (_, url),
        talking(url, policy="relay_only") as conversation,
    ):
        await conversation.path("relayed")
        await conversation.goes_on()
        await relay.kill()
        await conversation.path("none")
        async with relaying(port_of(relay_url)):
            await conversation.path("relayed")
            await conversation.goes_on()
            record("longest silence in seconds at each end", await conversation.check())


@pytest.mark.timeout(180)
async def test_the_server_is_killed_beside_a_direct_conversation(record: Record) -> None:
    async with serving() as (server, url), talking(url) as conversation:
        await conversation.path("direct")
        await conversation.goes_on()
        await server.kill()
        for _ in range(5):
            await conversation.goes_on()
        async with serving(port_of(url)):
            await conversation.goes_on()
            record("longest silence in seconds at each end", await conversation.check())


@pytest.mark.timeout(180)
async def test_server_and_relay_are_killed_under_a_conversation(record: Record) -> None:
    async with serving() as (server, url), talking(url, policy="relay_only") as conversation:
        await conversation.path("relayed")
        await conversation.goes_on()
        await server.kill()
        await conversation.path("none")
        async with serving(port_of(url)):
            await conversation.path("relayed")
            await conversation.goes_on()
            record("longest silence in seconds at each end", await conversation.check())
