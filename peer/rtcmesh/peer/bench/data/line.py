"""One connection under test at one end, and the work that is done with it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from .coalescing import Coalescer, taken_apart
from .orders import Count, Counted, Flood
from .stack import HIGH_WATER_BYTES, Stack, StackListener

PING_BYTES = 64


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
        if now - self._last_at > self._longest_gap:  # noqa: PLR1730  (made for every message: `max` would cost)
            self._longest_gap = now - self._last_at
        self._last_at = now

    def take_apart(self, data: bytes) -> None:
        """Take the messages that share one, one by one."""
        for message in taken_apart(data):
            self.take(message)

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
        self._flooding = asyncio.get_running_loop().create_task(self._flood(order))

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

    async def _flood(self, order: Flood) -> None:
        data = bytes(order.size)
        stack, alone = self.stack, not order.into
        send = stack.send if alone else Coalescer(stack.send, order.into).send
        writable = asyncio.Event()
        self._listener.writable = writable.set
        while True:
            writable.clear()
            if stack.buffered_amount >= HIGH_WATER_BYTES:
                await writable.wait()
            for _ in range(order.turn):
                handed_over = send(data) or alone
                if handed_over and stack.buffered_amount >= HIGH_WATER_BYTES:
                    break
            else:
                await asyncio.sleep(0)
