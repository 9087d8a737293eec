"""`rtcmesh netem chaos`: looks for faults under which a scenario fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from .outcome import fail, failing_in_one_line
from .run import RUNS, BackendName, Output, Programs, ScenarioFile

if TYPE_CHECKING:
    from rtcmesh.netem.scenario.search import Failure

app = typer.Typer()


@app.command()
def chaos(
    scenario: ScenarioFile,
    seed: Annotated[int, typer.Option(min=0, help="The seed of the first run; each has the next one.")] = 0,
    runs: Annotated[int, typer.Option(min=1, help="How many runs, with a seed each.")] = 10,
    faults: Annotated[int, typer.Option(min=1, help="How many faults in each run.")] = 8,
    backend: BackendName = "virtual",
    *,
    max_trials: Annotated[
        int, typer.Option(min=0, help="How many runs may be spent on making a failure smaller.")
    ] = 100,
    output: Output = RUNS,
    programs: Programs = None,
) -> None:
    """Run a scenario under faults drawn from seeds, until it fails; then find the smallest timeline that still fails.

    That one is recorded: its folder holds a scenario that `rtcmesh netem run` repeats. Exit code 0 if no run failed.
    """
    from rtcmesh.netem.scenario.backends import backend_named
    from rtcmesh.netem.scenario.library import profiles
    from rtcmesh.netem.scenario.reading import load_scenario
    from rtcmesh.netem.scenario.record import SCENARIO_FILE
    from rtcmesh.netem.scenario.runner import record_scenario
    from rtcmesh.netem.scenario.search import search

    from .run_screen import show_run

    console = Console()
    folder = (programs or scenario.parent).resolve()
    with failing_in_one_line():
        loaded, carrier = load_scenario(scenario, profiles()), backend_named(backend)
        if not loaded.expectations:
            fail(f"{scenario} expects nothing, so no chaos can make it fail: add an [[expect]]")
        with console.status("chaos") as status:
            for number in range(seed, seed + runs):
                failure = search(
                    loaded,
                    carrier,
                    folder=folder,
                    seed=number,
                    faults=faults,
                    max_trials=max_trials,
                    progress=status.update,
                )
                if failure is not None:
                    break
            else:
                console.print(f"passed under the chaos of {runs} seeds, from {seed} on")
                return
        name = f"{scenario.stem}-chaos-{failure.seed}"
        done, path = record_scenario(failure.scenario, carrier, folder=folder, parent=output, name=name)
    console.print(_said(failure))
    show_run(console, done, path)
    again = f"rtcmesh netem run {path / SCENARIO_FILE} --backend {backend} --programs {folder}"
    console.print(f"repeat it: {again}", highlight=False, soft_wrap=True)
    raise typer.Exit(1)


def _said(failure: Failure) -> str:
    if not failure.scenario.events:
        return f"seed {failure.seed} fails, and not by chaos: it does so without any fault"
    size = f"{len(failure.scenario.events)} of {failure.faults} events"
    certainty = (
        "none can be left out" if failure.is_smallest else "there were no trials left to find out more"
    )
    return f"seed {failure.seed} fails; {size} suffice ({failure.trials} trials, {certainty})"
