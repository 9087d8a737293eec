"""The commands about profiles and traces."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from rtcmesh.netem.profiles import profile_names
from rtcmesh.peer.cli import app

OWN = """\
[attic]
description = "Wi-Fi two floors up"
loss_is = "residual"
round_trip_ms = { value = 20, source = "assumed" }
loss_percent = { value = 2, source = "assumed" }
"""


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["netem", *arguments], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    return result


def own(tmp_path: Path) -> str:
    file = tmp_path / "own.toml"
    file.write_text(OWN)
    return str(file)


def test_profiles_are_listed() -> None:
    output = run("profiles").output
    for name in profile_names():
        assert f" {name} " in output


def test_a_profile_is_explained_with_its_sources() -> None:
    output = run("profiles", "starlink").output
    assert "arXiv 2310.09242" in output
    assert "step_period_s" in output
    assert "after the link layer's retransmissions" in output


def test_profiles_are_given_as_json() -> None:
    (found,) = json.loads(run("profiles", "lte", "--json").output)
    assert found["down"]["rate_bytes_per_second"] == 1_500_000
    assert len(json.loads(run("profiles", "--json").output)) == len(profile_names())


def test_profiles_of_ones_own(tmp_path: Path) -> None:
    assert "two floors up" in run("profiles", "--file", own(tmp_path)).output
    assert "round_trip_ms" in run("profiles", "attic", "--file", own(tmp_path)).output
    missing = run("profiles", "lte", "--file", own(tmp_path), code=1)
    assert "there is no profile named 'lte'; there are attic" in missing.output


@pytest.mark.parametrize("command", ["profiles", "verify"])
def test_a_wrong_name_and_a_wrong_file_are_told_in_a_line(command: str, tmp_path: Path) -> None:
    assert "did you mean 'starlink'?" in run(command, "starlnk", code=1).output
    file = tmp_path / "wrong.toml"
    file.write_text(OWN.replace("loss_percent", "los_percent"))
    output = " ".join(run(command, "attic", "--file", str(file), code=1).output.split())
    assert (
        "wrong.toml:5: attic.los_percent: there is no such key here; did you mean 'loss_percent'?" in output
    )


def test_a_profile_is_verified(tmp_path: Path) -> None:
    output = run("verify", "attic", "--packets", "2000", "--file", own(tmp_path)).output
    assert output.count("kept") == 6
    result = json.loads(run("verify", "congested-wifi", "--packets", "2000", "--json").output)
    assert result["is_valid"]
    assert {finding["what"] for finding in result["findings"]} >= {"delay", "loss", "rate", "longest wait"}
    assert all(finding["is_kept"] for finding in result["findings"])


def test_a_trace_is_described(tmp_path: Path) -> None:
    file = tmp_path / "cell.down"
    file.write_text("".join(f"{moment}\n" for moment in (*range(1, 1000, 2), 1500, 2000)))
    output = run("trace", "info", str(file)).output
    assert "2 s, then begins anew" in output
    assert "mahimahi" in output
    facts = json.loads(run("trace", "info", str(file), "--json").output)
    assert facts["longest_silence"] == 0.501
    assert facts["highest_bytes_per_second"] == 250 * 1504 * 2
    assert facts["lowest_bytes_per_second"] == 1504 * 2


def test_steps_are_described(tmp_path: Path) -> None:
    file = tmp_path / "cell.csv"
    file.write_text("at_seconds,kbit_per_second\n0,0\n0.2,8000\n1,0\n")
    facts = json.loads(run("trace", "info", str(file), "--json").output)
    assert facts["longest_silence"] == pytest.approx(1.0)  # it goes on over the end
    assert facts["mean_bytes_per_second"] == pytest.approx(0.8e6 / 1.8)


def test_what_is_no_trace_is_told_in_a_line(tmp_path: Path) -> None:
    file = tmp_path / "cell.down"
    file.write_text("1\nsoon\n")
    assert "'soon' is no number of milliseconds" in run("trace", "info", str(file), code=1).output
