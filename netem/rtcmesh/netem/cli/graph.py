"""`rtcmesh netem graph`: draws a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .outcome import failing_in_one_line

app = typer.Typer()


@app.command()
def graph(
    run: Annotated[Path, typer.Argument(exists=True, help="The folder of a run, or its run.json.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", dir_okay=False, help="A file that ends in .png or .svg. Default: beside the run."
        ),
    ] = None,
) -> None:
    """Draw throughput, delay and loss of every host over time, with a line for each event."""
    from rtcmesh.netem.graph import draw
    from rtcmesh.netem.scenario.record import load_run

    file = output or (run if run.is_dir() else run.parent) / "graph.png"
    with failing_in_one_line():
        draw(load_run(run), file)
    Console().print(f"drawn in {file}", highlight=False, soft_wrap=True)
