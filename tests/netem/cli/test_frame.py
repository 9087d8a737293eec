"""The commands of the laboratory as part of the command line."""

import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from rtcmesh.netem.cli.outcome import failing_in_one_line
from rtcmesh.netem.errors import CannotCarry
from rtcmesh.peer.cli import app


def test_the_laboratory_is_a_part_of_the_command_line() -> None:
    help_ = CliRunner().invoke(app, ["netem", "--help"])
    assert help_.exit_code == 0
    assert "that break on purpose" in " ".join(help_.output.split())


def test_the_command_line_starts_without_what_only_some_commands_need() -> None:
    program = "import rtcmesh.peer.cli, sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert {"aioice", "matplotlib", "rtcmesh.netem.real"}.isdisjoint(run.stdout.split())


@pytest.mark.parametrize(
    ("error", "code"),
    [(CannotCarry("no rebinding"), 1), (OSError("disk full"), 1), (KeyboardInterrupt(), 130)],
)
def test_a_command_that_cannot_go_on_ends_in_one_line(error: BaseException, code: int) -> None:
    one = typer.Typer()

    @one.command()
    def run() -> None:
        with failing_in_one_line():
            raise error

    ended = CliRunner().invoke(one)
    assert ended.exit_code == code
    assert ended.output.split("\n")[0] == ("" if code == 130 else str(error))
