"""`rtcmesh netem run`: runs a scenario."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from .outcome import AsJson, failing_in_one_line

app = typer.Typer()

ScenarioFile = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A scenario: a TOML file.")]
BackendName = Annotated[
    str, typer.Option("--backend", help="What carries it: virtual, namespaces or proxy.", metavar="NAME")
]
Output = Annotated[
    Path, typer.Option("--output", file_okay=False, help="The folder in which a folder for the run is made.")
]

Programs = Annotated[
    Path | None,
    typer.Option(
        "--programs",
        file_okay=False,
        exists=True,
        help="Where programs are looked for. Default: beside the file.",
    ),
]

RUNS = Path("netem-runs")

EXIT_CODES = {"passed": 0, "failed": 1, "invalid": 3}
"""2 is what a wrong command line ends with."""


@app.command()
def run(
    scenario: ScenarioFile,
    backend: BackendName = "virtual",
    seed: Annotated[
        int | None, typer.Option(min=0, help="Another seed than the scenario's, for all randomness.")
    ] = None,
    output: Output = RUNS,
    programs: Programs = None,
    *,
    json: AsJson = False,
) -> None:
    """Run a scenario, judge it by its expectations, and record what happened.

    Exit code 0 if it was as expected, 1 if not, 3 if the machine was too busy for the run to tell.
    """
    from rtcmesh.netem.scenario.backends import backend_named
    from rtcmesh.netem.scenario.library import profiles
    from rtcmesh.netem.scenario.reading import load_scenario
    from rtcmesh.netem.scenario.runner import record_scenario

    from .run_screen import show_run

    with failing_in_one_line():
        loaded = load_scenario(scenario, profiles())
        if seed is not None:
            loaded = msgspec.structs.replace(loaded, seed=seed)
        done, path = record_scenario(
            loaded,
            backend_named(backend),
            folder=(programs or scenario.parent).resolve(),
            parent=output,
            name=scenario.stem,
        )
    if json:
        sys.stdout.write(msgspec.json.encode(done).decode() + "\n")
    else:
        show_run(Console(), done, path)
    raise typer.Exit(EXIT_CODES[done.outcome])
