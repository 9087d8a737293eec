from __future__ import annotations

import pytest
from rich.console import Console

from rtcmesh.peer import bench, outbox_bench, virtual_bench


async def test_the_bench_measures_every_contender_in_every_round(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, count in (("SMALL_COUNT", 50), ("BULK_COUNT", 5), ("PINGS", 5)):
        monkeypatch.setattr(bench, name, count)
    progress: list[str] = []
    results = await bench.run_bench(2, progress.append)
    assert progress == [f"round {n} of 2: {name}" for n in (1, 2) for name in ("mesh", "bare transport")]
    for figures in results.values():
        assert len(figures) == 2
        for figure in figures:
            assert 0 < figure.ping_p50_ms <= figure.ping_p99_ms
            assert min(figure.connect_seconds, figure.small_per_second, figure.bulk_mbit_per_second) > 0
    console = Console(record=True, width=100)
    console.print(bench.table_of(results))
    assert "mesh / bare transport" in console.export_text()


def test_the_bench_of_outboxes_measures_every_contender_and_the_transactions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, count in (("MESSAGES", 100), ("BULK_MESSAGES", 5), ("TRANSACTIONS", 50)):
        monkeypatch.setattr(outbox_bench, name, count)
    results = outbox_bench.run_outbox_bench(1, lambda _: None)
    assert list(results.processor_time) == ["no outbox", "sender", "sender and receiver"]
    for (figures,) in results.processor_time.values():
        assert min(figures.one_by_one, figures.at_once, figures.bulk) > 0
    assert len(results.transaction_ms) == 50
    assert [table.row_count for table in outbox_bench.tables_of(results)] == [3, 1]


def test_the_bench_of_virtual_time_measures_a_mesh_and_an_outage() -> None:
    mesh, outage = virtual_bench.run_virtual_bench(peers=3, seconds=5)
    assert (mesh.peers, outage.peers) == (3, 2)
    assert mesh.virtual_seconds >= 5
    assert outage.virtual_seconds >= virtual_bench.OUTAGE
    for figures in (mesh, outage):
        assert 0 < figures.connected_after < 3
        assert 0 < figures.cpu_seconds_to_connect <= figures.cpu_seconds
        assert figures.packets > 50
    assert virtual_bench.table_of([mesh, outage]).row_count == 2
