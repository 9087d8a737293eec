"""Owning tasks without changing what the owner's caller sees."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


@asynccontextmanager
async def owned_tasks() -> AsyncGenerator[asyncio.TaskGroup]:
    """Run a task group whose block raises what it raises, not a group of one.

    The block ends its tasks before it ends itself, whatever happens in it, and they may take the time they need: a
    cancelled block does not cancel them a second time, in the midst of their releasing what they hold. A task that
    fails still cancels the block and comes out in an `ExceptionGroup`: that is a defect, not the application's error.
    """
    failure: BaseException | None = None
    async with asyncio.TaskGroup() as tasks:
        try:
            yield tasks
        except BaseException as error:  # noqa: BLE001
            failure = error
    if failure is not None:
        raise failure
