"""What is said between this peer and one other: the session, and those who wait for it."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable

import msgspec

from rtcmesh.signaling.identity import PeerId

from . import codec
from .delivery import Delivery, Priority
from .errors import MeshError, PeerGone
from .events import Undelivered
from .session.outbound_channel import OutboundChannel
from .session.session import Session
from .session.session_events import Acknowledged, CreditGrew, MessagesReceived


class Outgoing(msgspec.Struct, frozen=True):
    """An encoded message and how it is to be delivered. One object serves all its receivers."""

    label: str
    payload: bytes
    delivery: Delivery = Delivery.RELIABLE
    priority: Priority = Priority.INTERACTIVE
    stored: bool = False
    """Whether an outbox keeps it until the remote application has taken it."""


class Conversation:
    """One session and those who wait for it. It ends once, for good; a restarted peer begins another one.

    Messages of one channel take their places in the order of the calls of `send`.
    """

    def __init__(self, peer_id: PeerId, session: Session, changed: Callable[[], None]) -> None:
        self.peer_id = peer_id
        self.session = session
        self.ended = False
        self._changed = changed
        self._waiting: defaultdict[str, deque[tuple[Outgoing, asyncio.Future[int]]]] = defaultdict(deque)
        self._unconfirmed: defaultdict[str, dict[asyncio.Future[None], int]] = defaultdict(dict)
        self._last: dict[str, int] = {}
        self._channels: dict[str, OutboundChannel] = {}
        """Those that the session was given messages for."""
        self._error: MeshError | None = None
        self._given_back: list[tuple[str, bytes]] | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether anybody waits, or anything was taken and not acknowledged, but for what an outbox keeps."""
        return bool(self.session.undelivered()) or any(
            not message.stored for waiting in self._waiting.values() for message, _ in waiting
        )

    def undelivered(self) -> tuple[Undelivered, ...]:
        """Return the reliable messages that were taken and not acknowledged, in their order on each channel."""
        undelivered = self.session.undelivered() if self._given_back is None else self._given_back
        return tuple(Undelivered(label, codec.decode_any(payload)) for label, payload in undelivered)

    def takes(self, message: Outgoing) -> bool:
        """Whether `send` would hand the message over at once."""
        if self.ended or self._waiting.get(message.label):
            return False
        channel = self._channels.get(message.label)
        return channel is None or channel.fits(message.payload)

    def send(self, message: Outgoing) -> int | asyncio.Future[int]:
        """Hand a message to the session, and return its number: now, or when there is room for it.

        Cancelling the future before it is done means that the message is not sent. It fails with `PeerGone` or
        `PeerUnreachable` when the conversation ends first.
        """
        if not self.ended and not self._waiting.get(message.label) and (number := self._hand_over(message)):
            return number
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if self.ended:
            future.set_exception(self._error or PeerGone([self.peer_id]))
        else:
            self._waiting[message.label].append((message, future))
            future.add_done_callback(lambda done: self._serve(message.label) if done.cancelled() else None)
        return future

    def confirmed(self, label: str, number: int | None = None) -> asyncio.Future[None]:
        """Return what is done when the remote session has this reliable message and all before it.

        Without a number: all messages that the session of this channel was given. Cancelling it changes nothing.
        """
        number = self._last.get(label, 0) if number is None else number
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        channel = self._channels.get(label)
        if number == 0 or (channel is not None and channel.is_acknowledged(number)):
            future.set_result(None)
        elif self.ended:
            future.set_exception(self._error or PeerGone([self.peer_id]))
        else:
            unconfirmed = self._unconfirmed[label]
            unconfirmed[future] = number
            future.add_done_callback(lambda done: unconfirmed.pop(done, None))
        return future

    def credit_grew(self, event: CreditGrew) -> None:
        """Let the senders of a channel have what they wait for."""
        self._serve(event.label)

    def acknowledged(self, event: Acknowledged) -> None:
        """Let those know who wait for a confirmation."""
        for future, number in self._unconfirmed.get(event.label, {}).items():
            if number <= event.number and not future.done():
                future.set_result(None)

    def taken(self, messages: MessagesReceived, now: float) -> None:
        """Note that the application has taken these messages of this conversation."""
        if not self.ended:
            self.session.taken(messages, now)
            self._changed()

    def end(self, error: MeshError | None = None) -> None:
        """Take no more, and let go of those who wait for room; what was taken is not touched."""
        if self.ended:
            return
        self.ended = True
        self._error = error
        for waiting in self._waiting.values():
            for _, future in waiting:
                if not future.done():
                    future.set_exception(error or PeerGone([self.peer_id]))
            waiting.clear()

    def abandon(self, error: MeshError | None = None) -> None:
        """End, and let go of those who wait for confirmations too: none will come.

        A message that is still unread keeps its conversation, and must not keep more than that.
        """
        self.end(error)
        if self._given_back is None:
            self._given_back = self.session.release()
            self._channels.clear()
        for unconfirmed in self._unconfirmed.values():
            for future in unconfirmed:
                if not future.done():
                    future.set_exception(self._error or PeerGone([self.peer_id]))
            unconfirmed.clear()

    def _serve(self, label: str) -> None:
        waiting = self._waiting[label]
        while waiting:
            message, future = waiting[0]
            if not future.cancelled():
                if not (number := self._hand_over(message)):
                    return
                future.set_result(number)
            waiting.popleft()

    def _hand_over(self, message: Outgoing) -> int:
        """Return the number of the message; 0 if the session has no room for it."""
        label = message.label
        channel = self._channels.get(label) or self._open(message)
        number = channel.accept(message.payload)
        if number:
            self._last[label] = number
            self._changed()
        return number

    def _open(self, first: Outgoing) -> OutboundChannel:
        """Return the session's end of a channel that there was no message for."""
        channel = self.session.channel(first.label, first.delivery, first.priority, stored=first.stored)
        self._channels[first.label] = channel
        return channel
