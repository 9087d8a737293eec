"""The record of a run: there as a whole, or not at all."""

import json
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rtcmesh.netem.scenario.account import Ending, Entry
from rtcmesh.netem.scenario.errors import RecordFailed, RecordInvalid
from rtcmesh.netem.scenario.meter import Meter
from rtcmesh.netem.scenario.record import (
    CAPTURE_FILE,
    RUN_FILE,
    SCENARIO_FILE,
    Capture,
    Run,
    RunDirectory,
    load_run,
)
from rtcmesh.netem.scenario.verdict import Verdict
from rtcmesh.netem.scenario.words import Exits

RUN = Run(
    title="Two tunnels",
    backend="virtual",
    seed=7,
    seconds=12.5,
    entries=[Entry(at=1.0, kind="fault", subject="ann", text="cut")],
    verdicts=[Verdict(expected=Exits(program="ann"), met=True, was="ann exited with status 0")],
    endings={"ann": Ending(at=12.5, status=0)},
    counters={"ann": {"up": {"lost": 3}}},
)


def test_a_record_is_read_back(tmp_path: Path) -> None:
    with RunDirectory(tmp_path / "runs", "tunnels") as directory:
        directory.capture.add("ann up", 0.5, b"packet")
        path = directory.finish(RUN, "title = 'Two tunnels'", {"ann": "hello"})
    assert path == tmp_path / "runs" / "tunnels-1"
    assert load_run(path) == load_run(path / RUN_FILE) == RUN
    assert sorted(file.name for file in path.iterdir()) == ["ann.log", CAPTURE_FILE, RUN_FILE, SCENARIO_FILE]
    assert (path / SCENARIO_FILE).read_text() == "title = 'Two tunnels'"
    assert b"packet" in (path / CAPTURE_FILE).read_bytes()
    assert [file.name for file in path.parent.iterdir()] == ["tunnels-1"]


def test_two_records_made_at_once_get_names_of_their_own(tmp_path: Path) -> None:
    with RunDirectory(tmp_path, "run") as one, RunDirectory(tmp_path, "run") as two:
        two.capture.add("ann up", 0.0, b"of the second")
        paths = [two.finish(RUN, "second", {}), one.finish(RUN, "first", {})]
    assert [path.name for path in paths] == ["run-1", "run-2"]
    assert [(path / SCENARIO_FILE).read_text() for path in paths] == ["second", "first"]


def test_a_run_that_is_cut_short_leaves_nothing(tmp_path: Path) -> None:
    with RunDirectory(tmp_path, "run") as directory:
        directory.capture.add("ann up", 0.0, b"packet")
    assert list(tmp_path.iterdir()) == []


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from rtcmesh.netem.scenario.record import Run, RunDirectory
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
with RunDirectory(Path(sys.argv[1]), "run") as directory:
    for _ in range(100):
        directory.capture.add("ann up", 0.0, bytes(1000))
    directory.finish(Run(title="", backend="virtual", seed=0, seconds=0), "", {})
"""


def test_a_full_disk_is_said_in_a_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    """A limit on the size of files fails the same calls in the same way as a full disk."""
    assert resource.RLIMIT_FSIZE
    assert signal.SIGXFSZ
    run = subprocess.run(
        [sys.executable, "-c", FULL_DISK, tmp_path], capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert (
        f"RecordFailed: the record of the run cannot be written to {tmp_path}: File too large" in run.stderr
    )
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_made_is_an_error_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(RecordFailed, match=r"cannot be written to .*file/runs"),
        RunDirectory(tmp_path / "file/runs", "r"),
    ):
        pass


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", json.dumps({"format": 2, "title": "", "backend": "", "seed": 0})]
)
def test_what_is_no_record_is_said_to_be_none(tmp_path: Path, text: str) -> None:
    (tmp_path / RUN_FILE).write_text(text)
    with pytest.raises(RecordInvalid, match="is no record of a run"):
        load_run(tmp_path)


def test_a_capture_that_is_full_counts_what_it_leaves_out(tmp_path: Path) -> None:
    capture = Capture(tmp_path / "file", max_bytes=2_000)
    for _ in range(10):
        capture.add("ann up", 0.0, bytes(500))
    capture.close()
    assert capture.packets + capture.left_out == 10
    assert 0 < capture.packets < 5
    assert (tmp_path / "file").stat().st_size < 3_000


def test_a_run_has_one_of_three_outcomes() -> None:
    failed = Verdict(expected=Exits(program="ann"), met=False, was="")
    assert RUN.outcome == "passed"
    assert Run(title="", backend="", seed=0, seconds=0, verdicts=[failed]).outcome == "failed"
    assert (
        Run(title="", backend="", seed=0, seconds=0, verdicts=[failed], invalid="too busy").outcome
        == "invalid"
    )


def test_a_meter_adds_up_by_host_and_stretch() -> None:
    meter = Meter(duration=1000.0)
    assert meter.interval == 1.0
    meter.sent("ann", 100, 0.2)
    meter.sent("ann", 100, 0.9)
    meter.lost("ann", 0.9)
    meter.received("bob", 100, 1.4, delay=1.2)
    meter.received("bob", 50, 1.5, delay=0.4)
    one, two = meter.samples()
    assert (one.at, one.host, one.sent_packets, one.sent_bytes, one.lost_packets) == (0.0, "ann", 2, 200, 1)
    assert (two.at, two.host, two.received_packets, two.received_bytes) == (1.0, "bob", 2, 150)
    assert two.delay_sum == pytest.approx(1.6)
    assert two.delay_max == 1.2
