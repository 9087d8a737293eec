"""Draws a run: one panel for each network and piece of work, one bar for each contender."""

from __future__ import annotations

import statistics
from importlib.util import find_spec
from pathlib import Path

from .contenders import IDLE, PING_PONG
from .figures import COLUMNS, groups, outcomes_of, values_of
from .run import Run

_OURS, _OTHERS, _SPREAD = "#2563eb", "#9ca3af", "#374151"
_COLUMNS = 2
_PANEL_INCHES = (7.5, 2.9)


def draw(run: Run, path: Path) -> bool:
    """Write a PNG of the medians with their spread; returns False, and does nothing, where matplotlib is missing."""
    if find_spec("matplotlib") is None:
        return False
    from matplotlib.figure import Figure

    panels = [(network, work, contenders) for network, work, contenders in groups(run) if work != IDLE]
    rows = -(-len(panels) // _COLUMNS)
    size = (_COLUMNS * _PANEL_INCHES[0], rows * _PANEL_INCHES[1])
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, _COLUMNS, squeeze=False)
    for place, (network, work, contenders) in zip(axes.flat, panels, strict=False):
        key, title = COLUMNS[work][0]
        found = {name: values_of(outcomes_of(run, network, work, name), key) for name in contenders}
        found = {name: values for name, values in found.items() if values}
        medians = [statistics.median(values) for values in found.values()]
        spread = [
            [median - values[0] for median, values in zip(medians, found.values(), strict=True)],
            [values[-1] - median for median, values in zip(medians, found.values(), strict=True)],
        ]
        colours = [_OURS if name.startswith("rtcmesh") else _OTHERS for name in found]
        place.barh(list(found), medians, xerr=spread, color=colours, ecolor=_SPREAD, capsize=2)
        place.invert_yaxis()
        place.set_title(f"{work}, {network}", loc="left", fontsize=10)
        place.set_xlabel(f"{title}, {'less' if work == PING_PONG else 'more'} is better", fontsize=8)
        place.tick_params(labelsize=8)
    for place in list(axes.flat)[len(panels) :]:
        place.axis("off")
    figure.suptitle(f"{run.date}, {run.machine}", fontsize=8)  # pyright: ignore[reportUnknownMemberType]
    figure.savefig(path, dpi=110)  # pyright: ignore[reportUnknownMemberType]
    return True
