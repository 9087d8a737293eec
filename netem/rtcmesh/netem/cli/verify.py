"""`rtcmesh netem verify`: whether a network does what its profile says."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from .outcome import AsJson, failing_in_one_line
from .profiles import File, find_profile, known_profiles

if TYPE_CHECKING:
    from rtcmesh.netem.profiles import Profile
    from rtcmesh.netem.verification import Finding

app = typer.Typer()

INVALID = 3
"""The exit code for a machine that was too busy to tell; 2 is what a wrong command line ends with."""


@app.command()
def verify(
    profile: Annotated[str, typer.Argument(help="Its name; `rtcmesh netem profiles` lists them.")],
    backend: Annotated[
        Literal["virtual", "namespaces"], typer.Option(help="What carries the packets.")
    ] = "virtual",
    packets: Annotated[
        int | None,
        typer.Option(min=2, help="Probes each way. Default: 1,000,000 on virtual time, 3,000 in namespaces."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="For all that is left to chance.")] = 0,
    file: File = None,
    *,
    json: AsJson = False,
) -> None:
    """Send packets over links with a profile, and compare delay, jitter, loss, rate and queue with what it says.

    Exit code 0 if all is as it should be, 1 if not, 3 if the machine was too busy for the run to tell.
    """
    with failing_in_one_line():
        chosen = find_profile(known_profiles(file), profile)
        console = Console(quiet=json)
        with console.status(f"measuring {profile}"):
            findings, is_valid = _measure(chosen, backend, packets, seed)
    if json:
        rows = [{**finding._asdict(), "is_kept": finding.is_kept} for finding in findings]
        sys.stdout.write(msgspec.json.encode({"is_valid": is_valid, "findings": rows}).decode() + "\n")
    console.print(_table(findings))
    if not is_valid:
        Console(stderr=True).print(
            "[yellow]The machine was too busy for this run to tell: the link or the sender fell behind."
        )
        raise typer.Exit(INVALID)
    raise typer.Exit(0 if all(finding.is_kept for finding in findings) else 1)


def _measure(chosen: Profile, backend: str, packets: int | None, seed: int) -> tuple[list[Finding], bool]:
    """Return the findings, and whether they tell of the network rather than of an overloaded machine."""
    if backend == "virtual":
        from rtcmesh.netem.verification import verify as verify_virtually

        return verify_virtually(chosen, packets=packets or 1_000_000, seed=seed), True
    import asyncio

    from rtcmesh.netem.real.verifying import verify_in_namespaces

    return asyncio.run(verify_in_namespaces(chosen, packets=packets or 3000, seed=seed))


def _table(findings: list[Finding]) -> Table:
    table = Table("direction", "what", "wanted", "measured", "may differ by", "")
    for finding in findings:
        table.add_row(
            finding.direction,
            finding.what,
            _number(finding.wanted, finding.unit),
            _number(finding.measured, finding.unit),
            _number(finding.tolerance, finding.unit),
            "[green]kept" if finding.is_kept else "[red]missed",
        )
    return table


def _number(value: float, unit: str) -> str:
    match unit:
        case "s":
            return f"{value * 1000:.3f} ms"
        case "B/s":
            return f"{value * 8 / 1e6:.4g} Mbit/s"
        case _:
            return f"{value:.4f} {unit}".rstrip()
