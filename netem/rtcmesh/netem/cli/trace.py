"""`rtcmesh netem trace info`: what a recorded rate carries."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from .outcome import AsJson, failing_in_one_line

if TYPE_CHECKING:
    from rtcmesh.netem.models.rate_trace import RateTrace

app = typer.Typer(no_args_is_help=True, help="Rates that others recorded.")

_WINDOW = 0.5
"""Seconds over which the lowest and the highest rate are taken."""


@app.callback()
def main() -> None:
    """Look at rates that others recorded."""


@app.command()
def info(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="A trace: mahimahi's format, or CSV.")
    ],
    *,
    json: AsJson = False,
) -> None:
    """Say what a trace is, for how long it lasts and what it carries."""
    with failing_in_one_line():
        from rtcmesh.netem.trace_file import load_rate

        facts = _facts(load_rate(file))
    if json:
        sys.stdout.write(msgspec.json.encode(facts).decode() + "\n")
        return
    table = Table(show_header=False)
    table.add_row("format", facts["format"])
    table.add_row("lasts", f"{facts['seconds']:g} s, then begins anew")
    table.add_row("mean", f"{facts['mean_bytes_per_second'] * 8 / 1e6:.4g} Mbit/s")
    table.add_row(f"lowest over {_WINDOW:g} s", f"{facts['lowest_bytes_per_second'] * 8 / 1e6:.4g} Mbit/s")
    table.add_row(f"highest over {_WINDOW:g} s", f"{facts['highest_bytes_per_second'] * 8 / 1e6:.4g} Mbit/s")
    table.add_row("longest silence", f"{facts['longest_silence'] * 1000:g} ms")
    Console().print(table)


def _facts(trace: RateTrace) -> dict[str, Any]:
    from rtcmesh.netem.models.rate_trace import DeliveryOpportunities, capacity_of

    capacity = capacity_of(trace)
    windows = max(1, int(trace.seconds / _WINDOW))
    length = min(_WINDOW, trace.seconds)
    # A hair after the moment, so that what passes just then is in the window that ends with it.
    passed = [capacity.before(number * length + 1e-5) for number in range(windows + 1)]
    rates = [(after - before) / length for before, after in itertools.pairwise(passed)]
    return {
        "format": "mahimahi" if isinstance(trace, DeliveryOpportunities) else "steps",
        "seconds": trace.seconds,
        "mean_bytes_per_second": trace.carried_bytes / trace.seconds,
        "lowest_bytes_per_second": min(rates),
        "highest_bytes_per_second": max(rates),
        "longest_silence": trace.longest_silence,
    }
