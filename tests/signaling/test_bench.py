"""The bench measures what it says, and its table is whole."""

import asyncio
import math
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from rtcmesh.signaling.bench import flood
from rtcmesh.signaling.bench.bench import Work, memory_server, run_load, table_of
from rtcmesh.signaling.bench.promises import (
    AT_MOST,
    FLOOD,
    IDLY,
    Measured,
    Promise,
    PromiseResults,
    judge,
    measure,
    plan,
    write_to,
)
from support.stores import store_server


async def test_a_short_bench_has_a_figure_for_everything() -> None:
    work = Work(rooms=2, members=4, churn_per_second=5, seconds=0.5)
    results = await asyncio.to_thread(run_load, work, (memory_server(),), lambda _: None)
    (figures,) = results.figures
    assert figures.delivered_per_second > 0
    assert figures.events_per_cpu_second > 0
    assert math.isclose(figures.cpu_ms_per_thousand, 1e6 / figures.delivered_per_cpu_second)
    assert 0 < figures.joins.p50 <= figures.joins.p99
    assert 0 < figures.delivery.p50 <= figures.delivery.p99
    assert figures.cut_off == 0
    console = Console(width=200, record=True)
    console.print(table_of(results))
    assert "rtcmesh, memory" in console.export_text()


async def test_two_servers_on_a_store_have_their_figures() -> None:
    with store_server("valkey") as store:
        tasks = plan(rounds=1, seconds=0.3, idle=20, store=store.address)
        busy, idle = (
            next(task for task in tasks if task.name == name and task.contender.servers == 2)
            for name in (AT_MOST, IDLY)
        )
        figures = (await asyncio.to_thread(measure, busy)).figures
        assert figures["delivered/s"] > 0
        assert 0 < figures["share of the peers in the CPU"] < 1
        assert (await asyncio.to_thread(measure, idle)).figures["KB per connection"] > 0


def test_every_promise_is_judged_by_the_plan_and_written_to_a_page(tmp_path: Path) -> None:
    tasks = plan(rounds=2, seconds=1, idle=20, store="redis://127.0.0.1")
    names = ("KB per connection", "join p99 ms", "delivered/s", "delivered per CPU s", "p99 ms")
    figures: dict[str, float] = dict.fromkeys(names, 7.0)
    measured = [
        Measured(
            round=task.round,
            work=task.name,
            server=f"{task.contender.name} x{task.contender.servers}",
            figures=figures,
        )
        for task in tasks
    ]
    of_flood = figures | {"turned away/s": 700.0}
    measured += [
        Measured(round=1, work=FLOOD, server=name, figures=of_flood) for name in ("quiet", "flooded")
    ]
    results = PromiseResults(
        command="rtcmesh",
        date="2026-01-02",
        machine="any",
        versions={},
        promises=tuple(judge(measured)),
        measured=tuple(measured),
    )
    write_to(tmp_path, results)
    page = (tmp_path / "signaling-2026-01-02.md").read_text()
    kept = {promise.what: promise.is_kept for promise in results.promises}
    assert len(kept) == 12
    for what, is_kept in kept.items():
        (line,) = [line for line in page.splitlines() if line.startswith(f"| {what} |")]
        assert line.endswith("| yes |" if is_kept else "| NO |")
    written = (tmp_path / "signaling-2026-01-02.json").read_bytes()
    assert msgspec.json.decode(written, type=PromiseResults) == results


@pytest.mark.parametrize(
    ("promise", "kept"),
    [
        (Promise(what="", measured=1.9, at_least=2), False),
        (Promise(what="", measured=2.0, at_least=2), True),
        (Promise(what="", measured=20.1, at_most=20), False),
        (Promise(what="", measured=math.nan, at_most=20), False),
    ],
)
def test_a_promise_is_kept_within_its_bound_alone(promise: Promise, kept: bool) -> None:
    assert promise.is_kept is kept


async def test_a_short_flood_has_its_figures() -> None:
    work = Work(rooms=2, members=3, signals_per_second=100, churn_per_second=20, seconds=3)
    results = await asyncio.to_thread(flood.run_flood, work)
    for beside in (results.quiet, results.flooded):
        assert 0 < beside.signals.p50 <= beside.signals.p99
        assert 0 < beside.joins.p50 <= beside.joins.p99
        assert beside.cpu > 0
    console = Console(width=120, record=True)
    console.print(flood.table_of(results))
    assert "flooded" in console.export_text()
