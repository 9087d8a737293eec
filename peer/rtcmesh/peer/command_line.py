"""What the commands share: arguments that mean the same everywhere, and how a command fails."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.text import Text

from rtcmesh.signaling.aiohttp_socket import parse_url
from rtcmesh.signaling.errors import SignalingError

from .errors import MeshError

T = TypeVar("T")


def _checked_url(url: str) -> str:
    try:
        parse_url(url)
    except ValueError:
        raise typer.BadParameter(
            f"{url!r} is not the address of a server, such as http://127.0.0.1:8080"
        ) from None
    return url


Url = Annotated[
    str,
    typer.Argument(callback=_checked_url, help="The signaling server, such as http://127.0.0.1:8080."),
]
Room = Annotated[str, typer.Argument(help="The room's name.")]
Secret = Annotated[
    str | None, typer.Option(envvar="RTCMESH_ROOM_SECRET", help="Room secret that all its members share.")
]
JoinTimeout = Annotated[float, typer.Option(min=0.1, help="Seconds to wait for the server at the start.")]


def run_in_mesh(main: Coroutine[Any, Any, T]) -> T:
    """Run what joins a mesh; tell people in one line why it failed, and end in silence at Ctrl-C."""
    try:
        return asyncio.run(main)
    except (SignalingError, MeshError, OSError) as error:
        fail(f"{error}: {error.__cause__}" if error.__cause__ else str(error))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def fail(message: str) -> NoReturn:
    """End with exit code 1 and a line on standard error."""
    Console(stderr=True).print(Text(message, "red"), soft_wrap=True)
    raise typer.Exit(1)
