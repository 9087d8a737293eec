"""The command line of signaling."""

import json

from typer.testing import CliRunner

from rtcmesh.signaling.cli import app


def test_the_schema_is_printed_as_json() -> None:
    result = CliRunner().invoke(app, ["schema"])
    assert result.exit_code == 0
    assert "Welcome" in json.loads(result.stdout)["$defs"]
