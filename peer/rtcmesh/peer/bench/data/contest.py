"""One contender does one piece of work: connected, told, measured."""

from __future__ import annotations

import asyncio

import msgspec

from .orders import Count, Counted, Echo, Flood, Ping, Pinged
from .pair import SLACK, Pair, together

IDLE_SECONDS = 5.0

COALESCED_BYTES = 16 * 1024


class Bulk(msgspec.Struct, frozen=True):
    """Messages of one size, as many as there can be."""

    mbit_per_second: float
    messages_per_second: float
    longest_gap: float
    cpu_seconds_per_gb: float
    """Of both ends."""
    connect_seconds: float


class PingPong(msgspec.Struct, frozen=True):
    """One message at a time, there and back."""

    p50_ms: float
    p99_ms: float
    connect_seconds: float


class Idle(msgspec.Struct, frozen=True):
    """What open connections cost that nobody uses, at each end."""

    kb_per_connection: float
    cpu_ms_per_second: float
    """For all of them together."""


class Stream(msgspec.Struct, frozen=True):
    """What is sent one way."""

    size: int
    turn: int
    coalesced: bool = False
    """Whether messages share larger ones, of `COALESCED_BYTES`, if the contender does not see to that by itself."""


async def run_bulk(pair: Pair, stream: Stream, *, settle: float, seconds: float) -> Bulk:
    """Send one way."""
    into = COALESCED_BYTES if stream.coalesced and not pair.contender.coalesces else 0
    async with pair.connected() as ends:
        left, right, number = ends.left, ends.right, ends.number
        await pair.usages()
        await right.tell(Count(settle, seconds, number, coalesced=into > 0))
        await left.tell(Flood(stream.size, number, stream.turn, into))
        counted = await right.hear(Counted, settle + seconds + SLACK)
        usages = await together(left.usage(), right.usage())
    cpu = sum(usage.cpu_seconds for usage in usages)
    return Bulk(
        mbit_per_second=counted.bytes * 8 / counted.seconds / 1e6,
        messages_per_second=counted.messages / counted.seconds,
        longest_gap=counted.longest_gap,
        cpu_seconds_per_gb=cpu / (counted.total_bytes / 1e9),
        connect_seconds=ends.seconds,
    )


async def run_ping(pair: Pair, *, seconds: float) -> PingPong:
    """Send one message at a time there and back."""
    async with pair.connected() as ends:
        await ends.right.tell(Echo(ends.number))
        await ends.right.usage()  # it has obeyed: what comes too early would not be sent back
        await ends.left.tell(Ping(seconds, ends.number))
        round_trips = sorted((await ends.left.hear(Pinged, seconds + SLACK)).round_trips)
    return PingPong(
        p50_ms=round_trips[len(round_trips) // 2] * 1000,
        p99_ms=round_trips[int(len(round_trips) * 0.99)] * 1000,
        connect_seconds=ends.seconds,
    )


async def run_idle(pair: Pair, *, connections: int, seconds: float = IDLE_SECONDS) -> Idle:
    """Open connections between two processes of their own and leave them alone."""
    await pair.stop()  # what earlier work has left in memory is not part of it
    try:
        await pair.connect()  # what is loaded with the first one is not part of each
        before = await pair.usages()
        for _ in range(connections):
            await pair.connect()
        after = await pair.usages()
        await asyncio.sleep(seconds)
        usages = await pair.usages()
    finally:
        await pair.stop()
    grown = sum(
        later.resident_bytes - earlier.resident_bytes for earlier, later in zip(before, after, strict=True)
    )
    return Idle(
        kb_per_connection=grown / 2 / connections / 1000,
        cpu_ms_per_second=sum(usage.cpu_seconds for usage in usages) / 2 / seconds * 1000,
    )
