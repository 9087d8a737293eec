"""A named channel of a mesh, as the application holds it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, cast

import msgspec

from rtcmesh.signaling.identity import PeerId

from . import codec
from .conversation import Outgoing
from .delivery import Delivery, Priority
from .errors import Closed, MessageTooLarge, NotDecodable
from .inbox import Inbox
from .outbox.outboxes import Outboxes
from .outbox.stamps import STAMP_BYTES
from .session.frames import MAX_DATAGRAM_BYTES, MAX_LATEST_BYTES, MAX_MESSAGE_BYTES

T = TypeVar("T")


class Message(msgspec.Struct, Generic[T], frozen=True):
    """One message as it was received."""

    sender: PeerId
    data: T
    channel: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ChannelKind:
    """What a channel is for; the same label cannot be opened as two kinds."""

    expected: Any
    delivery: Delivery
    priority: Priority
    outbox: Path | None = None


class ChannelSender(Protocol):
    """Where a channel's messages go: into the sessions, or into its outbox first."""

    def send(
        self, message: Outgoing, to: Iterable[PeerId] | None, *, confirm: bool
    ) -> Awaitable[None] | None:
        """Send to these peers, or to all; return what is still to be waited for."""
        ...

    def send_nowait(self, message: Outgoing, to: Iterable[PeerId] | None) -> None:
        """Send to these peers, or to all, or to none of them."""
        ...

    async def flush(self, label: str, to: Iterable[PeerId] | None) -> None:
        """Wait until these peers, or all, have what was sent."""
        ...


class Channel(Generic[T]):
    """Messages of one kind between all peers of a mesh, delivered as its `Delivery` says, over every path alike.

    Iterate to receive; several readers share the messages between them. Iteration ends when the mesh is closed, after
    everything that had arrived was delivered. What has arrived before the channel was opened here is not lost. How a
    message is delivered is up to its sender's channel; the receiver's may be of another delivery.
    """

    def __init__(
        self,
        label: str,
        kind: ChannelKind,
        inbox: Inbox,
        *,
        sender: ChannelSender,
        outboxes: Outboxes,
        rejected: Callable[[PeerId, str, NotDecodable], None],
        max_message_bytes: int,
    ) -> None:
        self.label = label
        self.kind = kind
        self._decode = codec.decoder(kind.expected)
        self.inbox = inbox
        self._rejected = rejected
        self._outboxes = outboxes
        self._sender: ChannelSender = outboxes if kind.outbox else sender
        self._max_message_bytes = min(max_message_bytes, _limit(kind))

    async def send(
        self, data: T, *, to: PeerId | Iterable[PeerId] | None = None, confirm: bool = False
    ) -> None:
        """Send to all peers now in the mesh, to one, or to several; encoded once.

        Returns when every addressed peer's session has taken the message: from then on it is delivered as the
        channel's `Delivery` says, or given back in `PeerLeft.undelivered` or `SessionExpired.undelivered`. With
        `confirm`, which needs a RELIABLE or UNORDERED channel, it returns when every addressed peer's session has
        received it. While a peer reads too slowly, or cannot be reached and its window is full, it waits; that peer's
        slowness does not delay the message to the others. LATEST and BEST_EFFORT never wait.

        On a channel with an outbox it returns when the message is in the file, for everybody now in the mesh or for
        the addressed peers, who need not be there; with `confirm`, when their applications have taken it, or
        `PeerUnreachable` says that it expired or was discarded. While the outbox is full it waits for room, or raises
        `OutboxFull` when nobody is there who could make some. `PeerGone` is for an id that no other peer can have.

        Cancelling it may leave the message sent to some of the peers and not to others, to each one whole or not at
        all; in an outbox, for all of them or for none. Raises `PeerGone` for addressed peers that are not in the mesh
        (without `to`, those that leave meanwhile are simply not part of "all"), `PeerUnreachable`, `MessageTooLarge`,
        `NotEncodable`, `OutboxFailed`, or `Closed`.
        """
        if confirm and self.kind.delivery not in (Delivery.RELIABLE, Delivery.UNORDERED):
            raise ValueError(f"a {self.kind.delivery.value} channel confirms nothing")
        waiting = self._sender.send(self._outgoing(data), _peers(to), confirm=confirm)
        if waiting is not None:
            await waiting

    def send_nowait(self, data: T, *, to: PeerId | Iterable[PeerId] | None = None) -> None:
        """Send as `send` does if every addressed peer's session takes the message at once, else to nobody.

        Raises `WouldBlock` with the peers that have no room, and what `send` raises. With an outbox it writes to the
        file before it returns, and raises `OutboxFull` whenever there is no room.
        """
        self._sender.send_nowait(self._outgoing(data), _peers(to))

    async def flush(self, *, to: PeerId | Iterable[PeerId] | None = None) -> None:
        """Return when the peers' sessions have received all that was sent to them on this channel.

        What waits for room in another task's `send` is not part of it; nor is, with LATEST, any value but the newest,
        or anything with BEST_EFFORT. On a channel with an outbox it returns when the peers' applications have taken
        it. Cancelling it changes nothing. Raises `PeerGone`, `PeerUnreachable` or `Closed`.
        """
        await self._sender.flush(self.label, _peers(to))

    def waiting(self) -> Mapping[PeerId, int]:
        """Return how many messages in the channel's outbox wait for whom, whether or not they are in the mesh."""
        return self._outboxes.waiting(self.label)

    def discard(self, *, to: PeerId) -> int:
        """Forget what waits in the channel's outbox for a peer, and return how many messages that were.

        Those that were handed to the peer's session already may arrive all the same.
        """
        return self._outboxes.discard(self.label, to)

    async def receive(self) -> Message[T]:
        """Return the next message. Cancelling it loses nothing. Raises `Closed` after the last one."""
        while (message := self._take()) is None:
            await self.inbox.wait()
        return message

    def __aiter__(self) -> AsyncIterator[Message[T]]:
        return self

    async def __anext__(self) -> Message[T]:
        while (message := self._take()) is None:
            try:
                await self.inbox.wait()
            except Closed:
                raise StopAsyncIteration from None
        return message

    def _take(self) -> Message[T] | None:
        """Return the next message that is one, if it is there."""
        while (taken := self.inbox.take()) is not None:
            sender, messages, payload = taken
            try:
                kept = self._outboxes.take(sender, self.label, payload) if messages.stored else payload
                if kept is not None:
                    return Message(sender, cast("T", self._decode(kept)), self.label)
            except NotDecodable as error:
                self._rejected(sender, self.label, error)
        return None

    def _outgoing(self, data: T) -> Outgoing:
        payload = codec.encode(data)
        if len(payload) > self._max_message_bytes:
            raise MessageTooLarge(len(payload), self._max_message_bytes)
        kind = self.kind
        return Outgoing(self.label, payload, kind.delivery, kind.priority, kind.outbox is not None)


def _peers(to: PeerId | Iterable[PeerId] | None) -> Iterable[PeerId] | None:
    # A PeerId is a str, and a str is an iterable of str.
    return [PeerId(to)] if isinstance(to, str) else to


def _limit(kind: ChannelKind) -> int:
    match kind.delivery:
        case Delivery.BEST_EFFORT:
            return MAX_DATAGRAM_BYTES
        case Delivery.LATEST:
            return MAX_LATEST_BYTES
        case Delivery.RELIABLE | Delivery.UNORDERED:
            return MAX_MESSAGE_BYTES - (STAMP_BYTES if kind.outbox else 0)
