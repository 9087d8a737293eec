"""The command line of signaling: run a server, print the schema."""

import asyncio
import json
import logging
import signal
from typing import Annotated

import typer

from .config import ServerConfig, ServiceConfig
from .errors import MissingExtra
from .messages import IceServer, json_schema

app = typer.Typer(help="The signaling server of rtcmesh.", no_args_is_help=True)

Host = Annotated[str, typer.Option(help="The address to listen on.")]
Port = Annotated[int, typer.Option(help="The port to listen on; 0 lets the system choose.")]
AllowedOrigins = Annotated[
    list[str] | None, typer.Option("--allow-origin", help="An origin whose pages may connect; * for all.")
]
IceUrls = Annotated[list[str] | None, typer.Option("--ice-server", help="A STUN or TURN URL for the peers.")]
Verbose = Annotated[bool, typer.Option("--verbose", help="Log how each connection ends.")]


@app.command()
def serve(
    host: Host = "127.0.0.1",
    port: Port = 8080,
    allow_origin: AllowedOrigins = None,
    ice_server: IceUrls = None,
    *,
    verbose: Verbose = False,
) -> None:
    """Run a signaling server until it is interrupted or terminated; it tells its peers before it stops."""
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING)
    ice_servers = (IceServer(urls=tuple(ice_server)),) if ice_server else ()
    config = ServerConfig(
        host=host,
        port=port,
        allowed_origins=tuple(allow_origin or ()),
        service=ServiceConfig(ice_servers=ice_servers),
    )
    try:
        asyncio.run(_serve_until_stopped(config))
    except (OSError, MissingExtra) as error:
        typer.echo(f"cannot serve: {error}", err=True)
        raise typer.Exit(1) from error


@app.command()
def schema() -> None:
    """Print the JSON Schema of the messages in both directions."""
    typer.echo(json.dumps(json_schema(), indent=2))


async def _serve_until_stopped(config: ServerConfig) -> None:
    from .server import serve as serve_http

    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with serve_http(config) as server:
        typer.echo(f"rtcmesh signaling on {server.url}")
        await stopped.wait()
