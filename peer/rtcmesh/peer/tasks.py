"""Owning tasks without changing what the owner's caller sees."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


@asynccontextmanager
async def owned_tasks() -> AsyncGenerator[asyncio.TaskGroup]:
    """Run a task group whose block raises what it raises, not a group of one.

    The block ends its tasks before it ends itself, whatever happens in it. A task that fails still cancels the block
    and comes out in an `ExceptionGroup`: that is a defect of the task, not the application's error.
    """
    failure: Exception | None = None
    async with asyncio.TaskGroup() as tasks:
        try:
            yield tasks
        except Exception as error:  # noqa: BLE001
            failure = error
    if failure is not None:
        raise failure
