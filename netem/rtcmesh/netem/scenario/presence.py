"""Whether the programs of a scenario are there."""

from __future__ import annotations

import shutil
from pathlib import Path

from .program import find_entry_point
from .words import Scenario


def missing_programs(scenario: Scenario, folder: Path) -> list[str]:
    """Return which programs are neither in this folder nor where the system, or Python, looks."""
    found: list[str] = []
    for name, program in scenario.programs.items():
        if program.run:
            try:
                find_entry_point(program.run, folder)
            except ValueError as error:
                found.append(str(error))
        elif shutil.which(program.command[0]) is None and shutil.which(folder / program.command[0]) is None:
            found.append(f"the program {name!r}: there is no {program.command[0]!r}")
    return found
