"""When to say something again that was not answered: a machine without I/O."""

from __future__ import annotations

FIRST_PAUSE = 0.5
LAST_PAUSE = 8.0


class Retry:
    """A pause that doubles, from half a second to eight."""

    __slots__ = ("_pause", "at")

    def __init__(self) -> None:
        self.at: float | None = None
        self._pause = FIRST_PAUSE

    def start(self, now: float) -> None:
        """Say it again after a while."""
        self.at = now + self._pause
        self._pause = min(LAST_PAUSE, 2 * self._pause)

    def stop(self) -> None:
        """It was answered, or is no longer worth saying."""
        self.at = None
        self._pause = FIRST_PAUSE

    def is_due(self, now: float) -> bool:
        """Whether it is to be said again."""
        return self.at is not None and now >= self.at
