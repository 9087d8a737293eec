"""What the pages of benches have in common: where the figures come from, how they are written, tables in Markdown."""

from __future__ import annotations

import os
import platform
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import msgspec
from rich.table import Table


class Provenance(msgspec.Struct, frozen=True):
    """What must be known to judge figures."""

    command: str
    date: str
    machine: str
    versions: dict[str, str]


def provenance(*packages: str) -> Provenance:
    """Return that of this process, with the versions of this package, and of those that are named and installed."""
    versions = {"python": platform.python_version()}
    for name in ("rtcmesh", *packages):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return Provenance(
        command=" ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        date=datetime.now(UTC).date().isoformat(),
        machine=_machine(),
        versions=versions,
    )


def header(title: str, source: Provenance) -> list[str]:
    """Return the lines a page begins with."""
    return [
        f"# {title}",
        "",
        f"`{source.command}`, {source.date}, {source.machine}.",
        ", ".join(f"{name} {version}" for name, version in source.versions.items()) + ".",
    ]


def table_lines(table: Table) -> list[str]:
    """Return a table as a section of a page; its first column is text, the others are figures."""
    cells = [list(column.cells) for column in table.columns]
    lines = ["", f"## {table.title}", "", _row(str(column.header) for column in table.columns)]
    lines.append(_row("---" if index == 0 else "---:" for index in range(len(cells))))
    return lines + [_row(str(cell) for cell in row) for row in zip(*cells, strict=True)]


def spread(values: Sequence[float]) -> str:
    """Return the median of ascending values, and from least to most."""
    median = number(statistics.median(values))
    return median if len(values) == 1 else f"{median} ({number(values[0])} to {number(values[-1])})"


def number(value: float) -> str:
    """Return a figure with three digits that count."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def write_page(
    folder: Path,
    stem: str,
    raw: object,
    lines: Sequence[str],
    draw: Callable[[Path], Sequence[tuple[Path, str]]],
) -> None:
    """Write a page, its raw figures as JSON, and its pictures: those that `draw` has made, with what they show."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{stem}.json").write_bytes(msgspec.json.format(msgspec.json.encode(raw), indent=1))
    pictures = [line for path, text in draw(folder) for line in ("", f"![{text}]({path.name})")]
    (folder / f"{stem}.md").write_text("\n".join([*lines, *pictures]) + "\n")


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _machine() -> str:
    model = platform.processor() or platform.machine()
    try:
        with Path("/proc/cpuinfo").open() as lines:
            model = next(
                (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model
            )
    except FileNotFoundError:
        pass
    return f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"
