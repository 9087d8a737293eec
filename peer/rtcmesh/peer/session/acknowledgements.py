"""What the remote session is still to be told of what it sent: a machine without I/O."""

from __future__ import annotations

from .flight import ACK_DELAY, MIN_WINDOW_BYTES
from .frames import encode_ack
from .inbound import InboundChannel

URGENT_FRAGMENTS = 64
URGENT_BYTES = MIN_WINDOW_BYTES
"""As much may come before it is acknowledged at once: the least that a flight has room for."""


class Acknowledgements:
    """The acknowledgements that are owed.

    Guarantees: what is owed goes out within `ACK_DELAY`, or at once if the channel says so or much has come; before
    that, when there is company; each says how long the newest that it reports has waited.
    """

    def __init__(self) -> None:
        self.due_at: float | None = None
        """When they go out without company."""
        self._owing: dict[int, InboundChannel] = {}
        self._arrived_at: dict[int, float] = {}
        self._are_due = False
        self._fragments = self._bytes = 0
        """What has come since the last one went out, on all channels."""

    def arrived(self, channel: InboundChannel, size: int, now: float) -> None:
        """Note that a fragment of this size came, new or not."""
        self._arrived_at[channel.number] = now
        self._fragments += 1
        self._bytes += size
        if self._fragments >= URGENT_FRAGMENTS or self._bytes >= URGENT_BYTES:
            self.due_at, self._are_due = None, True
        self.owe(channel, now)

    def owe(self, channel: InboundChannel, now: float) -> None:
        """Note that the sender of a channel is to hear of it."""
        self._owing[channel.number] = channel
        if self.due_at is None and not self._are_due:
            self.due_at = now + ACK_DELAY

    def handle_timeout(self, now: float) -> None:
        """Wait no longer than promised."""
        if self.due_at is not None and now >= self.due_at:
            self.due_at, self._are_due = None, True

    def frames(self, now: float, *, company: bool) -> list[bytes]:
        """Return the frames that go out now."""
        owing, arrived_at = self._owing.values(), self._arrived_at
        if not (company or self._are_due or any(channel.owes_now for channel in owing)):
            return []
        acks = [
            encode_ack(channel.acknowledgement(now - arrived_at.get(channel.number, now)))
            for channel in owing
        ]
        self.clear()
        return acks

    def clear(self) -> None:
        """Owe nothing any more."""
        self._owing.clear()
        self.due_at, self._are_due = None, False
        self._fragments = self._bytes = 0
