"""Cancels a coroutine at each of its suspensions in turn."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any


class Cancelling:
    """Runs a coroutine in a task that is cancelled at its `at`-th suspension, counted from 1."""

    def __init__(self, coroutine: Coroutine[Any, Any, object], at: int) -> None:
        self._coroutine = coroutine
        self._at = at
        self.suspensions = 0

    async def run(self) -> bool:
        """Return whether the coroutine was cancelled; False when it ended before."""
        task = asyncio.create_task(_await(self._step))
        await asyncio.wait([task])
        if task.cancelled():
            return True
        task.result()
        return False

    @types.coroutine
    def _step(self) -> Generator[Any, Any, None]:
        error: BaseException | None = None
        while True:
            try:
                waited = self._coroutine.send(None) if error is None else self._coroutine.throw(error)
            except StopIteration:
                return
            error = None
            self.suspensions += 1
            if self.suspensions == self._at:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            try:
                yield waited
            except BaseException as thrown:  # noqa: BLE001
                error = thrown


async def _await(step: Callable[[], Any]) -> None:
    await step()
