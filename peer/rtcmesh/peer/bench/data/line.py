"""One connection under test at one end, and the work that is done with it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import repeat
from struct import Struct

from .orders import Count, Counted, Flood
from .stack import HIGH_WATER_BYTES, Stack, StackListener

PING_BYTES = 64

SENDS_PER_TURN = 256
"""After so many messages the loop has its turn, so that stacks which flush once a turn can."""

_LENGTH = Struct("!H")
OVERHEAD_BYTES = _LENGTH.size
"""What a message costs that shares another one."""


class Tally:
    """Counts what comes."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self._messages = self._bytes = self._earlier_bytes = 0
        self._started_at = self._last_at = self._longest_gap = 0.0

    def begin(self, data: bytes) -> None:
        """Take the first message."""
        self.take(data)
        self.begun.set()

    def take(self, data: bytes) -> None:
        """Take a message."""
        self._messages += 1
        self._bytes += len(data)
        now = time.perf_counter()
        self._longest_gap = max(self._longest_gap, now - self._last_at)
        self._last_at = now

    def take_apart(self, data: bytes) -> None:
        """Take the messages that share one."""
        messages = taken_apart(data)
        self.take(data)
        self._messages += len(messages) - 1
        self._bytes -= OVERHEAD_BYTES * len(messages)

    def start(self, now: float) -> None:
        """Begin to measure."""
        self._earlier_bytes = self._bytes
        self._messages = 0
        self._started_at = self._last_at = now
        self._longest_gap = 0.0

    def result(self, now: float) -> Counted:
        """Return what was measured up to now."""
        longest_gap = max(self._longest_gap, now - self._last_at)
        measured = self._bytes - self._earlier_bytes
        return Counted(self._messages, measured, now - self._started_at, longest_gap, self._bytes)


class Line:
    """A stack and what it is asked to do, until it is closed."""

    def __init__(self, make: Callable[[StackListener], Stack], opened: Callable[[], None]) -> None:
        self._listener = StackListener()
        self._listener.opened = opened
        self.stack = make(self._listener)
        self._flooding: asyncio.Task[None] | None = None

    def flood(self, order: Flood) -> None:
        """Send as much as is taken, from now on."""
        data = bytes(order.size)
        coalesced = order.into // (OVERHEAD_BYTES + order.size)

        def send() -> None:
            self.stack.send(put_together(repeat(data, coalesced)) if coalesced else data)

        self._flooding = asyncio.get_running_loop().create_task(self._repeat(send))

    async def count(self, order: Count) -> Counted:
        """Count what comes."""
        tally = Tally()
        self._listener.message = tally.begin
        await tally.begun.wait()
        self._listener.message = tally.take_apart if order.coalesced else tally.take
        await asyncio.sleep(order.settle)
        tally.start(time.perf_counter())
        await asyncio.sleep(order.seconds)
        return tally.result(time.perf_counter())

    def echo(self) -> None:
        """Send back what comes."""
        self._listener.message = self.stack.send

    async def ping(self, seconds: float) -> list[float]:
        """Send one message at a time there and back, and return how long each took."""
        round_trips: list[float] = []
        answered = asyncio.Event()
        self._listener.message = lambda _: answered.set()
        until = time.perf_counter() + seconds
        while (sent_at := time.perf_counter()) < until:
            answered.clear()
            self.stack.send(bytes(PING_BYTES))
            await answered.wait()
            round_trips.append(time.perf_counter() - sent_at)
        return round_trips

    async def close(self) -> None:
        """Let go of the connection."""
        if self._flooding is not None:
            self._flooding.cancel()
            with suppress(asyncio.CancelledError):
                await self._flooding
        await self.stack.close()

    async def _repeat(self, send: Callable[[], None]) -> None:
        writable = asyncio.Event()
        self._listener.writable = writable.set
        stack = self.stack
        while True:
            writable.clear()
            for _ in range(SENDS_PER_TURN):
                if stack.buffered_amount >= HIGH_WATER_BYTES:
                    await writable.wait()
                    break
                send()
            else:
                await asyncio.sleep(0)


def put_together(messages: Iterable[bytes]) -> bytes:
    """Return one message that has these in it, each behind its length."""
    parts: list[bytes] = []
    for message in messages:
        parts += (_LENGTH.pack(len(message)), message)
    return b"".join(parts)


def taken_apart(data: bytes) -> list[bytes]:
    """Return the messages that share one."""
    messages: list[bytes] = []
    offset, unpack = 0, _LENGTH.unpack_from
    while offset < len(data):
        begin = offset + OVERHEAD_BYTES
        offset = begin + unpack(data, offset)[0]
        messages.append(data[begin:offset])
    return messages
