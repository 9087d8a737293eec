"""Which figures of a run are looked at, and how they are picked out of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .contenders import BULK, COALESCED, IDLE, LARGE_BULK, PING_PONG, SMALL
from .run import Outcome, Run

COLUMNS = {
    BULK: (
        ("mbit_per_second", "Mbit/s"),
        ("longest_gap", "longest gap, s"),
        ("cpu_seconds_per_gb", "CPU s/GB"),
        ("connect_seconds", "connect, s"),
    ),
    LARGE_BULK: (("mbit_per_second", "Mbit/s"), ("cpu_seconds_per_gb", "CPU s/GB")),
    SMALL: (("messages_per_second", "messages/s"), ("cpu_seconds_per_gb", "CPU s/GB")),
    COALESCED: (("messages_per_second", "messages/s"), ("cpu_seconds_per_gb", "CPU s/GB")),
    PING_PONG: (("p50_ms", "p50, ms"), ("p99_ms", "p99, ms"), ("connect_seconds", "connect, s")),
    IDLE: (("kb_per_connection", "KB each"), ("cpu_ms_per_second", "CPU ms/s")),
}
"""The figures of each piece of work that are shown; the first one is compared and drawn."""


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
    return sorted(outcome.figures[figure] for outcome in outcomes if figure in outcome.figures)
