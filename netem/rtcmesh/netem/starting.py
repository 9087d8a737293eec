"""Starting processes, without one that is half started."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

P = TypeVar("P", bound=asyncio.SubprocessProtocol)

KILLED_TIMEOUT = 3.0
"""Seconds that a process may take to be gone when it is killed; the kernel may be unable to end it."""


async def start_process(
    protocol: Callable[[], P],
    *argv: str,
    undo: Callable[[asyncio.SubprocessTransport, P], Awaitable[object]],
    **options: object,
) -> tuple[asyncio.SubprocessTransport, P]:
    """Start a program as `loop.subprocess_exec` does. Cancelled, it is started all the same, undone, and then gone.

    What asyncio has half started when it is cancelled it waits for until its pipes are closed, which they never are.
    `undo` kills it and waits for its end. Raises OSError.
    """
    loop: Any = asyncio.get_running_loop()
    starting: asyncio.Task[tuple[asyncio.SubprocessTransport, P]]
    starting = asyncio.create_task(loop.subprocess_exec(protocol, *argv, **options))

    async def undone() -> None:
        with suppress(OSError, TimeoutError):
            started = await starting
            async with asyncio.timeout(KILLED_TIMEOUT):
                await undo(*started)

    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        undoing = asyncio.create_task(undone())
        while not undoing.done():  # however often it is cancelled
            with suppress(asyncio.CancelledError):
                await asyncio.shield(undoing)
        raise
