"""The seam to the network: a bidirectional sequence of text frames in UTF-8, and the way to get one."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeAlias

from .errors import SignalingError


class SocketClosed(SignalingError):
    """The connection has ended: the other side closed it with this code, or it broke (1006)."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return f"the connection has ended ({self.code} {self.reason})".replace(" )", ")")


class DialFailed(SignalingError):
    """No connection came about; `__cause__` is what the network said."""


class Unreachable(DialFailed):
    """Not even the network has a way to the server, so that no other transport would fare better."""


class TextSocket(Protocol):
    """An ordered, reliable connection of text frames; the adapters translate every foreign error."""

    async def receive(self) -> bytes:
        """Return the next frame. Whether it is UTF-8 is for the decoder to say.

        Raises `SocketClosed` at the end, `ProtocolError` for a frame that is not text or is too large.
        """
        ...

    async def send(self, *frames: bytes) -> None:
        """Hand frames over, at once, and return when the transport has room again; `SocketClosed` at the end.

        Never called by two tasks at once, and never cancelled except with the connection itself.
        """
        ...

    async def close(self, code: int, reason: str) -> None:
        """Close in an orderly way; may take as long as the other side likes, unless `abort` ends it."""
        ...

    def abort(self) -> None:
        """Drop the connection now, with whatever is unsent, and end every wait on it. Idempotent."""
        ...


Dial: TypeAlias = Callable[[str], AbstractAsyncContextManager[TextSocket]]
"""Opens a connection to a URL, and releases it in any case; raises `DialFailed`."""
