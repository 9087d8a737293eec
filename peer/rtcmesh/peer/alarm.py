"""A timer for a deadline that moves with every packet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Alarm:
    """Rings when the deadline of some machines has come.

    A timer that is too early costs one look at the machines; moving it with every packet would cost more. So a timer
    is set anew for an earlier deadline only, and asks for the deadline again when its time has come.
    """

    def __init__(self, deadline: Callable[[], float | None], due: Callable[[float], None]) -> None:
        """`deadline`: when the machines are due, None for never. `due`: takes the time, and ends with `set`."""
        self._deadline = deadline
        self._due = due
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def set(self) -> None:
        """Ring no later than the deadline is now."""
        at, timer = self._deadline(), self._timer
        if at is None or (timer is not None and timer.when() <= at):
            return
        if timer is not None:
            timer.cancel()
        self._timer = self._loop.call_at(at, self._look)

    def stop(self) -> None:
        """Do not ring until it is set again. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        now, at = self._loop.time(), self._deadline()
        if at is None or at > now:
            self.set()
        else:
            self._due(now)
