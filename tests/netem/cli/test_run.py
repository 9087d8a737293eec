"""`rtcmesh netem run` and `chaos`, as their users run them."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from rtcmesh.netem.scenario.reading import load_scenario
from rtcmesh.netem.scenario.record import Run, load_run
from rtcmesh.peer.cli import app
from support import pingers
from support.processes import rtcmesh, run_rtcmesh
from support.tunnel import IN_A_FOLDER as TUNNEL

CUT = """
[[events]]
at = 3
do = "cut"
node = "ann"
lasting = 4
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as users have it: a scenario beside its programs."""
    shutil.copy(pingers.__file__, tmp_path / "pingers.py")
    (tmp_path / "tunnel.toml").write_text(TUNNEL)
    return tmp_path


def netem(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["netem", *arguments, "--output", str(folder / "runs")])


def test_a_run_is_shown_judged_and_recorded(folder: Path) -> None:
    run = netem(folder, "run", str(folder / "tunnel.toml"))
    assert run.exit_code == 0
    for text in ("A tunnel  (virtual, seed 0, 10.0 s)", "client was silent for", "passed", "tunnel-1"):
        assert text in run.output
    assert load_run(folder / "runs" / "tunnel-1").outcome == "passed"
    assert netem(folder, "run", str(folder / "tunnel.toml")).output.endswith("tunnel-2\n")


def test_what_was_not_as_expected_is_the_exit_code(folder: Path) -> None:
    (folder / "tunnel.toml").write_text(TUNNEL + CUT)
    run = netem(folder, "run", str(folder / "tunnel.toml"), "--json", "--seed", "5")
    assert run.exit_code == 1
    told = json.loads(run.output)
    assert told["seed"] == 5
    assert [verdict["met"] for verdict in told["verdicts"]] == [False, True]


@pytest.mark.parametrize(
    ("arguments", "text", "complaint"),
    [
        (
            (),
            TUNNEL.replace("delay", "dealy"),
            "tunnel.toml:8: hosts.ann.both.dealy: there is no such key here; did",
        ),
        (("--backend", "moon"), TUNNEL, "there is no backend 'moon'; there are virtual, namespaces, proxy"),
        (
            (),
            TUNNEL.replace("pingers:serve", "pinger:serve"),
            "the backend virtual cannot carry this scenario:",
        ),
    ],
)
@pytest.mark.parametrize("command", ["run", "chaos"])
def test_what_cannot_be_run_is_told_in_a_line(
    folder: Path, command: str, arguments: tuple[str, ...], text: str, complaint: str
) -> None:
    (folder / "tunnel.toml").write_text(text)
    run = netem(folder, command, str(folder / "tunnel.toml"), *arguments)
    assert run.exit_code == 1
    assert complaint in run.output
    assert "Traceback" not in run.output
    assert not (folder / "runs").exists() or not list((folder / "runs").iterdir())


def test_chaos_without_expectations_is_refused(folder: Path) -> None:
    (folder / "tunnel.toml").write_text(TUNNEL.partition("[[expect]]")[0])
    run = netem(folder, "chaos", str(folder / "tunnel.toml"))
    assert run.exit_code == 1
    assert "expects nothing" in run.output


def test_a_module_that_cannot_be_imported_is_told_in_a_line(folder: Path) -> None:
    (folder / "broken.py").write_text("this is no Python")
    (folder / "tunnel.toml").write_text(TUNNEL.replace("pingers:serve", "broken:serve"))
    run = netem(folder, "run", str(folder / "tunnel.toml"))
    assert run.exit_code == 1
    assert "broken:serve: importing it failed: SyntaxError" in run.output


def test_chaos_that_breaks_nothing_says_so(folder: Path) -> None:
    (folder / "tunnel.toml").write_text(TUNNEL.replace("at_most = 3.0", "at_most = 60"))
    run = netem(folder, "chaos", str(folder / "tunnel.toml"), "--runs", "2", "--seed", "1")
    assert run.exit_code == 0
    assert "passed under the chaos of 2 seeds, from 1 on" in run.output


def test_chaos_finds_the_smallest_timeline_that_fails_and_keeps_it(folder: Path) -> None:
    """Only an interruption that is long enough can silence the client for three seconds."""
    run = netem(folder, "chaos", str(folder / "tunnel.toml"), "--seed", "3", "--runs", "20")
    assert run.exit_code == 1
    assert "events suffice" in run.output
    assert "none can be left out" in run.output
    (path,) = (folder / "runs").iterdir()
    smallest = load_scenario(path / "scenario.toml", {})
    assert 1 <= len(smallest.events) <= 2
    again = netem(folder, "run", str(path / "scenario.toml"), "--programs", str(folder))
    assert again.exit_code == 1
    assert load_run(path).verdicts == load_run(folder / "runs" / "scenario-1").verdicts


def test_a_scenario_that_fails_without_chaos_is_told_from_one_that_fails_by_it(folder: Path) -> None:
    (folder / "tunnel.toml").write_text(TUNNEL.replace("at_most = 3.0", "at_most = 0.01"))
    run = netem(folder, "chaos", str(folder / "tunnel.toml"))
    assert run.exit_code == 1
    assert "seed 0 fails, and not by chaos: it does so without any fault" in run.output
    (path,) = (folder / "runs").iterdir()
    assert load_scenario(path / "scenario.toml", {}).events == ()


async def test_ctrl_c_ends_a_run_without_a_trace_and_without_a_record(folder: Path) -> None:
    text = TUNNEL.replace("pingers:ask", "pingers:spin").replace('arguments = ["{bob}", "100"]', "")
    (folder / "tunnel.toml").write_text(text)
    async with rtcmesh("netem", "run", str(folder / "tunnel.toml"), "--output", str(folder / "runs")) as run:
        await run.expect("spinning")
        run.interrupt()
        ended = await run.ended()
    assert (ended.code, ended.errors) == (130, "")
    assert list((folder / "runs").iterdir()) == []


async def two_runs_at_once(folder: Path, *options: str) -> tuple[Run, Run]:
    command = ("netem", "run", str(folder / "tunnel.toml"), "--output", str(folder / "runs"), *options)
    runs = await asyncio.gather(run_rtcmesh(*command, timeout=150), run_rtcmesh(*command, timeout=150))
    assert [run.code for run in runs] == [0, 0]
    one, two = sorted((folder / "runs").iterdir())
    assert (one.name, two.name) == ("tunnel-1", "tunnel-2")
    return load_run(one), load_run(two)


async def test_two_runs_at_once_do_not_disturb_each_other(folder: Path) -> None:
    one, two = await two_runs_at_once(folder)
    assert one == two


@pytest.mark.namespaces
async def test_two_runs_at_once_with_real_processes_do_not_meet(folder: Path) -> None:
    """Both have the same addresses and the same ports."""
    (folder / "tunnel.toml").write_text(
        TUNNEL.replace("at_most = 3.0", "at_most = 19").replace('"100"', '"10"')
    )
    for run in await two_runs_at_once(folder, "--backend", "namespaces"):
        assert run.counters["ann"]["up"]["delivered"] >= 10
