"""The sending end of one channel towards one peer, for each kind of delivery: machines without I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from functools import partial
from itertools import chain
from typing import assert_never

from rtcmesh.peer.delivery import Delivery, Priority
from rtcmesh.peer.errors import ProtocolViolation
from rtcmesh.relay.frames import Urgency

from .flight import Fragment
from .frames import (
    FIRST,
    FRAGMENT_BYTES,
    FRAGMENT_OVERHEAD,
    LAST,
    LENGTH_BYTES,
    MAX_TOGETHER,
    MIN_CHANNEL_WINDOW_BYTES,
    TOGETHER_BYTES,
    Ack,
    Open,
    cost,
    encode_data,
    encode_messages,
    fragment_count,
    window_size,
)
from .number_set import NumberSet
from .outbound_channel import GiveTurn, OutboundChannel
from .outbound_datagrams import OutboundDatagrams

_REMEMBERED_VALUES = 64
"""How many values of a LATEST channel are confirmed one by one; earlier ones are with the oldest of these."""


def fragments_of(channel: int, first: int, payload: bytes, priority: Priority) -> list[Fragment]:
    """Cut a message; its fragments share the payload's memory."""
    total = len(payload)
    count = fragment_count(total)
    urgency = Urgency.BULK if count > 1 else _urgency_of(priority)
    view = memoryview(payload)
    fragments: list[Fragment] = []
    for index in range(count):
        flags = (FIRST if index == 0 else 0) | (LAST if index == count - 1 else 0)
        part = view[index * FRAGMENT_BYTES : (index + 1) * FRAGMENT_BYTES]
        encode = partial(encode_data, channel, flags, first + index, total, part)
        fragments.append(Fragment(channel, first + index, cost(part), urgency, encode))
    return fragments


def _urgency_of(priority: Priority) -> Urgency:
    """Return how urgent a message of one fragment is."""
    return Urgency.BULK if priority is Priority.BULK else Urgency.INTERACTIVE


class OutboundStream(OutboundChannel):
    """RELIABLE and UNORDERED: numbers fragments, and keeps them until they are acknowledged.

    Guarantees: what is kept never costs more than `window` bytes, or is one message, whatever is acknowledged in
    whichever order; nothing is handed out beyond the receiver's credit; what is lost is handed out again, before
    anything new. Messages become fragments when they are handed out: by then it is known which are together.
    """

    def __init__(self, opening: Open, priority: Priority, give_turn: GiveTurn, *, window: int) -> None:
        super().__init__(opening, priority, give_turn)
        self._window = window
        self._limit = MIN_CHANNEL_WINDOW_BYTES
        self._small_urgency = _urgency_of(priority)
        self._waiting: list[bytes] = []
        """Messages of which nothing was handed out."""
        self._begun: deque[Fragment] = deque()
        """The rest of the large message of which something was."""
        self._again: deque[Fragment] = deque()
        self._on_the_way: dict[int, Fragment] = {}
        """What was handed out and is not acknowledged."""
        self._last_number = 0
        self._handed_out = 0
        self._handed_out_cost = 0
        self._received = NumberSet()
        self._kept: deque[tuple[int, list[bytes], int]] = deque()
        """The messages that are not acknowledged: the number of the fragment that ends them, they, their cost."""
        self._room = window
        """What these and those that wait leave of the window; less than nothing beside one that is larger."""
        self._accepted_messages = 0
        self._acknowledged_messages = 0
        self.in_flight = 0

    @property
    def has_frames(self) -> bool:
        """See `OutboundChannel`."""
        self._skip_done()
        if self._again:
            return True
        if self._begun:
            return self._handed_out_cost + self._begun[0].size <= self._limit
        if self._waiting:
            size = min(len(self._waiting[0]), FRAGMENT_BYTES)
            return self._handed_out_cost + size + FRAGMENT_OVERHEAD <= self._limit
        return False

    @property
    def urgency(self) -> Urgency:
        """See `OutboundChannel`."""
        if self._again:
            return self._again[0].urgency
        if self._begun or len(self._waiting[0]) > FRAGMENT_BYTES:
            return Urgency.BULK
        return self._small_urgency

    @property
    def unacknowledged(self) -> int:
        """See `OutboundChannel`."""
        return self._accepted_messages - self._acknowledged_messages

    @property
    def is_drained(self) -> bool:
        """See `OutboundChannel`."""
        return not self.unacknowledged

    @property
    def is_blocked(self) -> bool:
        """See `OutboundChannel`."""
        return not self.in_flight and bool(self._waiting or self._begun) and not self.has_frames

    def fits(self, payload: bytes) -> bool:
        """See `OutboundChannel`."""
        return self._room >= cost(payload) or self._room == self._window

    def accept(self, payload: bytes) -> int:
        """See `OutboundChannel`."""
        room = self._room - len(payload) - FRAGMENT_OVERHEAD
        if room < 0 and self._room < self._window:
            return 0
        self._room = room
        self._waiting.append(payload)
        if not self.has_turn:
            self._give_turn(self)
        self._accepted_messages = number = self._accepted_messages + 1
        return number

    def next_frame(self) -> tuple[bytes, Fragment | None]:
        """See `OutboundChannel`."""
        self.in_flight += 1
        if self._again:
            fragment = self._again.popleft()
            return fragment.encode(), fragment
        if self._begun:
            fragment = self._go_on()
        elif len(self._waiting[0]) > FRAGMENT_BYTES:
            fragment = self._begin_large()
        else:
            fragment = self._put_together()
        self._handed_out = fragment.number
        self._on_the_way[fragment.number] = fragment
        return fragment.encode(), fragment

    def lost(self, fragment: Fragment) -> None:
        """See `OutboundChannel`."""
        self.in_flight -= 1
        if not fragment.done:
            fragment.resent = True
            self._again.append(fragment)

    def acknowledge(self, ack: Ack) -> list[Fragment]:
        """See `OutboundChannel`."""
        highest = ack.ranges[-1][1] if ack.ranges else ack.received
        if highest > self._handed_out:
            raise ProtocolViolation("bad_ack", f"channel {self.number}: {highest} was never sent")
        self.known = True
        self._limit = max(self._limit, ack.limit)
        acknowledged: list[Fragment] = []
        for first, last in ((1, ack.received), *ack.ranges):
            for begin, end in self._received.add(first, last):
                for number in range(begin, end + 1):
                    self._settle(number, acknowledged)
        while self._kept and self._kept[0][0] <= self._received.through:
            _, messages, size = self._kept.popleft()
            self._room += size
            self._acknowledged_messages += len(messages)
        return acknowledged

    def is_acknowledged(self, message: int) -> bool:
        """See `OutboundChannel`."""
        return message <= self._acknowledged_messages

    @property
    def acknowledged_messages(self) -> int:
        """See `OutboundChannel`."""
        return self._acknowledged_messages

    def undelivered(self) -> Iterable[bytes]:
        """See `OutboundChannel`."""
        if self.stored:
            return ()
        return [*chain.from_iterable(messages for _, messages, _ in self._kept), *self._waiting]

    def _begin_large(self) -> Fragment:
        """Cut the first of the messages that wait, and return its first fragment."""
        payload = self._waiting.pop(0)
        self._begun += fragments_of(self.number, self._last_number + 1, payload, self.priority)
        self._last_number += len(self._begun)
        self._kept.append((self._last_number, [payload], cost(payload)))
        return self._go_on()

    def _go_on(self) -> Fragment:
        """Return the next fragment of the message that was begun."""
        fragment = self._begun.popleft()
        self._handed_out_cost += fragment.size
        return fragment

    def _put_together(self) -> Fragment:
        """Make one fragment of the messages that wait, as many as there are room and credit for: one at least."""
        sizes = self._sizes_that_fit()
        count = len(sizes)
        messages = self._waiting[:count]
        del self._waiting[:count]
        self._last_number = number = self._last_number + 1
        size = sum(sizes)
        credit = size + count * FRAGMENT_OVERHEAD
        self._handed_out_cost += credit
        self._kept.append((number, messages, credit))
        encode = partial(encode_messages, self.number, number, messages, sizes)
        return Fragment(self.number, number, window_size(size, count), self._small_urgency, encode)

    def _sizes_that_fit(self) -> list[int]:
        """Return the lengths of the messages that make one fragment; looks first at as many as if all were alike."""
        waiting, credit = self._waiting, self._limit - self._handed_out_cost
        count = min(len(waiting), MAX_TOGETHER, TOGETHER_BYTES // (len(waiting[0]) + LENGTH_BYTES) or 1)
        sizes = list(map(len, waiting[:count]))
        size = sum(sizes)
        while len(sizes) > 1 and not _fit(size, len(sizes), credit):
            size -= sizes.pop()
        if len(sizes) == count:
            for message in waiting[count:MAX_TOGETHER]:
                size += len(message)
                if not _fit(size, len(sizes) + 1, credit):
                    break
                sizes.append(len(message))
        return sizes

    def _settle(self, number: int, acknowledged: list[Fragment]) -> None:
        fragment = self._on_the_way.pop(number)
        fragment.done = True
        if fragment.flight is not None:
            self.in_flight -= 1
            acknowledged.append(fragment)

    def _skip_done(self) -> None:
        """Forget what was taken for lost and has arrived after all."""
        while self._again and self._again[0].done:
            self._again.popleft()


def _fit(size: int, count: int, credit: int) -> bool:
    """Whether so many messages of so many bytes together make one fragment."""
    return size + count * LENGTH_BYTES <= TOGETHER_BYTES and size + count * FRAGMENT_OVERHEAD <= credit


class OutboundLatest(OutboundChannel):
    """LATEST: keeps the newest message, and finishes the one before if a part of it was handed out.

    Guarantees: the newest message is handed out until it is acknowledged; memory is bounded by two messages and what
    the path's window lets be on its way.
    """

    def __init__(self, opening: Open, priority: Priority, give_turn: GiveTurn) -> None:
        super().__init__(opening, priority, give_turn)
        self._fresh: deque[Fragment] = deque()
        self._fresh_message = 0
        self._waiting: bytes | None = None
        self._again: deque[Fragment] = deque()
        self._outstanding: dict[int, Fragment] = {}
        self._newest_first = 1
        self._last_number = 0
        self._handed_out = 0
        self._received = 0
        self._accepted = 0
        self._acknowledged_messages = 0
        self._complete: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED_VALUES)
        """The last fragment of each message that was handed out as a whole, and the message's number."""

    @property
    def has_frames(self) -> bool:
        """See `OutboundChannel`."""
        while self._again and self._again[0].done:
            self._again.popleft()
        return bool(self._again or self._fresh)

    @property
    def urgency(self) -> Urgency:
        """See `OutboundChannel`."""
        return (self._again or self._fresh)[0].urgency

    @property
    def is_drained(self) -> bool:
        """See `OutboundChannel`."""
        return self._waiting is None and self._received >= self._last_number

    @property
    def acknowledged_messages(self) -> int:
        """All messages up to this number have arrived, or a newer one in their place."""
        return self._acknowledged_messages

    def accept(self, payload: bytes) -> int:
        """See `OutboundChannel`."""
        self._accepted += 1
        partly = bool(self._fresh) and self._fresh[0].number > self._newest_first
        if partly:
            self._waiting = payload
        else:
            self._replace(payload)
        if not self.has_turn:
            self._give_turn(self)
        return self._accepted

    def next_frame(self) -> tuple[bytes, Fragment | None]:
        """See `OutboundChannel`."""
        if self._again:
            fragment = self._again.popleft()
        else:
            fragment = self._fresh.popleft()
            self._handed_out = fragment.number
            self._outstanding[fragment.number] = fragment
            if not self._fresh:
                self._complete.append((fragment.number, self._fresh_message))
        frame = fragment.encode()
        if not self._fresh and self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            self._replace(waiting)
        return frame, fragment

    def lost(self, fragment: Fragment) -> None:
        """See `OutboundChannel`."""
        if fragment.done:
            self._outstanding.pop(fragment.number, None)
        else:
            fragment.resent = True
            self._again.append(fragment)

    def acknowledge(self, ack: Ack) -> list[Fragment]:
        """See `OutboundChannel`."""
        if ack.received > self._handed_out or ack.ranges:
            raise ProtocolViolation("bad_ack", f"channel {self.number}: {ack.received} was never sent")
        self.known = True
        arrived: list[Fragment] = []
        for number in range(self._received + 1, ack.received + 1):
            fragment = self._outstanding.pop(number, None)
            if fragment is not None:
                fragment.done = True
                if fragment.flight is not None:
                    arrived.append(fragment)
        self._received = max(self._received, ack.received)
        while self._complete and self._complete[0][0] <= self._received:
            _, self._acknowledged_messages = self._complete.popleft()
        return arrived

    def is_acknowledged(self, message: int) -> bool:
        """See `OutboundChannel`."""
        return message <= self._acknowledged_messages

    def _replace(self, payload: bytes) -> None:
        """Let a newer message take the place of the one before, of which all or nothing was handed out."""
        for number in range(self._newest_first, self._handed_out + 1):
            fragment = self._outstanding.get(number)
            if fragment is not None:
                fragment.done = True
                if fragment.flight is None:
                    del self._outstanding[number]
        self._again.clear()
        if self._fresh:
            self._last_number -= len(self._fresh)  # none of them was handed out
        self.has_turn = False  # the one before may have been of another urgency
        self._fresh_message = self._accepted
        self._newest_first = self._last_number + 1
        self._fresh = deque(fragments_of(self.number, self._newest_first, payload, self.priority))
        self._last_number += len(self._fresh)


def open_outbound(opening: Open, priority: Priority, give_turn: GiveTurn, *, window: int) -> OutboundChannel:
    """Return the sending end of a new channel."""
    match opening.delivery:
        case Delivery.RELIABLE | Delivery.UNORDERED:
            return OutboundStream(opening, priority, give_turn, window=window)
        case Delivery.LATEST:
            return OutboundLatest(opening, priority, give_turn)
        case Delivery.BEST_EFFORT:
            return OutboundDatagrams(opening, priority, give_turn)
        case _:
            assert_never(opening.delivery)
