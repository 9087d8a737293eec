"""Starting processes, without one that is half started."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

P = TypeVar("P", bound=asyncio.SubprocessProtocol)


async def start_process(
    protocol: Callable[[], P],
    *argv: str,
    undo: Callable[[asyncio.SubprocessTransport], None],
    **options: object,
) -> tuple[asyncio.SubprocessTransport, P]:
    """Start a program as `loop.subprocess_exec` does. Cancelled, it is started all the same, and then undone.

    What asyncio has half started when it is cancelled it waits for until its pipes are closed, which they never are.
    """
    loop: Any = asyncio.get_running_loop()
    starting = asyncio.create_task(loop.subprocess_exec(protocol, *argv, **options))
    try:
        started: tuple[asyncio.SubprocessTransport, P] = await asyncio.shield(starting)
    except asyncio.CancelledError:
        with suppress(OSError):
            undo((await starting)[0])
        raise
    return started
