"""What works between this library and every other stack, whoever offers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from interop.remote import Reliability, Remote
from support.endpoint import Endpoint

RELIABILITIES = {
    "reliable": Reliability(),
    "unordered": Reliability(ordered=False),
    "no retransmission": Reliability(ordered=False, max_retransmits=0),
    "three retransmissions": Reliability(max_retransmits=3),
    "half a second": Reliability(max_lifetime=0.5),
}
OpenRemote = Callable[[], AbstractAsyncContextManager[Remote]]


def messages(limit: int) -> list[bytes | str]:
    """Return messages of every size and kind that both ends take."""
    sizes = [0, 1, 16 * 1024, min(limit, 256 * 1024)]
    texts: list[bytes | str] = ["ö" * (size // 2) for size in sizes]
    return texts + [bytes(range(256)) * (size // 256) + b"x" * (size % 256) for size in sizes]


@asynccontextmanager
async def connected(remote: Remote, *, offering: bool) -> AsyncGenerator[Endpoint]:
    """Connect a fresh endpoint to another stack."""
    endpoint = Endpoint()
    endpoint.echoes = True
    try:
        if offering:
            answer = await remote.answer(await endpoint.connection.create_offer(complete=True))
            await endpoint.connection.accept_answer(answer)
        else:
            await remote.accept(await endpoint.connection.create_answer(await remote.offer(), complete=True))
        await endpoint.wait_for(lambda: endpoint.is_connected or endpoint.reason is not None)
        assert endpoint.reason is None
        yield endpoint
    finally:
        await endpoint.connection.close()


async def check_everything(open_remote: OpenRemote, *, offering: bool) -> None:
    """Connect, open channels from either side, send everything there and back, close from either side."""
    async with open_remote() as remote, connected(remote, offering=offering) as endpoint:
        limit = remote.max_message_bytes
        for name, reliability in RELIABILITIES.items():
            await _check_our_channel(endpoint, remote, f"echo {name}", reliability, messages(limit))
            await _check_their_channel(endpoint, remote, f"their {name}", reliability, messages(limit))
        endpoint.close_channel("echo reliable")
        await remote.channel_closed("echo reliable")
        await endpoint.wait_for(lambda: "echo reliable" in endpoint.closed)
        await remote.close_channel("their reliable")
        await endpoint.wait_for(lambda: "their reliable" in endpoint.closed)
        await _check_our_channel(endpoint, remote, "echo again", Reliability(), messages(limit))
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
    endpoint: Endpoint, remote: Remote, label: str, reliability: Reliability, sent: list[bytes | str]
) -> None:
    endpoint.open(
        label,
        ordered=reliability.ordered,
        max_retransmits=reliability.max_retransmits,
        max_lifetime=reliability.max_lifetime,
    )
    for number, message in enumerate(sent):
        endpoint.send(label, message)
        assert (await endpoint.messages(label, number + 1))[-1] == message
    assert await remote.received(label, len(sent)) == sent


async def _check_their_channel(
    endpoint: Endpoint, remote: Remote, label: str, reliability: Reliability, sent: list[bytes | str]
) -> None:
    await remote.open(label, reliability)
    await endpoint.wait_for(lambda: label in endpoint.opened)
    opened = endpoint.opened[label]
    assert opened.remote
    assert (opened.ordered, opened.max_retransmits) == (reliability.ordered, reliability.max_retransmits)
    assert opened.max_lifetime == reliability.max_lifetime
    for number, message in enumerate(sent):
        await remote.send(label, message)
        assert (await remote.received(label, number + 1))[-1] == message
    assert endpoint.received[label] == sent
