"""The command line `rtcmesh`."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from rtcmesh.netem import cli as netem_cli
from rtcmesh.peer.bench import cli as bench_cli
from rtcmesh.relay import cli as relay_cli
from rtcmesh.signaling import cli as signaling_cli
from rtcmesh.signaling.config import ClientConfig
from rtcmesh.signaling.identity import Identity

from .chat import run_chat
from .command_line import JoinTimeout, Room, Secret, Url, fail, run_in_mesh
from .config import MeshConfig
from .demo.run import DemoFailed, default_file, run_demo
from .demo.screen import show_result
from .files.commands import app as files_app
from .mesh import Mesh

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="WebRTC data channel meshes: serve a room, join it, try it out.",
)
app.registered_commands += relay_cli.app.registered_commands + signaling_cli.app.registered_commands
app.registered_commands += files_app.registered_commands
app.add_typer(bench_cli.app, name="bench")
app.add_typer(netem_cli.app, name="netem")


@app.command()
def chat(
    url: Url,
    room: Room,
    *,
    name: Annotated[str, typer.Option(help="How the others see you.")] = "",
    identity: Annotated[
        Path | None,
        typer.Option(help="File of your identity; made if it is missing. Default: a new one each time."),
    ] = None,
    secret: Secret = None,
    timeout: JoinTimeout = 20.0,
) -> None:
    """Chat with everybody in a room: a line typed is a message to all."""

    async def run() -> None:
        async with Mesh.join(
            url,
            room=room,
            identity=Identity.load_or_create(identity) if identity else None,
            presence={"name": name} if name else None,
            room_secret=secret.encode() if secret else None,
            config=MeshConfig(signaling=ClientConfig(connect_timeout=timeout)),
        ) as mesh:
            await run_chat(mesh, Console(highlight=False))

    run_in_mesh(run())


@app.command()
def demo(
    peers: Annotated[int, typer.Option(min=2, max=20, help="How many peer processes.")] = 5,
    messages: Annotated[
        int, typer.Option(min=1, help="How many messages each peer sends to each other one.")
    ] = 1000,
    file: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="The file to transfer. Default: the README."),
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds until the demo counts as failed.")] = 80.0,
    *,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")] = False,
) -> None:
    """Start a server and some peers, let all talk to all, and check every message: exit code 0 only if all is right."""
    console = Console(quiet=json)
    path = file or default_file()
    try:
        result = asyncio.run(run_demo(console, peers=peers, messages=messages, file=path, timeout=timeout))
    except DemoFailed as error:
        fail(f"the demo failed: {error}")
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    if json:
        sys.stdout.write(msgspec.json.encode(result).decode() + "\n")
    else:
        show_result(console, result)
    raise typer.Exit(0 if result.ok else 1)


def main() -> None:
    """Run the command line."""
    try:
        app()
    except BrokenPipeError:
        # The reader of our output went away; Python would complain once more while flushing at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
