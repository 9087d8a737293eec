"""Which numbers have come, counted from 1: a machine without I/O."""

from __future__ import annotations

from bisect import bisect_left


class NumberSet:
    """Numbers that only ever come in addition: those of a run from 1 on, and ranges beyond its end.

    Guarantees: whatever is added, no number is returned as new twice; adding costs time for what is new and for the
    ranges that it joins, and a logarithm, however wide and however often repeated what is added may be.
    """

    __slots__ = ("_beyond", "through")

    def __init__(self) -> None:
        self.through = 0
        """The end of the run: this number and all before it are in the set."""
        self._beyond: list[list[int]] = []

    @property
    def has_gaps(self) -> bool:
        """Whether there are numbers beyond the run."""
        return bool(self._beyond)

    def __contains__(self, number: int) -> bool:
        if number <= self.through:
            return True
        index = bisect_left(self._beyond, number, key=_last)
        return index < len(self._beyond) and self._beyond[index][0] <= number

    def beyond(self, count: int) -> tuple[tuple[int, int], ...]:
        """Return the lowest `count` ranges beyond the run, ascending: first and last number of each."""
        return tuple((first, last) for first, last in self._beyond[:count])

    def add(self, first: int, last: int) -> list[tuple[int, int]]:
        """Add all numbers from `first` through `last`. Returns the ranges of those that are new, ascending."""
        first = max(first, self.through + 1)
        if first > last:
            return []
        if first == self.through + 1 and not self._beyond:
            self.through = last
            return [(first, last)]
        beyond, new, missing = self._beyond, list[tuple[int, int]](), first
        begin = end = bisect_left(beyond, first - 1, key=_last)
        while end < len(beyond) and beyond[end][0] <= last + 1:
            if missing < beyond[end][0]:
                new.append((missing, beyond[end][0] - 1))
            missing = beyond[end][1] + 1
            end += 1
        if missing <= last:
            new.append((missing, last))
        self._join(begin, end, first, last)
        return new

    def _join(self, begin: int, end: int, first: int, last: int) -> None:
        """Put one range in place of some that it overlaps or touches."""
        beyond = self._beyond
        if begin < end:
            first, last = min(first, beyond[begin][0]), max(last, beyond[end - 1][1])
        if first == self.through + 1:
            self.through = last
            del beyond[begin:end]
        else:
            beyond[begin:end] = [[first, last]]


def _last(span: list[int]) -> int:
    return span[1]
