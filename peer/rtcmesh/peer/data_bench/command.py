"""Puts a run together from what is installed here and what was asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from .contenders import CONTENDERS
from .networks import LOOPBACK, LOSSY
from .run import Run, run, works


def run_data_bench(
    *,
    rounds: int,
    seconds: float,
    connections: int,
    only: Sequence[str],
    loss: bool,
    progress: Callable[[str], None],
) -> Run:
    """Hold all contests between the stacks that are installed.

    `only` names parts of the names of stacks or pieces of work; of whichever kind none is named, all take part.
    """
    installed = [contender for contender in CONTENDERS if contender.is_installed()]
    todo = works(seconds=seconds, connections=connections)
    chosen = [contender for contender in installed if any(part in contender.name for part in only)]
    work = [piece for piece in todo if any(part in piece.name for part in only)]
    networks = (LOOPBACK, *LOSSY) if loss else (LOOPBACK,)
    return asyncio.run(run(chosen or installed, networks, work or todo, rounds, progress))
