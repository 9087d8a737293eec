"""The bench of congestion controls: the same figures for the same seed, and what its page shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rtcmesh.peer.bench.congestion.figures import shares, total
from rtcmesh.peer.bench.congestion.results import tables_of, write_to
from rtcmesh.peer.bench.congestion.run import Case, Run, run_congestion_bench, run_trial
from rtcmesh.peer.bench.congestion.situations import CUBIC, TOLERANT, Situation, Topic, situations
from rtcmesh.peer.bench.page import Provenance
from rtcmesh.peer.cli import app

QUICK = Situation(topic=Topic.LIKE, controls=(CUBIC, TOLERANT), apart=1.0, settle=1.0, seconds=2.0)


def test_a_trial_repeats() -> None:
    assert run_trial(QUICK, 7) == run_trial(QUICK, 7)
    assert run_trial(QUICK, 7) != run_trial(QUICK, 8)


def test_a_trial_shows_who_got_what_and_the_course_of_it() -> None:
    trial = run_trial(QUICK, 1)
    assert 8 < total(trial) < 10
    first_share, second_share = shares(Case(QUICK, (trial,)))
    assert 0 < first_share < 100
    assert first_share + second_share == pytest.approx(100)
    assert 0 < trial.mean_queue <= trial.p99_queue <= 0.05
    first, second = trial.rates
    assert len(first) == len(second) == len(trial.queues) == 8
    assert second[:2] == (0.0, 0.0)


def test_every_situation_is_one_of_a_kind() -> None:
    found = situations()
    assert len({(case.topic, case.path, case.controls) for case in found}) == len(found)
    assert {case.topic for case in found} == set(Topic)


def test_a_run_is_written_as_a_page_pictures_and_raw_figures(tmp_path: Path) -> None:
    alone = Situation(topic=Topic.LOSS, controls=(TOLERANT,), mbit_per_second=5, settle=1, seconds=1)
    cases = tuple(Case(situation, (run_trial(situation, 1),)) for situation in (QUICK, alone))
    run = Run(Provenance("rtcmesh bench congestion", "2026-11-26", "a machine", {"python": "3.13"}), cases)
    assert [table.row_count for table in tables_of(run)] == [1, 1]
    write_to(tmp_path, run)
    page = (tmp_path / "congestion-2026-11-26.md").read_text()
    assert "| 10 Mbit/s, 50 ms, buffer 1 | cubic, then loss-tolerant |" in page
    for name in ("alone", "shared"):
        assert f"(congestion-2026-11-26-{name}.png)" in page
        assert (tmp_path / f"congestion-2026-11-26-{name}.png").read_bytes().startswith(b"\x89PNG")
    raw = json.loads((tmp_path / "congestion-2026-11-26.json").read_text())
    assert [len(case["trials"]) for case in raw["cases"]] == [1, 1]


def test_what_is_chosen_runs_in_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtcmesh.peer.bench.congestion.run.situations", lambda: [QUICK])
    progress: list[str] = []
    run = run_congestion_bench(1, seed=3, only=(), jobs=1, progress=progress.append)
    assert run.cases == (Case(QUICK, (run_trial(QUICK, 3),)),)
    assert progress == [f"1 of 1: {QUICK.path}"]


def test_a_name_that_nothing_has_is_refused() -> None:
    result = CliRunner().invoke(app, ["bench", "congestion", "--only", "nothing of this kind"])
    assert result.exit_code == 2
    assert "no topic and no path" in result.output
