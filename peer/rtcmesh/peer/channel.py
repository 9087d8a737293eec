"""A named channel of a mesh, as the application holds it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, cast

from rtcmesh.signaling.identity import PeerId

from . import codec
from .errors import Closed, MessageTooLarge, NotDecodable
from .inbox import Inbox

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Message(Generic[T]):
    """One message as it was received."""

    sender: PeerId
    data: T
    channel: str


class ChannelHost(Protocol):
    """What a channel needs of its mesh."""

    async def send(self, label: str, payload: bytes, to: Iterable[PeerId] | None) -> None:
        """Send to these peers, or to all."""
        ...

    def message_rejected(self, sender: PeerId, label: str, error: NotDecodable) -> None:
        """A message was dropped."""
        ...


class Channel(Generic[T]):
    """Messages of one kind between all peers of a mesh: reliable, ordered for each pair of peers, exactly once.

    Iterate to receive; several readers share the messages between them. Iteration ends when the mesh is closed, after
    everything that had arrived was delivered. What has arrived before the channel was opened here is not lost.
    """

    def __init__(
        self, label: str, expected: object, inbox: Inbox, host: ChannelHost, max_message_bytes: int
    ) -> None:
        self.label = label
        self.expected = expected
        self._decode = codec.decoder(expected)
        self.inbox = inbox
        self._host = host
        self._max_message_bytes = max_message_bytes

    async def send(self, data: T, *, to: PeerId | Iterable[PeerId] | None = None) -> None:
        """Send to all peers now in the mesh, to one, or to several; encoded once.

        Returns when every addressed peer's session has taken the message: from then on it is delivered as soon as
        there is a path, resent over the next path if one dies, and counted in `PeerLeft.undelivered` if the peer
        leaves first. While the peer reads too slowly, or cannot be reached and its window is full, it waits; that
        peer's slowness does not delay the message to the others.

        Cancelling it may leave the message sent to some of the peers and not to others, to each one whole or not at
        all. Raises `PeerGone` for addressed peers that are not in the mesh (without `to`, those that leave meanwhile
        are simply not part of "all"), `MessageTooLarge`, `NotEncodable`, or `Closed`.
        """
        payload = codec.encode(data)
        if len(payload) > self._max_message_bytes:
            raise MessageTooLarge(len(payload), self._max_message_bytes)
        # A PeerId is a str, and a str is an iterable of str.
        await self._host.send(self.label, payload, [PeerId(to)] if isinstance(to, str) else to)

    async def receive(self) -> Message[T]:
        """Return the next message. Cancelling it loses nothing. Raises `Closed` after the last one."""
        while True:
            sender, payload = await self.inbox.take()
            try:
                return Message(sender, cast("T", self._decode(payload)), self.label)
            except NotDecodable as error:
                self._host.message_rejected(sender, self.label, error)

    def __aiter__(self) -> AsyncIterator[Message[T]]:
        return self

    async def __anext__(self) -> Message[T]:
        try:
            return await self.receive()
        except Closed:
            raise StopAsyncIteration from None
