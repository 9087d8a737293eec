"""Which messages an outbox keeps, for whom, and which of them a session was given: a machine without I/O.

    accept ──▶ fresh ──stored──▶ kept ──hand_over──▶ under way ──settle──▶ gone
                 └── withdraw ──▶ gone   ◀── begin: the receiver's session is a new one ──┘

It knows numbers and sizes; the payloads are in the file.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from rtcmesh.signaling.identity import PeerId

ENTRY_OVERHEAD_BYTES = 512
"""What a message costs beyond its payload for each receiver, in the file and in memory."""


class Line(NamedTuple):
    """What goes to one receiver on one channel, in order."""

    receiver: PeerId
    label: str


class Entry(NamedTuple):
    """A message that a file keeps for a receiver."""

    line: Line
    number: int
    size: int


class Settled(NamedTuple):
    """What need not be kept any more."""

    line: Line
    through: int
    """All messages of the line up to this number."""
    total: int
    """How many that are."""
    unneeded: list[int]
    """The messages among them that no other receiver waits for either."""


@dataclass(slots=True)
class _Message:
    cost: int
    waiting: int
    """How many receivers do not have it."""


@dataclass(slots=True)
class _Fresh:
    cost: int
    lines: tuple[Line, ...]


class Outbox:
    """The index of one outbox.

    Guarantees: a message that was stored is handed over in the order of the numbers of its line, again in every session
    that begins, until it is settled; `cost_bytes` never exceeds `max_bytes` by what `accept` takes.
    """

    def __init__(self, *, max_bytes: int, last_number: int = 0, entries: Iterable[Entry] = ()) -> None:
        """`entries`: what the file keeps, in the order of their numbers."""
        self.max_bytes = max_bytes
        self.last_number = last_number
        """The greatest number that was ever given."""
        self.cost_bytes = 0
        """What everything that is kept costs."""
        self._fresh: dict[int, _Fresh] = {}
        self._messages: dict[int, _Message] = {}
        self._kept: defaultdict[Line, deque[int]] = defaultdict(deque)
        """What was not handed over in this session."""
        self._under_way: defaultdict[Line, deque[int]] = defaultdict(deque)
        for line, number, size in entries:
            self.last_number = max(self.last_number, number)
            self._keep(
                number, line, message_cost(size, 1) if number not in self._messages else ENTRY_OVERHEAD_BYTES
            )

    # What is known

    def fits(self, size: int, receivers: int) -> bool:
        """Whether `accept` takes a message of this length for so many receivers."""
        return self.cost_bytes + message_cost(size, receivers) <= self.max_bytes

    def lines(self) -> Iterator[Line]:
        """Return the lines in which something waits that is stored."""
        return iter({line: None for lines in (self._under_way, self._kept) for line, n in lines.items() if n})

    def waiting(self, line: Line) -> int:
        """Return how many stored messages of a line are not settled."""
        return len(self._under_way.get(line, ())) + len(self._kept.get(line, ()))

    def is_settled(self, line: Line, number: int) -> bool:
        """Whether nothing that is stored waits in the line up to this number."""
        first = (self._under_way.get(line) or self._kept.get(line) or (number + 1,))[0]
        return first > number

    # Commands

    def accept(self, size: int, lines: Iterable[Line], at_least: int) -> int:
        """Take a message that fits, and return its number, which is not below `at_least`. It waits to be stored."""
        lines = tuple(lines)
        cost = message_cost(size, len(lines))
        assert self.cost_bytes + cost <= self.max_bytes, "accept() without room"
        self.last_number = max(self.last_number + 1, at_least)
        self._fresh[self.last_number] = _Fresh(cost, lines)
        self.cost_bytes += cost
        return self.last_number

    def stored(self, number: int) -> tuple[Line, ...]:
        """Note that the file has a message, and return its lines. What was accepted first is stored first."""
        fresh = self._fresh.pop(number)
        self.cost_bytes -= fresh.cost
        share = fresh.cost - ENTRY_OVERHEAD_BYTES * (len(fresh.lines) - 1)
        for line in fresh.lines:
            self._keep(number, line, share)
            share = ENTRY_OVERHEAD_BYTES
        return fresh.lines

    def withdraw(self, number: int) -> None:
        """Forget a message that could not be stored."""
        self.cost_bytes -= self._fresh.pop(number).cost

    def begin(self, receiver: PeerId) -> None:
        """Note that nothing that was handed over counts: the receiver's session is a new one."""
        for line in [line for line in self._under_way if line.receiver == receiver]:
            self._kept[line].extendleft(reversed(self._under_way.pop(line)))

    def hand_over(self, line: Line) -> int | None:
        """Return the next message for the receiver's session."""
        kept = self._kept.get(line)
        if not kept:
            return None
        number = kept.popleft()
        self._under_way[line].append(number)
        return number

    def settle(self, line: Line, through: int) -> Settled | None:
        """Let go of a line's messages up to this number. Returns None if there are none."""
        gone: list[int] = []
        for numbers in (self._under_way, self._kept):
            waiting = numbers.get(line)
            while waiting and waiting[0] <= through:
                gone.append(waiting.popleft())
            if waiting is not None and not waiting:
                del numbers[line]
        return Settled(line, gone[-1], len(gone), [n for n in gone if self._release(n)]) if gone else None

    def expire(self, before: int) -> list[Settled]:
        """Let go of everything with a number below this one."""
        settled = [self.settle(line, before - 1) for line in list(self.lines())]
        return [gone for gone in settled if gone is not None]

    def _keep(self, number: int, line: Line, cost: int) -> None:
        self._kept[line].append(number)
        self.cost_bytes += cost
        message = self._messages.get(number)
        if message is None:
            self._messages[number] = _Message(cost, 1)
        else:
            message.cost += cost
            message.waiting += 1

    def _release(self, number: int) -> bool:
        """Note that one receiver less waits for a message. Returns whether it was the last."""
        message = self._messages[number]
        message.waiting -= 1
        if message.waiting:
            message.cost -= ENTRY_OVERHEAD_BYTES
            self.cost_bytes -= ENTRY_OVERHEAD_BYTES
            return False
        self.cost_bytes -= self._messages.pop(number).cost
        return True


def message_cost(size: int, receivers: int) -> int:
    """Return what a message of this length takes of the outbox."""
    return size + ENTRY_OVERHEAD_BYTES * receivers
