"""The orderly end (RFC 9260 section 9.2): what was sent is delivered, then three chunks.

shutdown()      PENDING ── everything acknowledged ──▶ SENT        SHUTDOWN ──▶
                                                                   ◀── SHUTDOWN ACK       RECEIVED, then ACK_SENT
                COMPLETE                                           SHUTDOWN COMPLETE ──▶  COMPLETE
"""

from __future__ import annotations

from enum import Enum
from math import inf

from .chunks import FLAG_T, ChunkType, encode_chunk, encode_tsn


class ShutdownState(Enum):
    """How far it is."""

    NONE = "none"
    PENDING = "pending"
    """This end wants it, and something is not acknowledged yet."""
    SENT = "sent"
    RECEIVED = "received"
    """The remote end wants it, and something of ours is not acknowledged yet."""
    ACK_SENT = "ack_sent"
    COMPLETE = "complete"


class Shutdown:
    """Ends an association without loss, from either side or both at once."""

    def __init__(self, max_retransmissions: int) -> None:
        self.state = ShutdownState.NONE
        self.failed = False
        """Whether the remote end never answered."""
        self.chunks: list[bytes] = []
        """Chunks to send, until they are taken."""
        self._max_retransmissions = max_retransmissions
        self._retransmissions = 0
        self._due_at = inf
        self._cumulative = 0

    @property
    def takes_messages(self) -> bool:
        """Whether the application may still send."""
        return self.state is ShutdownState.NONE

    def request(self) -> None:
        """Begin, from this side."""
        if self.state is ShutdownState.NONE:
            self.state = ShutdownState.PENDING

    def drained(self, cumulative: int, timeout: float, now: float) -> None:
        """Go on, since everything of ours is acknowledged. `cumulative` is what has arrived here."""
        self._cumulative = cumulative
        if self.state is ShutdownState.PENDING:
            self.state = ShutdownState.SENT
        elif self.state is ShutdownState.RECEIVED:
            self.state = ShutdownState.ACK_SENT
        else:
            return
        self._send(timeout, now)

    def data_arrived(self, cumulative: int) -> None:
        """Answer data that still comes with a SHUTDOWN as well (section 9.2)."""
        if self.state is ShutdownState.SENT:
            self._cumulative = cumulative
            self.chunks.append(encode_tsn(ChunkType.SHUTDOWN, cumulative))

    def receive_shutdown(self, timeout: float, now: float) -> None:
        """Begin, from the other side."""
        if self.state in (ShutdownState.NONE, ShutdownState.PENDING):
            self.state = ShutdownState.RECEIVED
        elif self.state in (ShutdownState.SENT, ShutdownState.ACK_SENT):
            self.state = ShutdownState.ACK_SENT
            self._send(timeout, now)

    def receive_shutdown_ack(self) -> None:
        """Finish, and say so."""
        if self.state in (ShutdownState.SENT, ShutdownState.ACK_SENT):
            self._complete()
        self.chunks.append(encode_chunk(ChunkType.SHUTDOWN_COMPLETE))

    def receive_shutdown_complete(self) -> None:
        """Finish."""
        if self.state is ShutdownState.ACK_SENT:
            self._complete()

    def deadline(self) -> float:
        """When `handle_timeout` is due."""
        return self._due_at

    def handle_timeout(self, timeout: float, now: float) -> None:
        """Send it again, or give up."""
        if now < self._due_at:
            return
        self._retransmissions += 1
        if self._retransmissions > self._max_retransmissions:
            self.failed, self._due_at = True, inf
        else:
            self._send(timeout * (1 << min(self._retransmissions, 6)), now)

    def _send(self, timeout: float, now: float) -> None:
        self._due_at = now + timeout
        if self.state is ShutdownState.SENT:
            self.chunks.append(encode_tsn(ChunkType.SHUTDOWN, self._cumulative))
        else:
            self.chunks.append(encode_chunk(ChunkType.SHUTDOWN_ACK))

    def _complete(self) -> None:
        self.state, self._due_at = ShutdownState.COMPLETE, inf


def answer_out_of_the_blue() -> bytes:
    """Return the chunk that ends an association that this end has already forgotten (RFC 9260 section 8.4)."""
    return encode_chunk(ChunkType.SHUTDOWN_COMPLETE, flags=FLAG_T)
