"""What works between this library and every other stack, whoever offers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

from interop.remote import Quirk, Reliability, Remote
from support.endpoint import Endpoint

RELIABILITIES = {
    "reliable": Reliability(),
    "unordered": Reliability(ordered=False),
    "no retransmission": Reliability(ordered=False, max_retransmits=0),
    "three retransmissions": Reliability(max_retransmits=3),
    "half a second": Reliability(max_lifetime=0.5),
}
OpenRemote = Callable[[], AbstractAsyncContextManager[Remote]]

EARLY = "echo early"
"""The channel that opens before there is an association."""

LOST_AFTER = 2.0
"""When a message that may be lost is sent again; a slow machine only sends more of them."""


def messages(remote: Remote, reliability: Reliability) -> list[bytes | str]:
    """Return messages of every size and kind that both ends take; small ones for channels that may lose a part."""
    largest = 1024 if reliability.may_lose else 256 * 1024
    sizes = sorted({min(size, largest, remote.max_message_bytes) for size in (0, 1, 16 * 1024, 256 * 1024)})
    if Quirk.NO_EMPTY_MESSAGES in remote.quirks:
        sizes.remove(0)
    texts: list[bytes | str] = ["ö" * (size // 2) + "o" * (size % 2) for size in sizes]
    return texts + [bytes(range(256)) * (size // 256) + b"x" * (size % 256) for size in sizes]


@asynccontextmanager
async def connected(
    remote: Remote, *, offering: bool, endpoint: Endpoint | None = None
) -> AsyncGenerator[Endpoint]:
    """Connect an endpoint, fresh unless it is given, to another stack, with a first message behind the COOKIE ECHO."""
    endpoint = endpoint or Endpoint()
    endpoint.echoes = True
    try:
        if offering:
            answer = await remote.answer(await endpoint.connection.create_offer(complete=True))
            await endpoint.connection.accept_answer(answer)
            _send_early(endpoint)
        else:
            answer = await endpoint.connection.create_answer(await remote.offer(), complete=True)
            _send_early(endpoint)
            await remote.accept(answer)
        await endpoint.wait_for(lambda: bool(endpoint.received[EARLY]) or endpoint.reason is not None)
        assert endpoint.reason is None
        assert endpoint.received[EARLY] == ["first"]
        yield endpoint
    finally:
        await endpoint.connection.close()


def _send_early(endpoint: Endpoint) -> None:
    assert not endpoint.is_connected
    endpoint.open(EARLY)
    endpoint.send(EARLY, "first")


async def check_everything(open_remote: OpenRemote, *, offering: bool) -> None:
    """Connect, open channels from either side, send everything there and back, close from either side."""
    async with open_remote() as remote, connected(remote, offering=offering) as endpoint:
        for name, reliability in RELIABILITIES.items():
            await _check_our_channel(endpoint, remote, f"echo {name}", reliability)
            await _check_their_channel(endpoint, remote, f"their {name}", reliability)
        endpoint.close_channel("echo reliable")
        await remote.channel_closed("echo reliable")
        await endpoint.wait_for(lambda: "echo reliable" in endpoint.closed)
        await remote.close_channel("their reliable")
        await endpoint.wait_for(lambda: "their reliable" in endpoint.closed)
        await _check_our_channel(endpoint, remote, "echo again", Reliability())
        await remote.close()
        await endpoint.wait_for(lambda: endpoint.reason is not None)


async def check_closing(open_remote: OpenRemote, *, offering: bool) -> None:
    """Close at once after sending: everything arrives, and the other end sees its channel closed."""
    async with open_remote() as remote:
        async with connected(remote, offering=offering) as endpoint:
            await remote.open("bulk", Reliability())
            await endpoint.wait_for(lambda: "bulk" in endpoint.opened)
            sent: list[bytes | str] = [bytes([number]) * 16_000 for number in range(100)]
            for message in sent:
                endpoint.send("bulk", message)
            receiving = asyncio.create_task(remote.received("bulk", len(sent)))
        assert await receiving == sent
        await remote.channel_closed("bulk")


async def _check_our_channel(
    endpoint: Endpoint, remote: Remote, label: str, reliability: Reliability
) -> None:
    endpoint.open(
        label,
        ordered=reliability.ordered,
        max_retransmits=reliability.max_retransmits,
        max_lifetime=reliability.max_lifetime,
    )
    sent = messages(remote, reliability)
    for message in sent:
        await _until_lost_no_more(reliability, partial(_send_and_wait, endpoint, label, message))
    assert _distinct(await remote.received(label, len(sent))) == sent


async def _check_their_channel(
    endpoint: Endpoint, remote: Remote, label: str, reliability: Reliability
) -> None:
    await remote.open(label, reliability)
    await endpoint.wait_for(lambda: label in endpoint.opened)
    opened = endpoint.opened[label]
    assert opened.remote
    assert opened.max_retransmits == reliability.max_retransmits
    if not (reliability.may_lose and Quirk.LIMITED_IS_ORDERED in remote.quirks):
        assert opened.ordered == reliability.ordered
    assert opened.max_lifetime == reliability.max_lifetime
    sent = messages(remote, reliability)
    for message in sent:
        await _until_lost_no_more(reliability, partial(_let_send_and_wait, remote, label, message))
    assert _distinct(endpoint.received[label]) == sent


async def _until_lost_no_more(reliability: Reliability, cross: Callable[[], Awaitable[None]]) -> None:
    """Send a message until it has come back, which is at once unless the channel may lose it."""
    if not reliability.may_lose:
        await cross()
        return
    while True:
        try:
            async with asyncio.timeout(LOST_AFTER):
                await cross()
        except TimeoutError:
            continue
        return


async def _send_and_wait(endpoint: Endpoint, label: str, message: bytes | str) -> None:
    received = endpoint.received[label]
    endpoint.send(label, message)
    await endpoint.wait_for(lambda: received[-1:] == [message])


async def _let_send_and_wait(remote: Remote, label: str, message: bytes | str) -> None:
    await remote.send(label, message)
    received = [*await remote.received(label, 1)]
    while received[-1:] != [message]:
        received = [*await remote.received(label, len(received) + 1)]


def _distinct(received: list[bytes | str]) -> list[bytes | str]:
    """Return what was received without repetitions."""
    return list(dict.fromkeys(received))
