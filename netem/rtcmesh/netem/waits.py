"""Says where tasks wait."""

import asyncio
import traceback
from collections.abc import Iterable


def describe_waits(tasks: Iterable[asyncio.Task[object]]) -> list[str]:
    """Return one line per pending task: its name and the innermost line of code that waits."""
    return sorted(_describe(task) for task in tasks if not task.done())


def _describe(task: asyncio.Task[object]) -> str:
    awaiting: object = task.get_coro()
    frame = None
    while awaiting is not None:
        frame = getattr(awaiting, "cr_frame", None) or getattr(awaiting, "gi_frame", None) or frame
        awaiting = getattr(awaiting, "cr_await", None) or getattr(awaiting, "gi_yieldfrom", None)
    if frame is None:
        return f"{task.get_name()} has not started"
    summary = traceback.extract_stack(frame, limit=1)[0]
    return f"{task.get_name()} in {summary.name} ({summary.filename}:{summary.lineno}): {summary.line}"
