"""What importing the library brings along."""

import subprocess
import sys

import pytest

HEAVY = ("aiortc", "aioice", "av", "redis", "prometheus_client", "rtcmesh.netem", "typer", "rich")


@pytest.mark.parametrize("package", ["rtcmesh.peer", "rtcmesh.relay", "rtcmesh.signaling"])
def test_the_library_comes_without_what_not_every_program_needs(package: str) -> None:
    program = f"import {package}, sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(run.stdout.split()) & set(HEAVY) == set()
