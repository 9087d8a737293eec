"""The seam to a stack under test: one connection with one reliable, ordered channel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

HIGH_WATER_BYTES = 1024 * 1024
"""While a stack has buffered less than this, it is given more."""

OnMessage = Callable[[bytes], None]


class StackListener:
    """What a stack reports to; all of it on the event loop's thread."""

    def __init__(self) -> None:
        self.opened: Callable[[], None] = _nothing
        """The channel is open, at this end."""
        self.message: OnMessage = _ignore
        """A message came."""
        self.writable: Callable[[], None] = _nothing
        """What is buffered has fallen below half of `HIGH_WATER_BYTES`, or less."""


class Stack(Protocol):
    """One end of a connection. Descriptions are complete: they hold all candidates."""

    @property
    def buffered_amount(self) -> int:
        """Bytes that wait to be sent."""
        ...

    async def offer(self) -> str:
        """Make an offer."""
        ...

    async def answer(self, offer: str) -> str:
        """Answer an offer."""
        ...

    async def accept(self, answer: str) -> None:
        """Take the answer to the offer."""
        ...

    def send(self, data: bytes) -> None:
        """Send a message; called only while `buffered_amount` is below `HIGH_WATER_BYTES`."""
        ...

    async def close(self) -> None:
        """Let go of the connection."""
        ...


def _nothing() -> None: ...


def _ignore(_: bytes) -> None: ...
