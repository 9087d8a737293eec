"""How a command of the laboratory ends, whatever happens to it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from rtcmesh.netem.errors import NetemError

INTERRUPTED = 130
"""The exit code of a program that Ctrl-C ends, as shells have it."""

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")]


def fail(message: str) -> NoReturn:
    """End with exit code 1 and a line on standard error."""
    Console(stderr=True).print(Text(message, "red"), soft_wrap=True)
    raise typer.Exit(1)


@contextmanager
def failing_in_one_line() -> Generator[None]:
    """Tell people in a line what the laboratory or the system refused, and end in silence at Ctrl-C."""
    try:
        yield
    except (NetemError, OSError) as error:
        fail(str(error))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
