"""Puts a run together from what is installed here and what was asked for."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from .contenders import CONTENDERS, LIMITS
from .networks import LOOPBACK, LOSSY
from .results import keep_in, read_newest
from .run import Plan, Run, begin_run, continue_run
from .works import ALL_WORKS, Effort


class NothingToResume(Exception):
    """No run was kept in the folder that this command could go on with."""


def run_data_bench(
    *,
    rounds: int,
    seconds: float,
    connections: int,
    only: Sequence[str],
    loss: bool,
    limit: bool,
    output: Path | None,
    resume: bool,
    progress: Callable[[str], None],
) -> Run:
    """Hold all contests between the stacks that are installed. Raises `NothingToResume`.

    `only` names parts of the names of stacks or pieces of work; of whichever kind none is named, all take part. After
    each round the figures are kept in `output`; with `resume` those of the newest run there count, if the same command
    made it.
    """
    installed = [one for one in (*(LIMITS if limit else ()), *CONTENDERS) if one.is_installed()]
    plan = Plan(
        contenders=[one for one in installed if any(part in one.name for part in only)] or installed,
        networks=(LOOPBACK, *LOSSY) if loss else (LOOPBACK,),
        works=[work for work in ALL_WORKS if any(part in work for part in only)] or ALL_WORKS,
        rounds=rounds,
        effort=Effort(seconds, connections),
    )
    run = begin_run(_command())
    if resume:
        earlier = read_newest(output) if output else None
        if earlier is None or (earlier.command, earlier.versions) != (run.command, run.versions):
            raise NothingToResume("no run of the same command with the same versions is kept there")
        run = earlier

    def keep(so_far: Run) -> None:
        if output is not None:
            keep_in(output, so_far)

    asyncio.run(continue_run(run, plan, progress, keep))
    return run


def _command() -> str:
    words = [word for word in sys.argv[1:] if word != "--resume"]
    return " ".join([Path(sys.argv[0]).name, *words])
