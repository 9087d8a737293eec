"""What the sending ends of channels of all kinds share."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from rtcmesh.peer.delivery import Priority
from rtcmesh.relay.frames import Urgency

from .flight import Fragment
from .frames import Ack, Open


class OutboundChannel:
    """What all kinds share. A frame is handed out only while `has_frames`."""

    def __init__(self, opening: Open, priority: Priority, give_turn: GiveTurn) -> None:
        """`give_turn`: what a channel calls that has taken a message and has no turn."""
        self.opening = opening
        self.number = opening.channel
        self.label = opening.label
        self.delivery = opening.delivery
        self.stored = opening.stored
        self.priority = priority
        self._give_turn = give_turn
        self.has_turn = False
        """Whether its next frame is asked for without a further word."""
        self.known = False
        """Whether the remote session knows the channel, so that its OPEN need not go along."""

    @property
    def has_frames(self) -> bool:
        """Whether there is something to send now."""
        raise NotImplementedError

    @property
    def urgency(self) -> Urgency:
        """How urgent the next frame is."""
        raise NotImplementedError

    @property
    def unacknowledged(self) -> int:
        """How many reliable messages the remote session does not have yet, as far as is known."""
        return 0

    @property
    def acknowledged_messages(self) -> int:
        """All messages up to this number have arrived."""
        return 0

    @property
    def is_drained(self) -> bool:
        """Whether nothing is left to be sent or acknowledged."""
        raise NotImplementedError

    @property
    def is_blocked(self) -> bool:
        """Whether only credit is missing, and nothing is on its way whose acknowledgement might bring it."""
        return False

    def fits(self, payload: bytes) -> bool:
        """Whether `accept` takes this message now."""
        del payload
        return True

    def accept(self, payload: bytes) -> int:
        """Take a message if it fits, and return its number, from 1 on; or 0, if it does not fit.

        Its place in the order of the channel is fixed by this call. A channel without a turn asks for one.
        """
        raise NotImplementedError

    def next_frame(self) -> tuple[bytes, Fragment | None]:
        """Return the next frame, and the fragment in it that is to be acknowledged."""
        raise NotImplementedError

    def lost(self, fragment: Fragment) -> None:
        """Take back a fragment that did not arrive."""

    def acknowledge(self, ack: Ack) -> list[Fragment]:
        """Take what the remote session has. Returns the fragments that are newly acknowledged.

        Raises `ProtocolViolation`, and changes nothing, for what was never handed out.
        """
        self.known = True
        return []

    def is_acknowledged(self, message: int) -> bool:
        """Whether the remote session has this message and all before it."""
        raise NotImplementedError

    def undelivered(self) -> Iterable[bytes]:
        """Return the messages that are not acknowledged and that no outbox keeps, in order."""
        return ()


GiveTurn = Callable[[OutboundChannel], None]
