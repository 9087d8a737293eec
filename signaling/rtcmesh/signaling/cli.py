"""The command line of signaling: print the schema. The server is started with its relay by `rtcmesh.relay.cli`."""

import json

import typer

from .messages import json_schema

app = typer.Typer(help="The protocol of signaling.", no_args_is_help=True)


@app.callback()
def main() -> None:
    """Know the protocol of signaling."""


@app.command()
def schema() -> None:
    """Print the JSON Schema of the messages in both directions."""
    typer.echo(json.dumps(json_schema(), indent=2))
