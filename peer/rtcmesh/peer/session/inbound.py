"""The receiving end of one channel from one peer, for each kind of delivery: machines without I/O."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable
from typing import NamedTuple, assert_never

from rtcmesh.peer.delivery import Delivery
from rtcmesh.peer.errors import ProtocolViolation
from rtcmesh.signaling.sealing import ReplayWindow

from .frames import (
    FIRST,
    FRAGMENT_BYTES,
    FRAGMENT_OVERHEAD,
    LAST,
    MAX_LATEST_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_RANGES,
    MIN_CHANNEL_WINDOW_BYTES,
    Ack,
    Data,
    Messages,
    Open,
    cost,
    message_cost,
)
from .number_set import NumberSet

URGENT_COST = MIN_CHANNEL_WINDOW_BYTES * 3 // 4
"""As much may come on a channel before it is acknowledged at once: less than the smallest window by more than a small
message, since as much may be left of it when its sender stands still."""


class Together(NamedTuple):
    """Messages that were one fragment, or one message; the application takes all before any is credited."""

    payloads: tuple[bytes, ...]
    cost: int
    """What they take of their channel's credit."""


class Assembly:
    """Puts fragments together to messages, in whatever order they come.

    Guarantees: `add` returns every message once, as soon as its last missing fragment is there; no fragment is looked
    at more than twice; fragments that make no message are not kept.
    """

    def __init__(self, max_message_bytes: int) -> None:
        self._max_message_bytes = max_message_bytes
        self._fragments: dict[int, Data] = {}
        self._growing: dict[int, int] = {}
        """Which fragment each message waits for next, and with which one it began."""

    def add(self, data: Data) -> tuple[int, int, bytes] | None:
        """Take a new fragment. Returns the first and last fragment of the message that it completes, and its payload.

        Raises `ProtocolViolation`, and changes nothing, for a fragment that makes no message with the others.
        """
        number = data.number
        first = self._growing.get(number)
        if data.flags & FIRST:
            self.check_begins(number)
            if data.total > self._max_message_bytes:
                raise ProtocolViolation("message_too_large", f"{data.total} bytes")
            if data.flags & LAST:
                return number, number, data.payload
            first = number
        elif first is None:
            self._fragments[number] = data
            return None
        end = self._follow(data)
        last = data if end == number else self._fragments.get(end)
        if last is not None:
            self._check(self._fragments.get(first, data), first, last)
        self._growing.pop(number, None)
        self._fragments[number] = data
        if last is None:
            self._growing[end] = first
            return None
        parts = [self._fragments.pop(n).payload for n in range(first, end + 1)]
        return first, end, b"".join(parts)

    def check_begins(self, number: int) -> None:
        """Raise `ProtocolViolation` if another message is to go on with this fragment."""
        if number in self._growing:
            raise ProtocolViolation("bad_message", "one begins within another")

    def forget(self, numbers: Iterable[int]) -> None:
        """Drop these fragments, as far as they are here."""
        for number in numbers:
            self._fragments.pop(number, None)
        self._growing = {number: first for number, first in self._growing.items() if first in self._fragments}

    def _follow(self, data: Data) -> int:
        """Return the number of the message's last fragment, or of the first one after this that is not there."""
        while not data.flags & LAST:
            following = self._fragments.get(data.number + 1)
            if following is None:
                return data.number + 1
            if following.flags & FIRST:
                raise ProtocolViolation("bad_message", "one begins within another")
            data = following
        return data.number

    @staticmethod
    def _check(beginning: Data, first: int, last: Data) -> None:
        """Compare the length of a complete message with what it said: all but its last fragment have the same."""
        if (last.number - first) * FRAGMENT_BYTES + len(last.payload) != beginning.total:
            raise ProtocolViolation("bad_message", "its length is another one")


class InboundChannel:
    """What all kinds share."""

    def __init__(self, number: int, label: str, delivery: Delivery, *, stored: bool) -> None:
        self.number = number
        self.label = label
        self.delivery = delivery
        self.stored = stored
        self.owes_now = False
        """Whether the sender should hear at once what has come."""

    def receive(self, data: Data) -> list[Together]:
        """Take a fragment. Returns the messages that may be delivered now, in order.

        Raises `ProtocolViolation` for what an honest sender does not send.
        """
        raise ProtocolViolation("bad_frame", f"a fragment on channel {self.number}")

    def receive_messages(self, messages: Messages) -> list[Together]:
        """Take a fragment of whole messages; otherwise as `receive`."""
        raise ProtocolViolation("bad_frame", f"messages together on channel {self.number}")

    def receive_datagram(self, number: int) -> bool:
        """Take a datagram's number. Returns whether it is new."""
        raise ProtocolViolation("bad_frame", f"a datagram on channel {self.number}")

    def take(self, size: int) -> bool:
        """Note that the application has taken messages of this cost. Returns whether the sender should be told."""
        del size
        return False

    def acknowledgement(self, delay: float) -> Ack:
        """Return what the sender may know, of which the newest came `delay` seconds ago; it counts as reported."""
        self.owes_now = False
        return Ack(self.number, 0, 0, (), delay)


class InboundStream(InboundChannel):
    """RELIABLE and UNORDERED: every message once; RELIABLE in the order of the channel.

    Guarantees: what has come and was not taken never costs more than `window` bytes and the allowance for one large
    message.
    """

    def __init__(self, number: int, label: str, delivery: Delivery, *, stored: bool, window: int) -> None:
        super().__init__(number, label, delivery, stored=stored)
        self._window = window
        self._assembly = Assembly(MAX_MESSAGE_BYTES)
        self._received = NumberSet()
        self._received_cost = 0
        self._taken_cost = 0
        self._limit = window
        self._allowance = 0
        self._next_message: int = 1
        self._complete: dict[int, tuple[int, Together]] = {}
        """Messages that wait for earlier ones, after the last of their fragments: by the first one."""
        self._reported_limit = window
        self._reported_cost = 0
        self._large: dict[int, int] = {}
        """What each message costs that has begun and does not fit into the window, by its first fragment."""
        self._allowed = 0

    @property
    def wants_allowance(self) -> bool:
        """Whether a message has begun that does not fit into the window."""
        return bool(self._large)

    @property
    def needs_allowance(self) -> bool:
        """Whether the message for which there is an allowance is not complete, or waits to be taken."""
        return self._allowed in self._large or self._received_cost - self._taken_cost > self._window

    def allow(self) -> None:
        """Let one large message come in addition to the window."""
        self._allowed, self._allowance = next(iter(self._large.items()))
        self._raise_limit()
        self.owes_now = True

    def withdraw(self) -> None:
        """End the allowance; what was granted stays granted."""
        self._allowance = 0

    def receive(self, data: Data) -> list[Together]:
        """See `InboundChannel`."""
        if self._has(data.number):
            return []
        size = cost(data.payload)
        self._check_credit(size)
        message = self._assembly.add(data)
        self._arrived(data.number, size)
        if message is None:
            if data.flags & FIRST and message_cost(data.total) > self._window:
                self._large[data.number] = message_cost(data.total)
            return []
        first, last, payload = message
        self._large.pop(first, None)
        if first == self._allowed:
            self.withdraw()  # it is all here; what follows it has no claim to the room beyond the window
        return self._deliverable(first, last, Together((payload,), message_cost(len(payload))))

    def receive_messages(self, messages: Messages) -> list[Together]:
        """See `InboundChannel`."""
        number = messages.number
        if self._has(number):
            return []
        self._check_credit(messages.cost)
        self._assembly.check_begins(number)
        self._arrived(number, messages.cost)
        return self._deliverable(number, number, Together(messages.payloads, messages.cost))

    def take(self, size: int) -> bool:
        """See `InboundChannel`."""
        self._taken_cost += size
        assert self._taken_cost <= self._received_cost, "a message was taken twice"
        self._raise_limit()
        # The sender may soon stand still for want of a word.
        if self._reported_limit - self._received_cost < self._window // 2 < self._limit - self._received_cost:
            self.owes_now = True
        return True

    def acknowledgement(self, delay: float) -> Ack:
        """See `InboundChannel`."""
        self.owes_now = False
        self._reported_limit, self._reported_cost = self._limit, self._received_cost
        return Ack(self.number, self._received.through, self._limit, self._received.beyond(MAX_RANGES), delay)

    def _raise_limit(self) -> None:
        self._limit = max(self._limit, self._taken_cost + self._window + self._allowance)

    def _has(self, number: int) -> bool:
        """Whether a fragment came before; its sender should hear of that."""
        if number not in self._received:
            return False
        self.owes_now = True
        return True

    def _check_credit(self, size: int) -> None:
        if self._received_cost + size > self._limit:
            raise ProtocolViolation("beyond_credit", f"channel {self.label!r}")

    def _arrived(self, number: int, size: int) -> None:
        """Note a new fragment, and whether its sender should hear at once."""
        self._received.add(number, number)
        self._received_cost += size
        if self._received.has_gaps or self._received_cost - self._reported_cost >= URGENT_COST:
            self.owes_now = True

    def _deliverable(self, first: int, last: int, together: Together) -> list[Together]:
        if self.delivery is Delivery.UNORDERED:
            return [together]
        if first != self._next_message:
            self._complete[first] = (last, together)
            return []
        self._next_message = last + 1
        deliverable = [together]
        while self._next_message in self._complete:
            last, together = self._complete.pop(self._next_message)
            self._next_message = last + 1
            deliverable.append(together)
        return deliverable


class InboundLatest(InboundChannel):
    """LATEST: a message is delivered if it is newer than the last one delivered.

    Guarantees: what is kept of messages that are not complete costs at most twice `MAX_LATEST_BYTES`.
    """

    def __init__(self, number: int, label: str) -> None:
        super().__init__(number, label, Delivery.LATEST, stored=False)
        self._assembly = Assembly(MAX_LATEST_BYTES)
        self._costs: dict[int, int] = {}
        """What each fragment costs that came after the last delivered message."""
        self._cost = 0
        self._numbers: list[int] = []
        """The same fragments, ascending."""
        self._delivered = 0

    def receive(self, data: Data) -> list[Together]:
        """See `InboundChannel`."""
        number = data.number
        if number <= self._delivered or number in self._costs:
            self.owes_now = True
            return []
        message = self._assembly.add(data)
        if message is not None:
            self._delivered = message[1]
            self._forget(bisect_right(self._numbers, self._delivered))
            self.owes_now = True
            return [Together((message[2],), message_cost(len(message[2])))]
        self._costs[number] = len(data.payload) + FRAGMENT_OVERHEAD
        self._cost += self._costs[number]
        insort(self._numbers, number)
        self._make_room()
        return []

    def acknowledgement(self, delay: float) -> Ack:
        """See `InboundChannel`."""
        self.owes_now = False
        return Ack(self.number, self._delivered, 0, (), delay)

    def _make_room(self) -> None:
        """Drop the oldest fragments; if they are needed after all, they come again."""
        excess, count = self._cost - 2 * MAX_LATEST_BYTES, 0
        while excess > 0:
            excess -= self._costs[self._numbers[count]]
            count += 1
        if count:
            self._forget(count)

    def _forget(self, count: int) -> None:
        """Drop so many fragments, the oldest ones."""
        gone = self._numbers[:count]
        del self._numbers[:count]
        self._cost -= sum(self._costs.pop(number) for number in gone)
        self._assembly.forget(gone)


class InboundDatagrams(InboundChannel):
    """BEST_EFFORT: every message at most once."""

    def __init__(self, number: int, label: str) -> None:
        super().__init__(number, label, Delivery.BEST_EFFORT, stored=False)
        self._window = ReplayWindow()

    def receive_datagram(self, number: int) -> bool:
        """See `InboundChannel`."""
        if not self._window.is_new(number):
            return False
        self._window.mark(number)
        return True


def open_inbound(frame: Open, *, window: int) -> InboundChannel:
    """Return the receiving end of the channel that this frame opens."""
    match frame.delivery:
        case Delivery.RELIABLE | Delivery.UNORDERED:
            return InboundStream(
                frame.channel, frame.label, frame.delivery, stored=frame.stored, window=window
            )
        case Delivery.LATEST:
            return InboundLatest(frame.channel, frame.label)
        case Delivery.BEST_EFFORT:
            return InboundDatagrams(frame.channel, frame.label)
        case _:
            assert_never(frame.delivery)
