"""The bench measures what it says, and its table is whole."""

import asyncio
import math

from rich.console import Console

from rtcmesh.signaling import flood
from rtcmesh.signaling.bench import Work, memory_server, run_load, table_of


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


async def test_a_short_flood_has_its_figures() -> None:
    work = Work(rooms=2, members=3, signals_per_second=100, seconds=0.5)
    results = await asyncio.to_thread(flood.run_flood, work)
    assert 0 < results.quiet.p50 <= results.quiet.p99
    assert 0 < results.flooded.p50 <= results.flooded.p99
    console = Console(width=100, record=True)
    console.print(flood.table_of(results))
    assert "flooded" in console.export_text()
