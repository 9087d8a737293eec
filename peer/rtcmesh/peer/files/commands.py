"""The commands `send` and `receive`: files from one peer to others, over whatever path there is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

from rtcmesh.peer.command_line import JoinTimeout, Room, Secret, Url, run_in_mesh
from rtcmesh.peer.config import MeshConfig
from rtcmesh.peer.mesh import Mesh
from rtcmesh.signaling.config import ClientConfig

from .messages import PRESENCE
from .receiver import FileReceiver
from .screen import Outcome, TransferScreen, show_outcome, sizes
from .sender import FileSender, offered_files

app = typer.Typer()

WINDOW_BYTES = 4 * 1024 * 1024
"""A long fat path needs more under way than a chat: 4 MiB fill 300 Mbit/s at a round trip of 100 ms."""

Json = Annotated[bool, typer.Option("--json", help="Print the outcome as JSON, and nothing else.")]


@app.command()
def send(
    url: Url,
    room: Room,
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="What to send.")],
    *,
    to: Annotated[
        list[str] | None,
        typer.Option(help="A receiver: its peer id, or how that begins. May be given again."),
    ] = None,
    peers: Annotated[int, typer.Option(min=1, help="To how many receivers, without --to.")] = 1,
    secret: Secret = None,
    timeout: JoinTimeout = 20.0,
    json: Json = False,
) -> None:
    """Send files to those who `receive` in a room; wait for them to come.

    Exit code 0 when every receiver has every file, verified by its SHA-256, and 1 when not.
    """

    async def run(console: Console) -> Outcome:
        started = time.monotonic()
        offered = await offered_files(files)
        async with Mesh.join(url, room=room, room_secret=_bytes(secret), config=_config(timeout)) as mesh:
            sender = FileSender(mesh, offered)
            console.print(
                f"{sizes([file.info for file in offered])}: waiting for receivers in {room}", markup=False
            )
            screen = TransferScreen(console, sender.transfers)
            async with screen.shown():
                ok = await sender.run(receivers=peers, to=to or ())
            return screen.outcome(ok=ok, seconds=time.monotonic() - started)

    _finish(run, json=json)


@app.command()
def receive(
    url: Url,
    room: Room,
    directory: Annotated[
        Path, typer.Argument(exists=True, file_okay=False, writable=True, help="Where the files are put.")
    ] = Path(),
    *,
    peers: Annotated[int, typer.Option(min=1, help="From how many senders.")] = 1,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")] = False,
    secret: Secret = None,
    timeout: JoinTimeout = 20.0,
    json: Json = False,
) -> None:
    """Receive what the next sender in a room sends; what broke off goes on from where it stood.

    Exit code 0 when every file is in its place, verified by its SHA-256, and 1 when not.
    """

    async def run(console: Console) -> Outcome:
        started = time.monotonic()
        async with Mesh.join(
            url, room=room, room_secret=_bytes(secret), presence=dict(PRESENCE), config=_config(timeout)
        ) as mesh:
            receiver = FileReceiver(mesh, directory, senders=peers, force=force)
            console.print(f"{mesh.peer_id} receives in {room}", markup=False, soft_wrap=True)
            screen = TransferScreen(console, receiver.transfers)
            async with screen.shown():
                ok = await receiver.run()
            return screen.outcome(ok=ok, seconds=time.monotonic() - started)

    _finish(run, json=json)


def _finish(run: Callable[[Console], Coroutine[Any, Any, Outcome]], *, json: bool) -> None:
    console = Console(quiet=json, highlight=False)
    outcome = run_in_mesh(run(console))
    if json:
        sys.stdout.write(msgspec.json.encode(outcome).decode() + "\n")
    else:
        show_outcome(console, outcome)
    raise typer.Exit(0 if outcome.ok else 1)


def _config(timeout: float) -> MeshConfig:
    return MeshConfig(channel_window_bytes=WINDOW_BYTES, signaling=ClientConfig(connect_timeout=timeout))


def _bytes(secret: str | None) -> bytes | None:
    return secret.encode() if secret else None
