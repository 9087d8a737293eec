"""Draws what happened in a run: throughput, delay and loss of every host over time, and the events."""

from __future__ import annotations

import errno
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

from .errors import NetemError
from .scenario.meter import Sample
from .scenario.record import Run

FORMATS = (".png", ".svg")

Series = tuple[list[float], list[float]]


class GraphImpossible(NetemError):
    """Nothing can be drawn; the message says why."""


def draw(run: Run, file: Path) -> None:
    """Write a PNG or an SVG, by the name of the file, as a whole or not at all. Raises `GraphImpossible`."""
    if file.suffix.lower() not in FORMATS:
        raise GraphImpossible(f"{file} must end in {' or '.join(FORMATS)}")
    try:
        from matplotlib.figure import Figure  # without pyplot: no window, no state
    except ModuleNotFoundError:
        raise GraphImpossible(
            "drawing needs matplotlib, which is not installed: pip install 'rtcmesh[graph]'"
        ) from None
    if not run.samples:
        raise GraphImpossible("no packet was seen in this run: there is nothing to draw")
    figure: Any = Figure(figsize=(10, 8), layout="constrained")
    panels: list[Any] = list(figure.subplots(3, 1, sharex=True))
    has_bytes = any(sample.received_bytes for sample in run.samples)
    _panel(
        panels[0],
        run,
        "received, kbit/s" if has_bytes else "received, packets/s",
        _throughput(run, has_bytes),
    )
    has_delays = any(sample.delay_sum for sample in run.samples)
    _panel(panels[1], run, "delay, ms", _delay if has_delays else None)
    _panel(panels[2], run, "lost, %", _loss)
    panels[0].set_title(f"{run.title} ({run.backend}, seed {run.seed}): {run.outcome}")
    panels[0].legend(loc="upper right")
    panels[-1].set_xlabel("seconds")
    _write(file, _drawn(figure, file.suffix[1:].lower()))


def _drawn(figure: Any, kind: str) -> bytes:  # noqa: ANN401
    picture = BytesIO()
    figure.savefig(picture, format=kind)
    return picture.getvalue()


def _write(file: Path, picture: bytes) -> None:
    try:
        file.write_bytes(picture)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            file.unlink()  # a part of it is there
        raise GraphImpossible(f"{file} cannot be written: {error.strerror}") from error


def _throughput(run: Run, has_bytes: bool) -> Callable[[Sample], float | None]:  # noqa: FBT001
    def value(sample: Sample) -> float:
        if has_bytes:
            return 8 * sample.received_bytes / 1000 / run.interval
        return sample.received_packets / run.interval

    return value


def _delay(sample: Sample) -> float | None:
    return 1000 * sample.delay_sum / sample.received_packets if sample.received_packets else None


def _loss(sample: Sample) -> float | None:
    return 100 * min(1.0, sample.lost_packets / sample.sent_packets) if sample.sent_packets else None


def _panel(axes: Any, run: Run, label: str, value: Callable[[Sample], float | None] | None) -> None:  # noqa: ANN401
    """Draw one curve for each host, and a line for each event."""
    axes.set_ylabel(label)
    axes.set_xlim(0, max(run.seconds, run.interval))
    axes.grid(visible=True, alpha=0.3)
    if value is None:
        axes.text(0.5, 0.5, "not measured on this backend", transform=axes.transAxes, ha="center")
    for host in dict.fromkeys(sample.host for sample in run.samples):
        if value is not None:
            axes.plot(*_series(run, host, value), label=host, linewidth=1)
    for entry in run.entries:
        if entry.kind == "fault":
            axes.axvline(entry.at, color="black", linewidth=0.6, alpha=0.4, linestyle="--")


def _series(run: Run, host: str, value: Callable[[Sample], float | None]) -> Series:
    """Return the values of a host with a gap where there is none, so that no curve is drawn over silence."""
    times: list[float] = []
    values: list[float] = []
    for sample in run.samples:
        if sample.host == host:
            known = value(sample)
            times.append(sample.at + run.interval / 2)
            values.append(float("nan") if known is None else known)
    return times, values
