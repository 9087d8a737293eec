"""Runs a scenario on a backend and records what happened."""

from __future__ import annotations

from pathlib import Path

from .account import Account
from .conductor import Conductor
from .errors import NotCarried
from .meter import Meter
from .record import Capture, Run, RunDirectory
from .stage import Backend, Stage
from .verdict import judge
from .words import Scenario
from .writing import write_scenario


class _Watch:
    """Looks at the packets of one run."""

    def __init__(self, meter: Meter, capture: Capture | None) -> None:
        self.meter = meter
        self.capture = capture


def run_scenario(scenario: Scenario, backend: Backend, *, folder: Path) -> Run:
    """Run a scenario and return what happened; programs are looked for in the folder.

    Raises `NotCarried` before anything is started when the backend cannot do all of it, and what the laboratory raises
    when it fails. Ctrl-C ends the programs and takes the network down.
    """
    return _run(scenario, backend, folder, None)[0]


def record_scenario(
    scenario: Scenario, backend: Backend, *, folder: Path, parent: Path, name: str
) -> tuple[Run, Path]:
    """Run a scenario, and return what happened and the directory in which that is recorded with every packet.

    The directory is made in `parent`, with the next free number behind its name, when the run is over; one that is cut
    short leaves nothing. Raises `RecordFailed` and what `run_scenario` does.
    """
    text = write_scenario(scenario)  # first: what would make it fail is told before anything is run
    with RunDirectory(parent, name) as directory:
        run, logs = _run(scenario, backend, folder, directory.capture)
        return run, directory.finish(run, text, logs)


def _run(
    scenario: Scenario, backend: Backend, folder: Path, capture: Capture | None
) -> tuple[Run, dict[str, str]]:
    if objections := backend.objections(scenario, folder):
        raise NotCarried(backend.name, objections)
    account = Account()
    meter = Meter(scenario.duration)
    logs: dict[str, str] = {}

    async def conduct(stage: Stage) -> str:
        conductor = Conductor(scenario, stage, account)
        await conductor.run()
        logs.update(conductor.logs)
        account.counters = await stage.counters()
        return await stage.complaint()

    complaint = backend.perform(scenario, folder, _Watch(meter, capture), conduct)
    run = Run(
        title=scenario.title,
        backend=backend.name,
        seed=scenario.seed,
        seconds=account.ended_at,
        invalid=complaint,
        entries=account.entries,
        verdicts=[judge(expected, account) for expected in scenario.expectations],
        endings=account.endings,
        counters=account.counters,
        interval=meter.interval,
        samples=meter.samples(),
        captured_packets=0 if capture is None else capture.packets,
        uncaptured_packets=0 if capture is None else capture.left_out,
    )
    return run, logs
