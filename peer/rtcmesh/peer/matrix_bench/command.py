"""`rtcmesh bench matrix`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from .behind import PAIRS
from .results import Matrix
from .run import run_matrix


def run_matrix_bench(
    *, only: Sequence[str], settle: float, jobs: int, progress: Callable[[str], None]
) -> list[Matrix]:
    """Have all pairs meet of which both have one of these names (none named: all), without a TURN server and with one.

    Raises `LaboratoryUnavailable`, and ValueError where no pair is left.
    """
    pairs = [pair for pair in PAIRS if not only or set(pair) <= set(only)]
    if not pairs:
        raise ValueError(f"there is no such pair: {', '.join(only)}")
    return [
        Matrix(
            turn,
            settle,
            tuple(asyncio.run(run_matrix(pairs, turn=turn, settle=settle, jobs=jobs, progress=progress))),
        )
        for turn in (False, True)
    ]
