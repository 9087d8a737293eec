"""Messages of one channel that wait for the application, from all peers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from rtcmesh.signaling.identity import PeerId

from .conversation import Conversation
from .frames import cost
from .session import MessageReceived


class Inbox:
    """Holds what has arrived until it is taken; taking a message gives its sender credit for another.

    There is one per label from the first message on, whether or not the application has opened the channel yet, so
    nothing is lost before the first reader. What a peer that is there can make it hold is bounded by that peer's
    credit.
    """

    def __init__(self) -> None:
        self._messages: deque[tuple[Conversation, MessageReceived]] = deque()
        self._arrived = asyncio.Event()
        self._end: Callable[[], BaseException] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._messages

    def put(self, conversation: Conversation, message: MessageReceived) -> None:
        """Add a message."""
        self._messages.append((conversation, message))
        self._arrived.set()

    @property
    def left_behind_bytes(self) -> int:
        """What the messages of ended conversations cost."""
        return sum(cost(message.payload) for conversation, message in self._messages if conversation.ended)

    def drop(self, ended: Conversation) -> int:
        """Drop what a conversation left here. Returns how many messages that was."""
        kept = deque(entry for entry in self._messages if entry[0] is not ended)
        dropped, self._messages = len(self._messages) - len(kept), kept
        return dropped

    def close(self, error: Callable[[], BaseException]) -> None:
        """Let readers have what is there, and then `error`."""
        self._end = error
        self._arrived.set()

    async def take(self) -> tuple[PeerId, bytes]:
        """Return the next message and its sender. Cancelling it loses nothing. Raises what `close` was given."""
        while not self._messages:
            if self._end is not None:
                raise self._end()
            self._arrived.clear()
            await self._arrived.wait()
        conversation, message = self._messages.popleft()
        conversation.taken(message, asyncio.get_running_loop().time())
        return conversation.peer_id, message.payload
