"""Looks for chaos that makes a scenario fail, and for the least of it that does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from .chaos import chaos
from .record import Run
from .runner import run_scenario
from .shrink import Events, Shrinking
from .stage import Backend
from .words import Expectation, Scenario


class Failure(NamedTuple):
    """A scenario that fails, as small as it was found."""

    seed: int
    scenario: Scenario
    faults: int
    """How many events it had before it was made smaller."""
    trials: int
    """How many runs that took."""
    is_smallest: bool
    """Whether leaving out any one event makes it pass; else there were not enough trials to know."""


def search(
    scenario: Scenario,
    backend: Backend,
    *,
    folder: Path,
    seed: int,
    faults: int,
    max_trials: int,
    progress: Callable[[str], None],
) -> Failure | None:
    """Run the scenario with the chaos of a seed; when an expectation is not met, return the smallest such scenario.

    A smaller one counts when one of the same expectations is not met. Runs that an overloaded machine made invalid
    count as passed. Raises what `run_scenario` does.
    """
    stormy = chaos(scenario, seed, faults=faults, signals=backend.name != "virtual")
    progress(f"seed {seed}")
    missed = _missed(run_scenario(stormy, backend, folder=folder))
    if not missed:
        return None

    def fails(events: Events) -> bool:
        progress(f"seed {seed} fails; trying {len(events)} of {len(stormy.events)} events")
        run = run_scenario(msgspec.structs.replace(stormy, events=events), backend, folder=folder)
        return any(expected in missed for expected in _missed(run))

    shrinking = Shrinking(stormy.events, fails, max_trials=max_trials)
    smallest = msgspec.structs.replace(stormy, events=shrinking.run())
    return Failure(seed, smallest, len(stormy.events), shrinking.trials, not shrinking.is_exhausted)


def _missed(run: Run) -> list[Expectation]:
    if run.outcome == "invalid":
        return []
    return [verdict.expected for verdict in run.verdicts if not verdict.met]
