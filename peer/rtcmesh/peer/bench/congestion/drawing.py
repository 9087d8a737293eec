"""Draws a run: what each control does alone, and the course of two flows beside one another."""

# pyright: reportUnknownMemberType=false
# matplotlib is typed in part.

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from .figures import cases_of, middle, name_of, total
from .run import STEP_SECONDS, Case, Run
from .situations import CUBIC, TOLERANT, Topic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = {CUBIC: "#f59e0b", TOLERANT: "#2563eb"}
_QUEUE = "#d1d5db"
_COLUMNS = 4
_DRAWN = (0.05, 10.0)
_PANEL_INCHES = (5.2, 2.3)


def draw(run: Run, folder: Path, stem: str) -> list[tuple[Path, str]]:
    """Write the pictures; returns them with what they show, and none where matplotlib is missing."""
    if find_spec("matplotlib") is None:
        return []
    pictures: list[tuple[Path, str]] = []
    alone = [cases for topic in (Topic.LOSS, Topic.PATHS) if (cases := cases_of(run, topic))]
    if alone:
        path = folder / f"{stem}-alone.png"
        _save(_alone(alone), path)
        pictures.append((path, "One flow: throughput and mean queue"))
    shared = [case for topic in (Topic.LIKE, Topic.MIXED) for case in cases_of(run, topic) if _is_drawn(case)]
    if shared:
        path = folder / f"{stem}-shared.png"
        _save(_shared(shared), path)
        pictures.append(
            (
                path,
                "Shared paths of 50 ms: throughput of each flow in Mbit/s, and the queue (grey), first seed",
            )
        )
    return pictures


def _is_drawn(case: Case) -> bool:
    """Return whether the course is drawn: of one round trip and one rate, or nobody could find anything."""
    return (case.situation.round_trip, case.situation.mbit_per_second) == _DRAWN


def _alone(groups: Sequence[list[Case]]) -> Figure:
    from matplotlib.figure import Figure

    heights = [1.0 + 0.1 * len(cases) for cases in groups]
    figure = Figure(figsize=(2 * _PANEL_INCHES[0], sum(heights)), layout="constrained")
    axes = figure.subplots(len(groups), 2, squeeze=False, height_ratios=heights)
    for (left, right), cases in zip(axes, groups, strict=True):
        _bars(left, cases, [middle(case, total) for case in cases], "Mbit/s")
        queues = [1000 * middle(case, lambda trial: trial.mean_queue) for case in cases]
        _bars(right, cases, queues, "mean queue, ms")
    return figure


def _bars(axes: Axes, cases: list[Case], values: list[float], unit: str) -> None:
    paths = list(dict.fromkeys(case.situation.path for case in cases))
    for control, shift in ((CUBIC, -0.2), (TOLERANT, 0.2)):
        ours = [
            (paths.index(case.situation.path) + shift, value)
            for case, value in zip(cases, values, strict=True)
            if case.situation.controls == (control,)
        ]
        places, lengths = [place for place, _ in ours], [length for _, length in ours]
        axes.barh(
            places, lengths, height=0.38, color=_COLOURS[control], label=control.value.replace("_", "-")
        )
    axes.set_yticks(range(len(paths)), paths, fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel(unit, fontsize=8)
    axes.tick_params(labelsize=7)
    axes.legend(fontsize=7)


def _shared(cases: Sequence[Case]) -> Figure:
    from matplotlib.figure import Figure

    rows = -(-len(cases) // _COLUMNS)
    size = (_COLUMNS * _PANEL_INCHES[0], rows * _PANEL_INCHES[1])
    figure = Figure(figsize=size, layout="constrained")
    places = list(figure.subplots(rows, _COLUMNS, squeeze=False).flat)
    for axes, case in zip(places, cases, strict=False):
        _course(axes, case)
    for axes in places[len(cases) :]:
        axes.axis("off")
    return figure


def _course(axes: Axes, case: Case) -> None:
    trial = case.trials[0]
    times = [STEP_SECONDS * (index + 1) for index in range(len(trial.queues))]
    behind = axes.twinx()
    behind.fill_between(times, [1000 * queue for queue in trial.queues], color=_QUEUE, linewidth=0)
    behind.set_ylim(0, 1500 * case.situation.round_trip * max(1.0, case.situation.buffer))
    behind.set_ylabel("queue, ms", fontsize=6)
    behind.tick_params(labelsize=6)
    axes.set_zorder(behind.get_zorder() + 1)
    axes.patch.set_visible(False)
    for number, (control, rates) in enumerate(zip(case.situation.controls, trial.rates, strict=True)):
        axes.plot(times, rates, color=_COLOURS[control], linestyle=("-", "--", ":")[number], linewidth=1)
    axes.set_ylim(0, 1.05 * case.situation.mbit_per_second)
    axes.set_title(f"{name_of(case)}\n{case.situation.path}", loc="left", fontsize=7)
    axes.tick_params(labelsize=6)


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=90)
