"""The sending end of one channel towards one peer, for each kind of delivery: machines without I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import assert_never

from rtcmesh.peer.delivery import Delivery, Priority
from rtcmesh.peer.errors import ProtocolViolation
from rtcmesh.relay.frames import Urgency

from .flight import Fragment
from .frames import (
    FIRST,
    FRAGMENT_BYTES,
    LAST,
    MIN_WINDOW_BYTES,
    Ack,
    encode_data,
    fragment_count,
    message_cost,
)
from .number_set import NumberSet
from .outbound_channel import OutboundChannel
from .outbound_datagrams import OutboundDatagrams

_REMEMBERED_VALUES = 64
"""How many values of a LATEST channel are confirmed one by one; earlier ones are with the oldest of these."""


def fragments_of(channel: int, first: int, payload: bytes, priority: Priority) -> list[Fragment]:
    """Cut a message; its fragments share the payload's memory."""
    count = fragment_count(len(payload))
    bulk = count > 1 or priority is Priority.BULK
    urgency = Urgency.BULK if bulk else Urgency.INTERACTIVE
    if count == 1:
        return [Fragment(channel, first, FIRST | LAST, len(payload), payload, urgency)]
    view = memoryview(payload)
    fragments: list[Fragment] = []
    for index in range(count):
        flags = (FIRST if index == 0 else 0) | (LAST if index == count - 1 else 0)
        part = view[index * FRAGMENT_BYTES : (index + 1) * FRAGMENT_BYTES]
        fragments.append(Fragment(channel, first + index, flags, len(payload), part, urgency))
    return fragments


class OutboundStream(OutboundChannel):
    """RELIABLE and UNORDERED: numbers fragments, and keeps them until they are acknowledged.

    Guarantees: what is kept never costs more than `window` bytes, or is one message, whatever is acknowledged in
    whichever order; nothing is handed out beyond the receiver's credit; what is lost is handed out again, before
    anything new.
    """

    def __init__(
        self, number: int, label: str, delivery: Delivery, priority: Priority, *, stored: bool, window: int
    ) -> None:
        super().__init__(number, label, delivery, priority, stored=stored)
        self._window = window
        self._limit = MIN_WINDOW_BYTES
        self._kept: dict[int, Fragment] = {}
        self._kept_cost = 0
        self._fresh: deque[Fragment] = deque()
        self._again: deque[Fragment] = deque()
        self._last_number = 0
        self._handed_out = 0
        self._handed_out_cost = 0
        self._received = NumberSet()
        self._accepted_messages = 0
        self._acknowledged_messages = 0
        self._messages: deque[tuple[int, bytes]] = deque()
        """The number of the last fragment, and the payload, of each message that is not acknowledged."""
        self.in_flight = 0

    @property
    def has_frames(self) -> bool:
        """See `OutboundChannel`."""
        self._skip_done()
        if self._again:
            return True
        return bool(self._fresh) and self._handed_out_cost + self._fresh[0].size <= self._limit

    @property
    def urgency(self) -> Urgency:
        """See `OutboundChannel`."""
        return (self._again or self._fresh)[0].urgency

    @property
    def unacknowledged(self) -> int:
        """See `OutboundChannel`."""
        return len(self._messages)

    @property
    def is_drained(self) -> bool:
        """See `OutboundChannel`."""
        return not self._messages

    @property
    def is_blocked(self) -> bool:
        """See `OutboundChannel`."""
        return bool(self._fresh) and not self.in_flight and not self.has_frames

    def fits(self, payload: bytes) -> bool:
        """See `OutboundChannel`."""
        return not self._messages or self._kept_cost + message_cost(len(payload)) <= self._window

    def accept(self, payload: bytes) -> int:
        """See `OutboundChannel`."""
        assert self.fits(payload), "accept() without room"
        fragments = fragments_of(self.number, self._last_number + 1, payload, self.priority)
        for fragment in fragments:
            self._kept[fragment.number] = fragment
        self._kept_cost += message_cost(len(payload))
        self._fresh += fragments
        self._last_number += len(fragments)
        self._messages.append((self._last_number, payload))
        self._accepted_messages += 1
        return self._accepted_messages

    def next_frame(self) -> tuple[bytes, Fragment | None]:
        """See `OutboundChannel`."""
        if self._again:
            fragment = self._again.popleft()
        else:
            fragment = self._fresh.popleft()
            self._handed_out = fragment.number
            self._handed_out_cost += fragment.size
        self.in_flight += 1
        frame = encode_data(self.number, fragment.flags, fragment.number, fragment.total, fragment.payload)
        return frame, fragment

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
        while self._messages and self._messages[0][0] <= self._received.through:
            _, payload = self._messages.popleft()
            self._kept_cost -= message_cost(len(payload))
            self._acknowledged_messages += 1
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
        return () if self.stored else [payload for _, payload in self._messages]

    def _settle(self, number: int, acknowledged: list[Fragment]) -> None:
        fragment = self._kept.pop(number)
        fragment.done = True
        if fragment.flight is not None:
            self.in_flight -= 1
            acknowledged.append(fragment)

    def _skip_done(self) -> None:
        """Forget what was taken for lost and has arrived after all."""
        while self._again and self._again[0].done:
            self._again.popleft()


class OutboundLatest(OutboundChannel):
    """LATEST: keeps the newest message, and finishes the one before if a part of it was handed out.

    Guarantees: the newest message is handed out until it is acknowledged; memory is bounded by two messages and what
    the path's window lets be on its way.
    """

    def __init__(self, number: int, label: str, priority: Priority) -> None:
        super().__init__(number, label, Delivery.LATEST, priority, stored=False)
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
        frame = encode_data(self.number, fragment.flags, fragment.number, fragment.total, fragment.payload)
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
        self._fresh_message = self._accepted
        self._newest_first = self._last_number + 1
        self._fresh = deque(fragments_of(self.number, self._newest_first, payload, self.priority))
        self._last_number += len(self._fresh)


def open_outbound(
    number: int, label: str, delivery: Delivery, priority: Priority, *, stored: bool, window: int
) -> OutboundChannel:
    """Return the sending end of a new channel."""
    match delivery:
        case Delivery.RELIABLE | Delivery.UNORDERED:
            return OutboundStream(number, label, delivery, priority, stored=stored, window=window)
        case Delivery.LATEST:
            return OutboundLatest(number, label, priority)
        case Delivery.BEST_EFFORT:
            return OutboundDatagrams(number, label, priority)
        case _:
            assert_never(delivery)
