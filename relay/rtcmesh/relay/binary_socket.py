"""The seam to the network: a bidirectional sequence of binary frames, and the way to get one."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeAlias


class BinarySocket(Protocol):
    """An ordered, reliable connection of binary frames; the adapters translate every foreign error."""

    async def receive(self) -> bytes:
        """Return the next frame.

        Raises `SocketClosed` at the end, `ProtocolError` for a frame that is not binary or is too large.
        """
        ...

    async def send(self, frame: bytes) -> None:
        """Hand one frame over and return when the transport has room again; `SocketClosed` at the end.

        Never called by two tasks at once, and never cancelled except with the connection itself.
        """
        ...

    async def close(self, code: int, reason: str) -> None:
        """Close in an orderly way; may take as long as the other side likes, unless `abort` ends it."""
        ...

    def abort(self) -> None:
        """Drop the connection now, with whatever is unsent, and end every wait on it. Idempotent."""
        ...


Dial: TypeAlias = Callable[[str], AbstractAsyncContextManager[BinarySocket]]
"""Opens a connection to a URL, and releases it in any case; raises `DialFailed`."""
