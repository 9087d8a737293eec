import json
from pathlib import Path

from rtcmesh.peer.data_bench.figures import values_of
from rtcmesh.peer.data_bench.results import markdown_of, tables_of, write_to
from rtcmesh.peer.data_bench.run import Outcome, Run


def bulk(number: int, contender: str, rate: float) -> Outcome:
    figures = {
        "mbit_per_second": rate,
        "messages_per_second": rate * 8,
        "longest_gap": 0.01,
        "cpu_seconds_per_gb": 20.0,
        "connect_seconds": 0.1,
    }
    return Outcome(number, "loopback", contender, "bulk 16 KiB", figures)


RUN = Run(
    command="rtcmesh bench data",
    date="2026-11-26",
    machine="a machine",
    versions={"python": "3.13"},
    outcomes=[
        bulk(1, "rtcmesh", 900.0),
        bulk(1, "aiortc", 30.0),
        Outcome(1, "loopback", "werift", "bulk 16 KiB", {}, "no Opened within 30 s"),
        bulk(2, "rtcmesh", 1100.0),
        bulk(2, "aiortc", 50.0),
        Outcome(2, "loopback", "werift", "bulk 16 KiB", {}, "no Opened within 30 s"),
        bulk(3, "rtcmesh", 1000.0),
        Outcome(3, "loopback", "aiortc", "bulk 16 KiB", {}, "its process ended"),
        Outcome(3, "loopback", "werift", "bulk 16 KiB", {}, "no Opened within 30 s"),
    ],
)


def test_tables_show_medians_spread_ratios_and_failures() -> None:
    (table,) = tables_of(RUN)
    rows = list(zip(*(column.cells for column in table.columns), strict=True))
    assert rows[0] == (
        "rtcmesh",
        "1,000 (900 to 1,100)",
        "0.01 (0.01 to 0.01)",
        "20 (20 to 20)",
        "0.1 (0.1 to 0.1)",
        "25.00",
    )
    assert rows[1][0] == "aiortc (1 of 3 failed)"
    assert rows[1][-1] == "1.00"
    assert rows[2][:2] == ("werift", "failed: no Opened within 30 s")


def test_what_failed_has_no_figures() -> None:
    assert values_of(RUN.outcomes[-2:], "mbit_per_second") == []


def test_a_page_says_how_it_was_made() -> None:
    page = markdown_of(RUN)
    assert "`rtcmesh bench data`, 2026-11-26, a machine." in page
    assert "| rtcmesh | 1,000 (900 to 1,100) |" in page


def test_a_folder_gets_the_page_the_plot_and_the_raw_figures(tmp_path: Path) -> None:
    write_to(tmp_path / "new", RUN)
    names = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert names == ["data-2026-11-26.json", "data-2026-11-26.md", "data-2026-11-26.png"]
    assert len(json.loads((tmp_path / "new" / names[0]).read_text())["outcomes"]) == len(RUN.outcomes)
    assert (tmp_path / "new" / names[2]).read_bytes().startswith(b"\x89PNG")
