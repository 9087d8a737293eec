"""What is said between this peer and one other: the session, and the senders that wait for its credit."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable

from rtcmesh.signaling.identity import PeerId

from .errors import PeerGone
from .session import CreditGrew, MessageReceived, Session


class Conversation:
    """One session and its waiting senders. It ends once, for good; a restarted peer begins another one."""

    def __init__(self, peer_id: PeerId, session: Session, changed: Callable[[], None]) -> None:
        self.peer_id = peer_id
        self.session = session
        self.ended = False
        self._changed = changed
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._credit: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    def try_send(self, label: str, payload: bytes) -> bool:
        """Hand the message to the session if nobody waits on this channel and it fits; return whether it did."""
        if self.ended or self._turns[label].locked() or not self.session.fits(label, payload):
            return False
        self._hand_over(label, payload)
        return True

    async def send(self, label: str, payload: bytes) -> None:
        """Wait for credit and hand the message to the session; senders of one channel go in the order they came.

        Cancelling it before it returns means that the message was not sent. Raises `PeerGone` when the peer leaves
        meanwhile.
        """
        async with self._turns[label]:
            while not self.ended and not self.session.fits(label, payload):
                self._credit[label].clear()
                await self._credit[label].wait()
            if self.ended:
                raise PeerGone([self.peer_id])
            self._hand_over(label, payload)

    def taken(self, message: MessageReceived, now: float) -> None:
        """Note that the application has taken a message of this conversation."""
        if not self.ended:
            self.session.taken(message, now)
            self._changed()

    def credit_grew(self, event: CreditGrew) -> None:
        """Let the senders of a channel look again."""
        self._credit[event.label].set()

    def end(self) -> None:
        """Fail the senders that still wait; what the session was given before is not touched."""
        self.ended = True
        for credit in self._credit.values():
            credit.set()

    def _hand_over(self, label: str, payload: bytes) -> None:
        self.session.send(label, payload)
        self._changed()
