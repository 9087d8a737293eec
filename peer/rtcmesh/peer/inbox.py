"""Messages of one channel that wait for the application, from all peers."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable

from rtcmesh.signaling.identity import PeerId

from .conversation import Conversation
from .delivery import Delivery
from .session.frames import cost
from .session.session_events import MessagesReceived


class _Entry:
    """Messages that came together, the conversation they came in, and how many of them were taken."""

    __slots__ = ("conversation", "messages", "taken")

    def __init__(self, conversation: Conversation, messages: MessagesReceived) -> None:
        self.conversation = conversation
        self.messages = messages
        self.taken = 0

    @property
    def cost(self) -> int:
        """What is left of it costs."""
        return sum(map(cost, self.messages.payloads[self.taken :]))


class Inbox:
    """Holds what has arrived until it is taken; taking all that came together gives its sender credit for more.

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

    def put(self, conversation: Conversation, messages: MessagesReceived) -> None:
        """Add messages; of LATEST and BEST_EFFORT each comes alone."""
        entry = _Entry(conversation, messages)
        if messages.delivery is Delivery.LATEST:
            waiting = self._latest.get(conversation)
            if waiting is not None:
                waiting.messages = messages
                return
            self._latest[conversation] = entry
        elif messages.delivery is Delivery.BEST_EFFORT:
            self._make_room(conversation, entry.cost)
            self._best_effort.setdefault(conversation, deque()).append(entry)
        self._entries[entry] = None
        self._arrived.set()

    @property
    def left_behind_bytes(self) -> int:
        """What the messages of ended conversations cost."""
        return sum(entry.cost for entry in self._entries if entry.conversation.ended)

    def drop(self, ended: Conversation) -> int:
        """Drop what a conversation left here. Returns how many messages that was."""
        dropped = [entry for entry in self._entries if entry.conversation is ended]
        for entry in dropped:
            del self._entries[entry]
        self._latest.pop(ended, None)
        self._best_effort.pop(ended, None)
        self._best_effort_bytes.pop(ended, None)
        return sum(len(entry.messages.payloads) - entry.taken for entry in dropped)

    def close(self, error: Callable[[], BaseException]) -> None:
        """Let readers have what is there, and then `error`."""
        self._end = error
        self._arrived.set()

    async def wait(self) -> None:
        """Return when `take` has a message. Cancelling it loses nothing. Raises what `close` was given."""
        while not self._entries:
            if self._end is not None:
                raise self._end()
            self._arrived.clear()
            await self._arrived.wait()

    def take(self) -> tuple[PeerId, MessagesReceived, bytes] | None:
        """Return the sender of the next message, what it came with, and its payload; None if nothing waits."""
        entry = next(iter(self._entries), None)
        if entry is None:
            return None
        payloads, taken = entry.messages.payloads, entry.taken
        entry.taken = following = taken + 1
        if following == len(payloads):
            del self._entries[entry]
            self._forget(entry)
            entry.conversation.taken(entry.messages, asyncio.get_running_loop().time())
        return entry.conversation.peer_id, entry.messages, payloads[taken]

    def _make_room(self, conversation: Conversation, size: int) -> None:
        held = self._best_effort_bytes.get(conversation, 0) + size
        while held > self._window:
            oldest = self._best_effort[conversation].popleft()
            del self._entries[oldest]
            held -= oldest.cost
            self.dropped += 1
        self._best_effort_bytes[conversation] = held

    def _forget(self, entry: _Entry) -> None:
        """Note that an entry waits no more."""
        match entry.messages.delivery:
            case Delivery.LATEST:
                del self._latest[entry.conversation]
            case Delivery.BEST_EFFORT:
                self._best_effort[entry.conversation].popleft()  # the oldest are taken first
                left = self._best_effort_bytes[entry.conversation] - cost(entry.messages.payloads[0])
                if left:
                    self._best_effort_bytes[entry.conversation] = left
                else:
                    del self._best_effort_bytes[entry.conversation], self._best_effort[entry.conversation]
            case Delivery.RELIABLE | Delivery.UNORDERED:
                pass
