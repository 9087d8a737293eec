"""How a run is shown in a terminal."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rtcmesh.netem.scenario.account import Entry
from rtcmesh.netem.scenario.record import Run

_STYLES = {"program": "cyan", "fault": "yellow", "report": "", "problem": "red"}
_OUTCOMES = {"passed": "green", "failed": "red", "invalid": "magenta"}

MAX_ENTRIES = 200
"""How many lines of a timeline are shown; the record has them all."""


def show_run(console: Console, run: Run, path: Path | None) -> None:
    """Print the timeline, what became of the expectations, and where the record is."""
    console.print(Text(f"{run.title}  ({run.backend}, seed {run.seed}, {run.seconds:.1f} s)", "bold"))
    console.print(_timeline(run.entries))
    for verdict in run.verdicts:
        mark = Text("met     ", "green") if verdict.met else Text("not met ", "red")
        console.print(mark + Text(verdict.was), soft_wrap=True)
    if run.invalid:
        console.print(Text(run.invalid, "magenta"), soft_wrap=True)
    console.print(Text(run.outcome, f"bold {_OUTCOMES[run.outcome]}"))
    if path is not None:
        console.print(f"recorded in {path}", highlight=False, soft_wrap=True)


def _timeline(entries: list[Entry]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(justify="right")
    for entry in entries[:MAX_ENTRIES]:
        style = _STYLES[entry.kind]
        table.add_row(f"{entry.at:.3f}", Text(entry.subject, style), Text(entry.text, style))
    if len(entries) > MAX_ENTRIES:
        table.add_row("", "", f"and {len(entries) - MAX_ENTRIES} more")
    return table
