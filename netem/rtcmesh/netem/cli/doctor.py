"""`rtcmesh netem doctor`: what works on this machine."""

from __future__ import annotations

import asyncio
import sys

import typer

from .outcome import AsJson, failing_in_one_line

app = typer.Typer()


@app.command()
def doctor(*, json: AsJson = False) -> None:
    """Find out what of a laboratory with real programs works here, what is missing, and how to get it.

    Exit code 0 only if namespaces, links and gateways all work. Virtual time and proxies work everywhere.
    """
    import msgspec
    from rich.console import Console
    from rich.table import Table

    from rtcmesh.netem.real.doctor import examine

    console = Console(quiet=json)
    with failing_in_one_line(), console.status("trying"):
        findings = asyncio.run(examine())
    if json:
        sys.stdout.write(msgspec.json.encode([finding._asdict() for finding in findings]).decode() + "\n")
    table = Table("what", "works", "how, or what is missing")
    for finding in findings:
        verdict = "[green]yes" if finding.works else "[red]no" if finding.is_needed else "[yellow]no"
        table.add_row(finding.what, verdict, finding.says)
    console.print(table)
    raise typer.Exit(0 if all(finding.works for finding in findings if finding.is_needed) else 1)
