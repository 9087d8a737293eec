from __future__ import annotations

import json

import msgspec
import pytest
from rich.console import Console
from typer.testing import CliRunner

from rtcmesh.peer.bench import paths as path_bench
from rtcmesh.peer.bench.paths import (
    DIRECT_DEATH,
    DelayFigures,
    Failure,
    GapFigures,
    PathResults,
    run_path_bench,
    tables_of,
)
from rtcmesh.peer.cli import app
from support.processes import run_rtcmesh


def results(
    *,
    failures: tuple[Failure, ...] = (),
    gap: GapFigures | None = None,
    first_message: float = 1.0,
    p99_ms: float = 50.0,
) -> PathResults:
    return PathResults(
        runs=200,
        first_seed=7,
        sent=1,
        lost=0,
        repeated=0,
        reordered=0,
        path_changes=0,
        failures=failures,
        gaps=(gap,) if gap else (),
        first_message_round_trips=first_message,
        first_answer_round_trips=2.0,
        head_of_line=(DelayFigures("relayed", 30.0, p99_ms, 15.0),),
    )


def test_a_run_counts_everything_and_names_no_broken_promise() -> None:
    progress: list[str] = []
    measured = run_path_bench(3, first_seed=2, jobs=1, head_of_line_seconds=0.5, progress=progress.append)
    assert measured.broken_promises() == []
    assert (measured.lost, measured.repeated, measured.reordered) == (0, 0, 0)
    assert measured.sent > 3000
    assert measured.path_changes > 0
    assert sum(gap.count for gap in measured.gaps) > 3
    assert progress[-1] == "trial 3 of 3, 0 failed"
    console = Console(record=True, width=120)
    console.print(*tables_of(measured))
    page = console.export_text()
    assert [gap.count for gap in measured.gaps if gap.cause == DIRECT_DEATH] == [3]
    for text in ("3 trials, seeds 2 to 4", "seed of max", "small message, relayed", "round trips"):
        assert text in page


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (results(failures=(Failure(9, "1 lost"),)), "seed 9: 1 lost"),
        (results(first_message=1.6), "the first message took 1.60 round trips"),
        (
            results(gap=GapFigures(DIRECT_DEATH, 100, 0.5, 0.9, 1.5, 2.0, 11)),
            "p99 of the gap at the death of the direct path is 1.50 s; see seed 11",
        ),
        (results(p99_ms=100), "p99 of small messages beside bulk is 100 ms on a path that is relayed"),
    ],
)
def test_a_broken_promise_is_named_with_its_seed(broken: PathResults, said: str) -> None:
    assert broken.broken_promises() == [said]


def test_too_few_gaps_say_nothing_about_a_percentile() -> None:
    assert results(gap=GapFigures("direct", 99, 0.5, 0.9, 5.0, 5.0, 11)).broken_promises() == []


def test_a_trial_that_raises_or_never_ends_is_a_failure_with_its_seed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def raise_in_a_group(seed: int) -> None:
        raise ExceptionGroup("tasks", [ValueError(f"seed {seed}")])

    def go_round_in_circles(seed: int) -> None:
        while seed:
            pass

    monkeypatch.setattr(path_bench, "TRIAL_TIMEOUT", 1)
    monkeypatch.setattr(path_bench, "run_trial", raise_in_a_group)
    assert path_bench._try(5) == Failure(5, "ValueError: seed 5")
    monkeypatch.setattr(path_bench, "run_trial", go_round_in_circles)
    assert path_bench._try(6) == Failure(6, "TimeoutError: not done after 1 s of real time")


@pytest.mark.parametrize(("failures", "code"), [((), 0), ((Failure(9, "1 lost"),), 1)])
def test_the_command_prints_figures_as_json_and_says_by_its_code_whether_all_is_well(
    monkeypatch: pytest.MonkeyPatch, failures: tuple[Failure, ...], code: int
) -> None:
    measured = results(failures=failures)

    def measure(runs: int, **options: object) -> PathResults:
        assert (runs, options["first_seed"], options["jobs"]) == (5, 7, 2)
        return measured

    monkeypatch.setattr(path_bench, "run_path_bench", measure)
    bench = CliRunner().invoke(app, ["bench", "paths", "--runs", "5", "--seed", "7", "--jobs", "2", "--json"])
    assert bench.exit_code == code
    assert msgspec.json.decode(bench.stdout, type=PathResults) == measured
    assert ("seed 9: 1 lost" in bench.stderr) == bool(failures)


async def test_the_relay_is_measured_by_a_command_too() -> None:
    bench = await run_rtcmesh("bench", "relay", "--seconds", "0.1", "--pairs", "1", "--json")
    assert (bench.code, bench.errors) == (0, "")
    assert len(json.loads(bench.output)["throughput"]) == 3
