"""The sending end of a BEST_EFFORT channel: a machine without I/O."""

from __future__ import annotations

from collections import deque

from rtcmesh.peer.delivery import Priority
from rtcmesh.peer.errors import ProtocolViolation
from rtcmesh.relay.frames import Urgency

from .flight import Fragment
from .frames import FRAGMENT_OVERHEAD, MAX_DATAGRAM_BYTES, Ack, Open, encode_datagram
from .outbound_channel import GiveTurn, OutboundChannel

MAX_WAITING_DATAGRAM_BYTES = 64 * 1024
"""What may wait on one BEST_EFFORT channel; beyond that the oldest are dropped."""


class OutboundDatagrams(OutboundChannel):
    """BEST_EFFORT: a queue that drops the oldest when it is full."""

    def __init__(self, opening: Open, priority: Priority, give_turn: GiveTurn) -> None:
        super().__init__(opening, priority, give_turn)
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._handed_out = 0
        self._accepted = 0
        self.dropped = 0

    @property
    def has_frames(self) -> bool:
        """See `OutboundChannel`."""
        return bool(self._waiting)

    @property
    def urgency(self) -> Urgency:
        """See `OutboundChannel`."""
        return Urgency.BULK if self.priority is Priority.BULK else Urgency.INTERACTIVE

    @property
    def is_drained(self) -> bool:
        """See `OutboundChannel`."""
        return not self._waiting

    def accept(self, payload: bytes) -> int:
        """See `OutboundChannel`."""
        assert len(payload) <= MAX_DATAGRAM_BYTES, "accept() of a message that is too long"
        self._waiting.append(payload)
        self._waiting_bytes += len(payload) + FRAGMENT_OVERHEAD
        while self._waiting_bytes > MAX_WAITING_DATAGRAM_BYTES:
            self._waiting_bytes -= len(self._waiting.popleft()) + FRAGMENT_OVERHEAD
            self.dropped += 1
        if not self.has_turn:
            self._give_turn(self)
        self._accepted += 1
        return self._accepted

    def next_frame(self) -> tuple[bytes, Fragment | None]:
        """See `OutboundChannel`."""
        payload = self._waiting.popleft()
        self._waiting_bytes -= len(payload) + FRAGMENT_OVERHEAD
        self._handed_out += 1
        return encode_datagram(self.number, self._handed_out, payload), None

    def acknowledge(self, ack: Ack) -> list[Fragment]:
        """See `OutboundChannel`."""
        if ack.received or ack.ranges:
            raise ProtocolViolation("bad_ack", f"channel {self.number} acknowledges nothing")
        return super().acknowledge(ack)

    def is_acknowledged(self, message: int) -> bool:
        """See `OutboundChannel`: nothing is waited for."""
        del message
        return True
