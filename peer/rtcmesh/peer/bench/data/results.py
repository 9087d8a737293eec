"""What a run came to: what is promised, medians, spread, ratios; on the screen, on a page, in a file."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path

import msgspec
from rich.table import Table

from rtcmesh.peer.bench.page import Provenance, header, number, spread, table_lines

from .contenders import BARE
from .drawing import draw
from .figures import COLUMNS, groups, outcomes_of, values_of
from .promises import Verdict, verdicts_of
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
        base = statistics.median(values_of(outcomes_of(run, network, work, BARE.name), first) or [0.0])
        for contender in contenders:
            outcomes = outcomes_of(run, network, work, contender)
            failed = [outcome.failure for outcome in outcomes if outcome.failure]
            values = values_of(outcomes, first)
            if not values:
                table.add_row(contender, f"failed: {failed[0]}", *[""] * len(columns))
                continue
            cells = [spread(values_of(outcomes, figure)) for figure, _ in columns]
            ratio = f"{statistics.median(values) / base:.2f}" if base else ""
            name = f"{contender} ({len(failed)} of {len(outcomes)} failed)" if failed else contender
            table.add_row(name, *cells, ratio)
        yield table


def promises_of(run: Run) -> Table:
    """Return the table of what is promised: our figure beside the other one, and whether the promise is kept."""
    table = Table(title="what is promised", title_justify="left")
    table.add_column("figure")
    for title in ("ours", "other", "is", "wanted"):
        table.add_column(title, justify="right")
    table.add_column("kept")
    for verdict in verdicts_of(run):
        table.add_row(*_promise_cells(verdict))
    return table


def _promise_cells(verdict: Verdict) -> Iterator[str]:
    promise = verdict.promise
    by_name = "" if promise.contender.name == "rtcmesh" else f" ({promise.contender.name})"
    yield promise.what + by_name
    yield number(verdict.ours)
    yield f"{number(verdict.others)} ({verdict.other})" if verdict.other else ""
    times = " times" if verdict.other else ""
    yield f"{verdict.value:.2f}{times}"
    yield f"{'at least' if promise.at_least else 'at most'} {promise.wanted:g}{times}"
    yield "yes" if verdict.kept else "no"


def markdown_of(run: Run) -> str:
    """Return all tables for a page."""
    lines = [
        *header("Data channels, side by side", Provenance(run.command, run.date, run.machine, run.versions)),
        "",
        f"Median of {run.rounds} rounds (least to most). Two processes, the same work, contenders in turn within each",
        "round; on links that lose packets those that are not ours at the same time, each on links of its own.",
    ]
    for table in (promises_of(run), *tables_of(run)):
        lines += table_lines(table)
    return "\n".join(lines) + "\n"


def keep_in(folder: Path, run: Run) -> None:
    """Write the raw figures, with the date in their name, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"data-{run.date}.json"
    part = path.with_suffix(".part")
    part.write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1))
    part.replace(path)


def read_newest(folder: Path) -> Run | None:
    """Return the run that was kept last in a folder."""
    paths = sorted(folder.glob("data-????-??-??.json"))
    return msgspec.json.decode(paths[-1].read_bytes(), type=Run) if paths else None


def write_to(folder: Path, run: Run) -> None:
    """Write the tables, the raw figures and, where matplotlib is installed, the plot, with the date in their names."""
    keep_in(folder, run)
    stem = f"data-{run.date}"
    page = markdown_of(run)
    if draw(run, folder / f"{stem}.png"):
        page += f"\n![The first figure of each table]({stem}.png)\n"
    (folder / f"{stem}.md").write_text(page)
