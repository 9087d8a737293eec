"""How a command of the laboratory ends, whatever happens to it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from rtcmesh.netem.errors import NetemError

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")]


def fail(message: str) -> NoReturn:
    """End with exit code 1 and a line on standard error."""
    Console(stderr=True).print(Text(message, "red"), soft_wrap=True)
    raise typer.Exit(1)


@contextmanager
def failing_in_one_line() -> Generator[None]:
    """Tell people in a line what the laboratory or the system refused.

    Ctrl-C, SIGTERM and SIGHUP have everything taken down, and end in silence with the exit code that shells give it.
    """
    with _ending_in_order() as ended_by:
        try:
            yield
        except (NetemError, OSError) as error:
            fail(str(error))
        except KeyboardInterrupt:
            raise typer.Exit(128 + (ended_by or [signal.SIGINT])[0]) from None


@contextmanager
def _ending_in_order() -> Generator[list[int]]:
    """Have the signals that end programs do what Ctrl-C does; give the list of those that came."""
    came: list[int] = []

    def interrupt(number: int, _: FrameType | None) -> None:
        came.append(number)
        if not callable(signal.getsignal(signal.SIGINT)):  # a job in the background of a shell ignores Ctrl-C
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGINT)  # asyncio knows how to end in order by this one

    taken: list[int] = []
    if threading.current_thread() is threading.main_thread():  # no other one may
        taken = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, interrupt)
    try:
        yield came
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)
