"""What a user has to put before a stack, and behind it, so that small messages share large ones on their way.

Messages come one by one and each goes behind its length; what has come leaves when the next one does not fit, or else
at the end of the turn of the event loop: nobody waits for a timer. `end.js` does the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from struct import Struct

_LENGTH = Struct("!H")
OVERHEAD_BYTES = _LENGTH.size
"""What a message costs that shares another one."""


class Coalescer:
    """Makes large messages of small ones."""

    def __init__(self, send: Callable[[bytes], None], limit_bytes: int) -> None:
        self._send = send
        self._limit_bytes = limit_bytes
        self._loop = asyncio.get_running_loop()
        self._parts: list[bytes] = []
        self._size = 0

    def send(self, message: bytes) -> bool:
        """Take a message. Returns whether others were sent to make room for it."""
        size = len(message)
        full = self._size + size + OVERHEAD_BYTES > self._limit_bytes
        if full:
            self.flush()
        if not self._parts:
            self._loop.call_soon(self.flush)
        self._parts += (_LENGTH.pack(size), message)
        self._size += size + OVERHEAD_BYTES
        return full

    def flush(self) -> None:
        """Send what there is."""
        if self._parts:
            parts, self._parts, self._size = self._parts, [], 0
            self._send(b"".join(parts))


def taken_apart(data: bytes) -> list[bytes]:
    """Return the messages that share one."""
    messages: list[bytes] = []
    offset, unpack = 0, _LENGTH.unpack_from
    while offset < len(data):
        begin = offset + OVERHEAD_BYTES
        offset = begin + unpack(data, offset)[0]
        messages.append(data[begin:offset])
    return messages
