"""What a run came to: medians, spread, and ratios to ourselves."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
from rich.table import Table

from .drawing import draw
from .figures import COLUMNS, groups, outcomes_of, values_of
from .run import Run


def tables_of(run: Run) -> Iterator[Table]:
    """Yield a table for each network and piece of work: median, and least to most of all rounds."""
    for network, work, contenders in groups(run):
        columns = COLUMNS[work]
        table = Table(title=f"{work}, {network}", title_justify="left")
        table.add_column("stack")
        for _, title in columns:
            table.add_column(title, justify="right")
        table.add_column("times aiortc", justify="right")
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


def write_to(folder: Path, run: Run) -> None:
    """Write the tables, the raw figures and, where matplotlib is installed, the plot, with the date in their names."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"data-{run.date}"
    (folder / f"{stem}.json").write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1))
    page = markdown_of(run)
    if draw(run, folder / f"{stem}.png"):
        page += f"\n![The first figure of each table]({stem}.png)\n"
    (folder / f"{stem}.md").write_text(page)


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell(values: Sequence[float]) -> str:
    median = _format(statistics.median(values))
    return median if len(values) == 1 else f"{median} ({_format(values[0])} to {_format(values[-1])})"


def _format(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
