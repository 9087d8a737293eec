"""The bench measures what it says, and its table is whole."""

import io

import msgspec
from rich.console import Console

from rtcmesh.relay.bench import SIZES, RelayResults, run_relay_bench, table_of


async def test_a_short_bench_has_a_figure_for_everything() -> None:
    results = await run_relay_bench(seconds=0.2, pairs=2)
    assert [row.payload_bytes for row in results.throughput] == list(SIZES)
    assert all(row.frames_per_second > 0 and row.mbytes_per_second > 0 for row in results.throughput)
    assert [(entry.urgency, entry.loaded) for entry in results.delay] == [
        ("control", False),
        ("interactive", False),
        ("control", True),
        ("interactive", True),
    ]
    assert all(0 < entry.p50_ms <= entry.p99_ms for entry in results.delay)
    assert msgspec.json.decode(msgspec.json.encode(results), type=RelayResults) == results
    page = io.StringIO()
    Console(file=page, width=80).print(*table_of(results))
    assert "16384 B" in page.getvalue()
