"""The other end of an interoperation test: another stack, told what to do, and asked what it saw."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol


@dataclass(frozen=True)
class Reliability:
    """How a channel delivers."""

    ordered: bool = True
    max_retransmits: int | None = None
    max_lifetime: float | None = None

    @property
    def may_lose(self) -> bool:
        """Whether a message may be lost."""
        return self.max_retransmits is not None or self.max_lifetime is not None


class Quirk(Enum):
    """A defect of a stack that this library can do nothing about."""

    NO_EMPTY_MESSAGES = auto()
    """An empty message takes its number in the stream and is never sent: what is sent later waits for it, for ever."""
    LIMITED_IS_ORDERED = auto()
    """A channel with a limit on retransmissions is announced as an ordered one, whatever was asked for."""


class Remote(Protocol):
    """Another stack's connection. Descriptions are complete: they hold all candidates.

    Messages on channels whose label begins with `echo` are sent back.
    """

    max_message_bytes: int
    """The largest message that it takes."""
    quirks: frozenset[Quirk]
    """What it does otherwise than the RFCs have it."""

    async def offer(self) -> str:
        """Make an offer."""
        ...

    async def answer(self, offer: str) -> str:
        """Answer an offer."""
        ...

    async def accept(self, answer: str) -> None:
        """Take the answer to its offer."""
        ...

    async def open(self, label: str, reliability: Reliability) -> None:
        """Open a channel, and wait until it is open."""
        ...

    async def send(self, label: str, data: bytes | str) -> None:
        """Send a message."""
        ...

    async def received(self, label: str, count: int) -> list[bytes | str]:
        """Wait for so many messages on a channel, and return them."""
        ...

    async def close_channel(self, label: str) -> None:
        """Close a channel."""
        ...

    async def channel_closed(self, label: str) -> None:
        """Wait until a channel is closed."""
        ...

    async def close(self) -> None:
        """End."""
        ...
