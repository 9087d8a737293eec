"""Says where tasks wait."""

import asyncio
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import FrameType

LIBRARY = str(Path(asyncio.__file__).parent)


def describe_waits(tasks: Iterable[asyncio.Task[object]]) -> list[str]:
    """Return one line per pending task: its name and the innermost line outside of asyncio that waits."""
    return sorted(_describe(task) for task in tasks if not task.done())


def _describe(task: asyncio.Task[object]) -> str:
    frames: list[FrameType] = []
    awaiting: object = task.get_coro()
    while awaiting is not None:
        frame = getattr(awaiting, "cr_frame", None) or getattr(awaiting, "gi_frame", None)
        if isinstance(frame, FrameType):
            frames.append(frame)
        awaiting = getattr(awaiting, "cr_await", None) or getattr(awaiting, "gi_yieldfrom", None)
    if not frames:
        return task.get_name()
    own = [frame for frame in frames if not frame.f_code.co_filename.startswith(LIBRARY)]
    where = traceback.extract_stack((own or frames)[-1], limit=1)[0]
    return f"{task.get_name()} in {where.name} ({where.filename}:{where.lineno}): {where.line}"
