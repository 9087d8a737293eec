"""`rtcmesh netem nat-check`: how the gateways of this machine behave."""

from __future__ import annotations

import asyncio
import sys

import typer

from .outcome import AsJson, failing_in_one_line

app = typer.Typer()


@app.command()
def nat_check(*, json: AsJson = False) -> None:
    """Make a gateway of every kind in namespaces, and ask it from both sides how it behaves (RFC 5780).

    Each lets TCP through, whatever it does to UDP. Exit code 0 only if each is what its name says.
    """
    import msgspec
    from rich.console import Console
    from rich.table import Table

    from rtcmesh.netem.real.doctor import check_nats
    from rtcmesh.netem.topology import NATS

    console = Console(quiet=json)
    with failing_in_one_line(), console.status("asking"):
        observed = asyncio.run(check_nats(NATS))
    if json:
        sys.stdout.write(msgspec.json.encode(observed).decode() + "\n")
    table = Table()
    for column in ("kind", "mapping", "filtering", "hairpinning", "ports", "UDP"):
        table.add_column(column, overflow="fold")
    for name, seen in observed.items():
        behaviour = [each.value if each else "-" for each in (seen.mapping, seen.filtering)]
        hairpinning = "-" if seen.hairpinning is None else _yes(seen.hairpinning)
        ports = seen.ports.value if seen.ports else "-"
        table.add_row(name, *behaviour, hairpinning, ports, _yes(seen.mapping is not None))
    console.print(table)


def _yes(value: bool) -> str:  # noqa: FBT001
    return "yes" if value else "no"
