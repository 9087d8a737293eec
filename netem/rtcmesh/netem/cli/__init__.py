"""The commands `rtcmesh netem ...`, one module each; what a command needs beyond the command line it imports late."""

import typer

from . import chaos, doctor, graph, nat_check, profiles, run, shell, trace, verify

app = typer.Typer(
    no_args_is_help=True,
    help="Networks that break on purpose: run scenarios, look at profiles, check a machine.",
)
for command in (run, chaos, graph, profiles, verify, doctor, nat_check, shell):
    app.registered_commands += command.app.registered_commands
app.add_typer(trace.app, name="trace")


@app.callback()
def main() -> None:
    """Break networks on purpose, on virtual time, in Linux namespaces or through a proxy."""
