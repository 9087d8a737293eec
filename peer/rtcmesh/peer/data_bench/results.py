"""What a run came to: medians, spread, and ratios to ourselves."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from rich.table import Table

from .run import Outcome, Run

COLUMNS = {
    "bulk 16 KiB": (
        ("mbit_per_second", "Mbit/s"),
        ("longest_gap", "longest gap, s"),
        ("cpu_seconds_per_gb", "CPU s/GB"),
        ("connect_seconds", "connect, s"),
    ),
    "bulk 64 KiB": (("mbit_per_second", "Mbit/s"), ("cpu_seconds_per_gb", "CPU s/GB")),
    "messages of 64 B": (("messages_per_second", "messages/s"),),
    "ping-pong": (("p50_ms", "p50, ms"), ("p99_ms", "p99, ms")),
    "idle": (("kb_per_connection", "KB each"), ("cpu_ms_per_second", "CPU ms/s")),
}
"""The figures of each piece of work that are shown; the first one is compared."""


def groups(run: Run) -> Iterator[tuple[str, str, list[str]]]:
    """Yield each network and piece of work with its contenders, in the order in which they were measured."""
    seen: dict[tuple[str, str], list[str]] = {}
    for outcome in run.outcomes:
        contenders = seen.setdefault((outcome.network, outcome.work), [])
        if outcome.contender not in contenders:
            contenders.append(outcome.contender)
    for (network, work), contenders in seen.items():
        yield network, work, contenders


def outcomes_of(run: Run, network: str, work: str, contender: str) -> list[Outcome]:
    """Return the outcomes of all rounds."""
    wanted = (network, work, contender)
    return [
        outcome for outcome in run.outcomes if (outcome.network, outcome.work, outcome.contender) == wanted
    ]


def values_of(outcomes: Sequence[Outcome], figure: str) -> list[float]:
    """Return a figure of those that did not fail, ascending."""
    return sorted(outcome.figures[figure] for outcome in outcomes if outcome.figures)


def tables_of(run: Run) -> Iterator[Table]:
    """Yield a table for each network and piece of work: median, and least to most of all rounds."""
    for network, work, contenders in groups(run):
        columns = COLUMNS[work]
        table = Table(title=f"{work}, {network}", title_justify="left")
        table.add_column("stack")
        for _, title in columns:
            table.add_column(title, justify="right")
        table.add_column("× aiortc", justify="right")
        first = columns[0][0]
        base = values_of(outcomes_of(run, network, work, "aiortc"), first)
        for contender in contenders:
            outcomes = outcomes_of(run, network, work, contender)
            failed = [outcome.failure for outcome in outcomes if outcome.failure]
            values = values_of(outcomes, first)
            if not values:
                table.add_row(contender, f"failed: {failed[0]}", *[""] * len(columns))
                continue
            cells = [_cell(values_of(outcomes, figure)) for figure, _ in columns]
            ratio = f"{statistics.median(values) / statistics.median(base):.2f}" if base else ""
            name = f"{contender} ({len(failed)} of {len(outcomes)} failed)" if failed else contender
            table.add_row(name, *cells, ratio)
        yield table


def markdown_of(run: Run) -> str:
    """Return all tables for a page."""
    lines = [
        "# Data channels, side by side",
        "",
        f"`{run.command}`, {run.date}, {run.machine}.",
        ", ".join(f"{name} {version}" for name, version in run.versions.items()) + ".",
        "",
        "Median of all rounds (least to most). Two processes, the same work, contenders in turn within each round.",
    ]
    for table in tables_of(run):
        cells = [list(column.cells) for column in table.columns]
        lines += ["", f"## {table.title}", "", _row(str(column.header) for column in table.columns)]
        lines.append(_row("---" if index == 0 else "---:" for index in range(len(cells))))
        lines += [_row(str(cell) for cell in row) for row in zip(*cells, strict=True)]
    return "\n".join(lines) + "\n"


def _row(cells: Iterator[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell(values: Sequence[float]) -> str:
    median = _format(statistics.median(values))
    return median if len(values) == 1 else f"{median} ({_format(values[0])} to {_format(values[-1])})"


def _format(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
