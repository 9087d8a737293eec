"""Runs a coroutine as a process: `python -m rtcmesh.netem.scenario.play FOLDER MODULE:COROUTINE ARGUMENT...`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from .program import find_entry_point, run_to_status


def main() -> None:
    """Run the coroutine, and exit with its status."""
    folder, name, *arguments = sys.argv[1:]
    sys.exit(asyncio.run(run_to_status(find_entry_point(name, Path(folder)), arguments)))


if __name__ == "__main__":
    main()
