"""The rule of tests/conftest.py: whoever starts a task ends it."""

import shutil
import subprocess
import sys
from pathlib import Path

CONFTEST = Path(__file__).parents[1] / "conftest.py"

TESTS = """
import asyncio
import pytest

def leak():
    return asyncio.create_task(asyncio.sleep(100))

async def test_leaking():
    leak()

async def test_cancelling():
    leak().cancel()

async def test_innocent():
    pass

@pytest.mark.leaks_tasks
async def test_leaking_on_purpose():
    leak()
"""


def test_a_test_that_leaves_a_task_behind_fails_and_no_other(tmp_path: Path) -> None:
    shutil.copy(CONFTEST, tmp_path)
    (tmp_path / "test_tasks.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "ERROR test_tasks.py::test_leaking - Failed: tasks were still running" in run.stdout
    assert "4 passed, 1 error" in run.stdout
