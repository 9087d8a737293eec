"""The bench measures what it says, and its table is whole."""

import asyncio
import math

from rich.console import Console

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
