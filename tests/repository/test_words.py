"""The words that contributors and CI use."""

import re
import subprocess

import pytest

from support.repository import ROOT


@pytest.mark.parametrize("target", ["setup", "demo", "test", "interop", "check", "format", "bench", "clean"])
def test_make_knows_the_word(target: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    assert re.search(rf"^\.PHONY:.*\b{target}\b", makefile, re.MULTILINE)


def test_a_python_that_can_make_environments_is_found() -> None:
    found = subprocess.run([ROOT / "scripts" / "find-python"], capture_output=True, text=True, check=True)
    program = "import sys, venv; print(*sys.version_info[:2])"
    run = subprocess.run([found.stdout.strip(), "-c", program], capture_output=True, text=True, check=True)
    assert (3, 11) <= tuple(map(int, run.stdout.split())) <= (3, 14)
