"""What programs of a scenario use and how they are found: `report`, and entry points by name.

A process of a scenario reports by a line on its standard output, such as `{"report": "path", "path": "relay"}`,
whatever language it is written in.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal

import msgspec

from .words import Report

EntryPoint = Callable[..., Coroutine[Any, Any, object]]

_reporter: ContextVar[Callable[[Report], None] | None] = ContextVar("rtcmesh.netem.reporter", default=None)


def report(kind: Literal["ready", "message", "path", "count", "note"], **values: str | float) -> None:
    """Tell the run something that its scenario can expect.

    `report("ready")`: those that come after this program may start. `report("message")`: a message arrived.
    `report("path", path="relay")`: messages take this path now. `report("count", name="retries", count=3)`: something
    counted or measured has this value. `report("note", text="...")`: a line for the timeline.

    Outside of a run it prints the line that a process of a scenario prints. Raises ValueError for other words.
    """
    try:
        said: Report = msgspec.convert({"report": kind, **values}, Report)
    except msgspec.ValidationError as error:
        raise ValueError(f"no such report: {error}") from None
    if (reporter := _reporter.get()) is not None:
        reporter(said)
    else:
        sys.stdout.write(msgspec.json.encode(said).decode() + "\n")
        sys.stdout.flush()


@contextmanager
def reporting_to(reporter: Callable[[Report], None]) -> Generator[None]:
    """Have `report` in this context, and in tasks started in it, call this."""
    token = _reporter.set(reporter)
    try:
        yield
    finally:
        _reporter.reset(token)


def read_report(line: str | bytes) -> Report | None:
    """Return what a line of output reports, or None when it is just a line."""
    try:
        said: Report = msgspec.json.decode(line, type=Report)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return said


def find_entry_point(name: str, folder: Path) -> EntryPoint:
    """Import the coroutine that `module:coroutine` names, from this folder or from wherever Python finds it.

    Raises ValueError, which says what is wrong with the name, or with the module while it is imported.
    """
    module_name, _, attribute = name.partition(":")
    _look_in(folder)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{name}: there is no module {error.name!r} in {folder}, nor where Python looks"
        ) from error
    except Exception as error:
        raise ValueError(f"{name}: importing it failed: {type(error).__name__}: {error}") from error
    found: object = getattr(module, attribute, None)
    if not inspect.iscoroutinefunction(found):
        raise ValueError(f"{name}: {module_name} has no coroutine {attribute!r}")
    return found


async def run_to_status(entry: EntryPoint, arguments: Sequence[str]) -> int:
    """Run a coroutine and return its exit status, as a process would have it. What it raises goes through."""
    try:
        outcome = await entry(*arguments)
    except SystemExit as exit_:
        outcome = exit_.code
    if isinstance(outcome, int):
        return int(outcome)
    return 0 if outcome is None else 1


def _look_in(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
