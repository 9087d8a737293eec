"""Which figures of a run are looked at: medians over its trials."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

from .run import Case, Run, Trial
from .situations import Topic


def cases_of(run: Run, topic: Topic) -> list[Case]:
    """Return the cases of a topic, in order."""
    return [case for case in run.cases if case.situation.topic is topic]


def name_of(case: Case) -> str:
    """Return the controls of a case, in the order in which their flows begin."""
    return ", then ".join(control.value.replace("_", "-") for control in case.situation.controls)


def total(trial: Trial) -> float:
    """Return what all flows carried, in Mbit/s."""
    return sum(trial.mbit_per_second)


def shares(case: Case) -> list[float]:
    """Return the median share of each flow, in per cent, in the order in which they begin."""
    flows = range(len(case.situation.controls))
    return [
        median(100 * trial.mbit_per_second[flow] / total(trial) for trial in case.trials) for flow in flows
    ]


def middle(case: Case, figure: Callable[[Trial], float]) -> float:
    """Return the median of a figure."""
    return median(map(figure, case.trials))


def ascending(case: Case, figure: Callable[[Trial], float]) -> list[float]:
    """Return a figure of all trials."""
    return sorted(map(figure, case.trials))
