"""The commands `rtcmesh netem ...`, one module each; what a command needs beyond the command line it imports late."""

import typer

from . import doctor, nat_check

app = typer.Typer(
    no_args_is_help=True,
    help="Networks that break on purpose: run scenarios, look at profiles, check a machine.",
)
"""Each command module has an `app` of its own, whose commands join this one."""


@app.callback()
def main() -> None:
    """Break networks on purpose, on virtual time, in Linux namespaces or through a proxy."""


for _module in (doctor, nat_check):
    app.registered_commands += _module.app.registered_commands
