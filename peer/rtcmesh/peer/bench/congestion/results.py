"""What a run came to: tables, a page, pictures, the raw figures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.table import Table

from rtcmesh.peer.bench.page import header, spread, table_lines, write_page

from .drawing import draw
from .figures import ascending, cases_of, name_of, shares, total
from .run import Case, Run
from .situations import Topic

EXPLANATION = """
Simulated, on virtual time: the same code and the same seeds give the same figures on every machine. Median of all seeds
(least to most). Throughput is that of messages, without headers; the link counts 57 bytes more for each packet. The
buffer is in round trips. The queue is how long a packet waits, in round trips. Shares stand in the order in which flows
begin. Slow start is not measured.
""".strip()


def tables_of(run: Run) -> Iterator[Table]:
    """Yield a table for each topic."""
    for topic in Topic:
        cases = cases_of(run, topic)
        if not cases:
            continue
        shared = len(cases[0].situation.controls) > 1
        table = Table(title=topic.value, title_justify="left")
        table.add_column("path")
        table.add_column("control")
        table.add_column("Mbit/s", justify="right")
        if shared:
            table.add_column("shares, %", justify="right")
        table.add_column("mean queue", justify="right")
        table.add_column("p99 queue", justify="right")
        table.add_column("longest gap, s", justify="right")
        for case in cases:
            table.add_row(*_row(case, shared=shared))
        yield table


def write_to(folder: Path, run: Run) -> None:
    """Write page, raw figures and, where matplotlib is installed, pictures, with the date in their names."""
    stem = f"congestion-{run.provenance.date}"
    lines = [*header("Congestion controls", run.provenance), "", *EXPLANATION.splitlines()]
    for table in tables_of(run):
        lines += table_lines(table)
    write_page(folder, stem, run, lines, lambda place: draw(run, place, stem))


def _row(case: Case, *, shared: bool) -> list[str]:
    round_trip = case.situation.round_trip
    of_each = [" / ".join(f"{share:.0f}" for share in shares(case))] if shared else []
    return [
        case.situation.path,
        name_of(case),
        spread(ascending(case, total)),
        *of_each,
        spread(ascending(case, lambda trial: trial.mean_queue / round_trip)),
        spread(ascending(case, lambda trial: trial.p99_queue / round_trip)),
        spread(ascending(case, lambda trial: max(trial.longest_gap))),
    ]
