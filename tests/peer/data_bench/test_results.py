import json
from pathlib import Path

from rtcmesh.peer.bench.data.contenders import SAFE
from rtcmesh.peer.bench.data.figures import values_of
from rtcmesh.peer.bench.data.promises import verdicts_of
from rtcmesh.peer.bench.data.results import (
    keep_in,
    markdown_of,
    promises_of,
    read_newest,
    tables_of,
    write_to,
)
from rtcmesh.peer.bench.data.run import Outcome, Run


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
        bulk(1, SAFE.name, 900.0),
        bulk(1, "aiortc", 30.0),
        Outcome(1, "loopback", "werift", "bulk 16 KiB", {}, "no Opened within 30 s"),
        bulk(2, SAFE.name, 1100.0),
        bulk(2, "aiortc", 50.0),
        Outcome(2, "loopback", "werift", "bulk 16 KiB", {}, "no Opened within 30 s"),
        bulk(3, SAFE.name, 1000.0),
        Outcome(3, "loopback", "aiortc", "bulk 16 KiB", {}, "its process ended"),
        Outcome(3, "loopback", "werift", "bulk 16 KiB", {}, "no Opened within 30 s"),
    ],
)


def test_tables_show_medians_spread_ratios_and_failures() -> None:
    (table,) = tables_of(RUN)
    rows = list(zip(*(column.cells for column in table.columns), strict=True))
    assert rows[0] == (
        SAFE.name,
        "1,000 (900 to 1,100)",
        "0.01 (0.01 to 0.01)",
        "20 (20 to 20)",
        "0.1 (0.1 to 0.1)",
        "25.00",
    )
    assert rows[1][0] == "aiortc (1 of 3 failed)"
    assert rows[1][-1] == "1.00"
    assert rows[2][:2] == ("werift", "failed: no Opened within 30 s")


def test_a_base_that_carried_nothing_has_no_multiples() -> None:
    (table,) = tables_of(Run("", "2026-11-26", "", {}, [bulk(1, SAFE.name, 900.0), bulk(1, "aiortc", 0.0)]))
    assert list(table.columns[-1].cells) == ["", ""]


def test_what_failed_has_no_figures() -> None:
    assert values_of(RUN.outcomes[-2:], "mbit_per_second") == []


def test_a_page_says_how_it_was_made() -> None:
    page = markdown_of(RUN)
    assert "`rtcmesh bench data`, 2026-11-26, a machine." in page
    assert f"| {SAFE.name} | 1,000 (900 to 1,100) |" in page


def test_a_folder_gets_the_page_the_plot_and_the_raw_figures(tmp_path: Path) -> None:
    write_to(tmp_path / "new", RUN)
    names = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert names == ["data-2026-11-26.json", "data-2026-11-26.md", "data-2026-11-26.png"]
    assert len(json.loads((tmp_path / "new" / names[0]).read_text())["outcomes"]) == len(RUN.outcomes)
    assert (tmp_path / "new" / names[2]).read_bytes().startswith(b"\x89PNG")


def test_a_run_says_which_promises_it_keeps() -> None:
    verdicts = {verdict.promise.what: verdict for verdict in reversed(list(verdicts_of(RUN)))}
    rate, cpu = verdicts["bulk 16 KiB"], verdicts["CPU s/GB, bulk 16 KiB"]
    assert (rate.value, rate.kept) == (25, True)
    assert (cpu.value, cpu.kept) == (1, False)
    rows = list(zip(*(column.cells for column in promises_of(RUN).columns), strict=True))
    assert rows[0] == (
        f"bulk 16 KiB ({SAFE.name})",
        "1,000",
        "40 (aiortc)",
        "25.00 times",
        "at least 12 times",
        "yes",
    )


def test_a_stack_that_stalled_is_infinitely_slower() -> None:
    outcomes = [bulk(1, SAFE.name, 900.0), bulk(1, "aiortc", 0.0)]
    verdict = next(verdicts_of(Run("", "2026-11-26", "", {}, outcomes)))
    assert verdict.value == float("inf")
    assert verdict.kept


def test_nothing_is_said_of_what_was_not_measured() -> None:
    assert list(verdicts_of(Run("", "2026-11-26", "", {}, []))) == []


def test_the_newest_run_is_read_as_it_was_kept(tmp_path: Path) -> None:
    assert read_newest(tmp_path) is None
    keep_in(tmp_path, Run("older", "2026-11-25", "", {}, []))
    keep_in(tmp_path, RUN)
    assert read_newest(tmp_path) == RUN
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "data-2026-11-25.json",
        "data-2026-11-26.json",
    ]
