"""Finds the smallest timeline that still fails: delta debugging (Zeller and Hildebrandt, 2002), then shorter events."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from .words import Event

Events = tuple[Event, ...]

SHORTEST = 0.1
"""Seconds below which what lasts is not made shorter."""


class Shrinking:
    """The smallest failing timeline found so far, and what to try next.

    `fails` is asked about a timeline at most `max_trials` times, never twice about the same one, and never about the
    one that this begins with, which must fail. If the answers are repeatable and the trials suffice, leaving any one
    event out of the result makes it pass.
    """

    def __init__(self, events: Events, fails: Callable[[Events], bool], *, max_trials: int) -> None:
        self.smallest = events
        self.trials = 0
        self.is_exhausted = False
        """Whether the trials did not suffice."""
        self._fails = fails
        self._max_trials = max_trials
        self._passed: set[Events] = set()

    def run(self) -> Events:
        """Return the smallest."""
        before: Events | None = None
        while before != self.smallest:
            before = self.smallest
            self._leave_out()
            while self._take_first(self._shorter()):
                pass
        return self.smallest

    def _leave_out(self) -> None:
        """Try without ever smaller parts, down to single events, until none of them can go."""
        parts = 2
        while self.smallest:
            if self._take_first(_complements(self.smallest, parts)):
                parts = max(2, min(parts - 1, len(self.smallest)))
            elif parts >= len(self.smallest):
                return
            else:
                parts = min(2 * parts, len(self.smallest))

    def _shorter(self) -> Iterator[Events]:
        """Give timelines in which one event happens once instead of often, or lasts half as long."""
        for number, event in enumerate(self.smallest):
            for simpler in _simpler(event):
                yield (*self.smallest[:number], simpler, *self.smallest[number + 1 :])

    def _take_first(self, candidates: Iterator[Events]) -> bool:
        """Go on with the first of these that fails."""
        for events in candidates:
            if events in self._passed:
                continue
            if self.trials >= self._max_trials:
                self.is_exhausted = True
                return False
            self.trials += 1
            if self._fails(events):
                self.smallest = events
                return True
            self._passed.add(events)
        return False


def _complements(events: Events, parts: int) -> Iterator[Events]:
    parts = min(parts, len(events))
    for part in range(parts):
        begin, end = part * len(events) // parts, (part + 1) * len(events) // parts
        yield events[:begin] + events[end:]


def _simpler(event: Event) -> Iterator[Event]:
    if event.every is not None:
        yield msgspec.structs.replace(event, every=None, times=None, until=None)
        if event.times is not None and event.times > 2:
            yield msgspec.structs.replace(event, times=event.times // 2)
    if event.lasting is not None and event.lasting >= 2 * SHORTEST:
        yield msgspec.structs.replace(event, lasting=round(event.lasting / 2, 3))
