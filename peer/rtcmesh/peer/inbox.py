"""Messages of one channel that wait for the application, from all peers."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable

from rtcmesh.signaling.identity import PeerId

from .conversation import Conversation
from .delivery import Delivery
from .session.frames import cost
from .session.session_events import MessageReceived


class _Entry:
    """A message and the conversation it came in."""

    __slots__ = ("conversation", "message")

    def __init__(self, conversation: Conversation, message: MessageReceived) -> None:
        self.conversation = conversation
        self.message = message


class Inbox:
    """Holds what has arrived until it is taken; taking a message gives its sender credit for another.

    There is one per label from the first message on, whether or not the application has opened the channel yet, so
    nothing is lost before the first reader. What a peer that is there can make it hold is bounded: by its credit, for
    LATEST by one value, for BEST_EFFORT by `window` bytes, beyond which the oldest are dropped.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        # Others than the first go too, and each costs the same however many wait.
        self._entries: OrderedDict[_Entry, None] = OrderedDict()
        self._latest: dict[Conversation, _Entry] = {}
        self._best_effort: dict[Conversation, deque[_Entry]] = {}
        self._best_effort_bytes: dict[Conversation, int] = {}
        self._arrived = asyncio.Event()
        self._end: Callable[[], BaseException] | None = None
        self.dropped = 0
        """How many BEST_EFFORT messages were dropped because nobody took them."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._entries

    def put(self, conversation: Conversation, message: MessageReceived) -> None:
        """Add a message."""
        entry = _Entry(conversation, message)
        if message.delivery is Delivery.LATEST:
            waiting = self._latest.get(conversation)
            if waiting is not None:
                waiting.message = message
                return
            self._latest[conversation] = entry
        elif message.delivery is Delivery.BEST_EFFORT:
            self._make_room(conversation, cost(message.payload))
            self._best_effort.setdefault(conversation, deque()).append(entry)
        self._entries[entry] = None
        self._arrived.set()

    @property
    def left_behind_bytes(self) -> int:
        """What the messages of ended conversations cost."""
        return sum(cost(entry.message.payload) for entry in self._entries if entry.conversation.ended)

    def drop(self, ended: Conversation) -> int:
        """Drop what a conversation left here. Returns how many messages that was."""
        dropped = [entry for entry in self._entries if entry.conversation is ended]
        for entry in dropped:
            del self._entries[entry]
        self._latest.pop(ended, None)
        self._best_effort.pop(ended, None)
        self._best_effort_bytes.pop(ended, None)
        return len(dropped)

    def close(self, error: Callable[[], BaseException]) -> None:
        """Let readers have what is there, and then `error`."""
        self._end = error
        self._arrived.set()

    async def take(self) -> tuple[PeerId, MessageReceived]:
        """Return the next message and its sender. Cancelling it loses nothing. Raises what `close` was given."""
        while not self._entries:
            if self._end is not None:
                raise self._end()
            self._arrived.clear()
            await self._arrived.wait()
        entry, _ = self._entries.popitem(last=False)
        self._forget(entry)
        entry.conversation.taken(entry.message, asyncio.get_running_loop().time())
        return entry.conversation.peer_id, entry.message

    def _make_room(self, conversation: Conversation, size: int) -> None:
        held = self._best_effort_bytes.get(conversation, 0) + size
        while held > self._window:
            oldest = self._best_effort[conversation].popleft()
            del self._entries[oldest]
            held -= cost(oldest.message.payload)
            self.dropped += 1
        self._best_effort_bytes[conversation] = held

    def _forget(self, entry: _Entry) -> None:
        """Note that an entry waits no more."""
        match entry.message.delivery:
            case Delivery.LATEST:
                del self._latest[entry.conversation]
            case Delivery.BEST_EFFORT:
                self._best_effort[entry.conversation].popleft()  # the oldest are taken first
                left = self._best_effort_bytes[entry.conversation] - cost(entry.message.payload)
                if left:
                    self._best_effort_bytes[entry.conversation] = left
                else:
                    del self._best_effort_bytes[entry.conversation], self._best_effort[entry.conversation]
            case Delivery.RELIABLE | Delivery.UNORDERED:
                pass
