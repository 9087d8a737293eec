"""What the application has taken of others' outboxes: a machine without I/O."""

from __future__ import annotations

from collections.abc import Iterable

from rtcmesh.signaling.identity import PeerId

from .stamps import MAX_RECEIPTS, Receipt, Stamp

MAX_MARKS = 16 * 1024
"""How many receipts are remembered for all senders together."""


class Receipts:
    """Tells a stored message that is new from one that the application has already.

    Guarantees: `take` says True at most once for a message, and for those of one sender, channel and outbox in the
    order of their numbers, as long as the receipt is remembered. Memory is bounded: beyond `MAX_RECEIPTS` of one sender
    its own receipt that changed longest ago is forgotten, beyond `MAX_MARKS` the sender that was quiet for longest.
    """

    def __init__(self) -> None:
        self._marks: dict[PeerId, dict[tuple[str, int], int]] = {}
        """By sender, and by label and outbox, the number through which all is taken; what changed last is last."""
        self._count = 0
        self._forgotten: list[tuple[PeerId, str, int]] = []

    def __len__(self) -> int:
        return self._count

    def restore(self, sender: PeerId, receipt: Receipt) -> None:
        """Remember what a former life of this peer had taken; what this one has taken counts if it is more."""
        marks = self._marks.get(sender, {})
        if receipt.through > marks.get((receipt.label, receipt.outbox), 0):
            self._note(sender, receipt)

    def take(self, sender: PeerId, label: str, stamp: Stamp) -> bool:
        """Note that the application takes a message. Returns False if it has had it."""
        marks = self._marks.get(sender, {})
        if stamp.number <= marks.get((label, stamp.outbox), 0):
            return False
        self._note(sender, Receipt(label, stamp.outbox, stamp.number))
        return True

    def of(self, sender: PeerId) -> Iterable[Receipt]:
        """Return what a sender may know."""
        for (label, outbox), through in self._marks.get(sender, {}).items():
            yield Receipt(label, outbox, through)

    def forgotten(self) -> list[tuple[PeerId, str, int]]:
        """Return the senders, labels and outboxes that gave way to others, once."""
        forgotten, self._forgotten = self._forgotten, []
        return forgotten

    def _note(self, sender: PeerId, receipt: Receipt) -> None:
        marks = self._marks.pop(sender, {})
        self._marks[sender] = marks
        self._count -= len(marks)
        marks.pop((receipt.label, receipt.outbox), None)
        marks[receipt.label, receipt.outbox] = receipt.through
        if len(marks) > MAX_RECEIPTS:
            self._forget(sender, next(iter(marks)))
        self._count += len(marks)
        while self._count > MAX_MARKS:
            quiet = next(iter(self._marks))
            self._count -= len(self._marks[quiet])
            for key in list(self._marks[quiet]):
                self._forget(quiet, key)
            del self._marks[quiet]

    def _forget(self, sender: PeerId, key: tuple[str, int]) -> None:
        del self._marks[sender][key]
        self._forgotten.append((sender, *key))
