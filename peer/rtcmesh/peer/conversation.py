"""What is said between this peer and one other: the session, and the senders that wait for its credit."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable

from rtcmesh.signaling.identity import PeerId

from .errors import PeerGone
from .session import CreditGrew, MessageReceived, Session

_Waiting = deque[tuple[bytes, asyncio.Future[None]]]


class Conversation:
    """One session and its waiting senders. It ends once, for good; a restarted peer begins another one."""

    def __init__(self, peer_id: PeerId, session: Session, changed: Callable[[], None]) -> None:
        self.peer_id = peer_id
        self.session = session
        self.ended = False
        self._changed = changed
        self._waiting: defaultdict[str, _Waiting] = defaultdict(deque)

    def send(self, label: str, payload: bytes) -> asyncio.Future[None] | None:
        """Hand a message to the session, now (None) or when the future is done.

        Messages of one channel take their places in the order of these calls. Cancelling the future before it is done
        means that the message is not sent. It fails with `PeerGone` when the peer leaves first.
        """
        waiting = self._waiting[label]
        if not waiting and not self.ended and self.session.fits(label, payload):
            self._hand_over(label, payload)
            return None
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.ended:
            future.set_exception(PeerGone([self.peer_id]))
        else:
            waiting.append((payload, future))
            future.add_done_callback(lambda done: self._serve(label) if done.cancelled() else None)
        return future

    def credit_grew(self, event: CreditGrew) -> None:
        """Let the senders of a channel have what they wait for."""
        self._serve(event.label)

    def taken(self, message: MessageReceived, now: float) -> None:
        """Note that the application has taken a message of this conversation."""
        if not self.ended:
            self.session.taken(message, now)
            self._changed()

    def end(self) -> None:
        """Fail the senders that still wait; what the session was given before is not touched."""
        self.ended = True
        for waiting in self._waiting.values():
            for _, future in waiting:
                if not future.done():
                    future.set_exception(PeerGone([self.peer_id]))
            waiting.clear()

    def _serve(self, label: str) -> None:
        waiting = self._waiting[label]
        while waiting:
            payload, future = waiting[0]
            if not future.cancelled():
                if not self.session.fits(label, payload):
                    return
                self._hand_over(label, payload)
                future.set_result(None)
            waiting.popleft()

    def _hand_over(self, label: str, payload: bytes) -> None:
        self.session.send(label, payload)
        self._changed()
