"""Draws a run: one panel for each network and piece of work, one bar for each contender."""

from __future__ import annotations

import statistics
from pathlib import Path

from .results import COLUMNS, groups, outcomes_of, values_of
from .run import Run

_OURS, _OTHERS = "#2563eb", "#9ca3af"
_PANEL_INCHES = (7.5, 2.9)


class PlottingUnavailable(Exception):
    """Plotting needs matplotlib."""


def plot(run: Run, path: Path) -> None:
    """Write a PNG. Raises `PlottingUnavailable`."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise PlottingUnavailable('drawing needs matplotlib: pip install "rtcmesh[bench]"') from error

    panels = [(network, work, contenders) for network, work, contenders in groups(run) if work != "idle"]
    columns = 2
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(columns * _PANEL_INCHES[0], rows * _PANEL_INCHES[1]), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for place, (network, work, contenders) in zip(axes.flat, panels, strict=False):
        key, title = COLUMNS[work][0]
        values = [values_of(outcomes_of(run, network, work, name), key) for name in contenders]
        shown = [(name, found) for name, found in zip(contenders, values, strict=True) if found]
        medians = [statistics.median(found) for _, found in shown]
        spread = [
            [median - found[0] for median, (_, found) in zip(medians, shown, strict=True)],
            [found[-1] - median for median, (_, found) in zip(medians, shown, strict=True)],
        ]
        colours = [_OURS if name.startswith("rtcmesh") else _OTHERS for name, _ in shown]
        place.barh(
            [name for name, _ in shown], medians, xerr=spread, color=colours, ecolor="#374151", capsize=2
        )
        place.invert_yaxis()
        place.set_title(f"{work}, {network}", loc="left", fontsize=10)
        place.set_xlabel(f"{title}, {'less' if work == 'ping-pong' else 'more'} is better", fontsize=8)
        place.tick_params(labelsize=8)
    for place in list(axes.flat)[len(panels) :]:
        place.axis("off")
    figure.suptitle(f"{run.date}, {run.machine}", fontsize=8)
    figure.savefig(path, dpi=110)
