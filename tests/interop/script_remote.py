"""Stacks that are told what to do in JavaScript: `peer.js` in a browser or in Node."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from interop.remote import Quirk, Reliability

Run = Callable[[dict[str, Any]], Awaitable[Any]]
"""Lets the script carry out one command, and returns its result."""


class ScriptRemote:
    """See `Remote`."""

    def __init__(self, run: Run, max_message_bytes: int, quirks: Iterable[Quirk] = ()) -> None:
        self._run = run
        self.max_message_bytes = max_message_bytes
        self.quirks = frozenset(quirks)

    async def offer(self) -> str:
        """See `Remote`."""
        sdp: str = await self._run({"do": "offer"})
        return sdp

    async def answer(self, offer: str) -> str:
        """See `Remote`."""
        sdp: str = await self._run({"do": "answer", "sdp": offer})
        return sdp

    async def accept(self, answer: str) -> None:
        """See `Remote`."""
        await self._run({"do": "accept", "sdp": answer})

    async def open(self, label: str, reliability: Reliability) -> None:
        """See `Remote`."""
        options: dict[str, Any] = {"ordered": reliability.ordered}
        if reliability.max_retransmits is not None:
            options["maxRetransmits"] = reliability.max_retransmits
        if reliability.max_lifetime is not None:
            options["maxPacketLifeTime"] = int(reliability.max_lifetime * 1000)
        await self._run({"do": "open", "label": label, "options": options})

    async def send(self, label: str, data: bytes | str) -> None:
        """See `Remote`."""
        message = {"text": data} if isinstance(data, str) else {"binary": base64.b64encode(data).decode()}
        await self._run({"do": "send", "label": label, "message": message})

    async def received(self, label: str, count: int) -> list[bytes | str]:
        """See `Remote`."""
        received: list[dict[str, str]] = await self._run({"do": "received", "label": label, "count": count})
        return [
            message["text"] if "text" in message else base64.b64decode(message["binary"])
            for message in received
        ]

    async def close_channel(self, label: str) -> None:
        """See `Remote`."""
        await self._run({"do": "close channel", "label": label})

    async def channel_closed(self, label: str) -> None:
        """See `Remote`."""
        await self._run({"do": "channel closed", "label": label})

    async def close(self) -> None:
        """See `Remote`."""
        await self._run({"do": "close"})
