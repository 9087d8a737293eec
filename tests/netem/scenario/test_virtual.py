"""Scenarios on virtual time: programs run, faults happen, expectations are judged, and everything is recorded."""

from pathlib import Path

import pytest

from rtcmesh.netem.scenario.account import Entry
from rtcmesh.netem.scenario.errors import NotCarried
from rtcmesh.netem.scenario.reading import read_scenario
from rtcmesh.netem.scenario.record import CAPTURE_FILE, SCENARIO_FILE, Run, load_run
from rtcmesh.netem.scenario.runner import record_scenario, run_scenario
from rtcmesh.netem.scenario.virtual_stage import VirtualBackend
from support.tunnel import tunnel

TUNNEL = (
    tunnel(30, 100, seed=3, nat="port-restricted")
    + """
[[events]]
at = 3
do = "cut"
node = "ann"
lasting = 2

[[expect]]
that = "exits"
program = "client"

[[expect]]
that = "silence"
program = "client"
at_most = 2.2

[[expect]]
that = "delivered"
program = "client"
at_least = 75
at_most = 85

[[expect]]
that = "packets"
node = "ann"
fate = "cut"
at_least = 15

[[expect]]
that = "on-path"
program = "client"
path = "direct"

[[expect]]
that = "counted"
program = "client"
name = "answers"
at_least = 75
"""
)


def perform(text: str) -> Run:
    return run_scenario(read_scenario(text, "test.toml", {}), VirtualBackend(), folder=Path())


def short(entry: Entry) -> tuple[float, str, str]:
    return round(entry.at, 2), entry.subject, entry.text


def test_programs_run_faults_happen_and_expectations_are_judged() -> None:
    run = perform(TUNNEL)
    assert [verdict.was for verdict in run.verdicts if not verdict.met] == []
    assert run.outcome == "passed"
    assert [short(entry) for entry in run.entries] == [
        (0.0, "server", "started on bob"),
        (0.0, "server", "is ready"),
        (0.0, "client", "started on ann"),
        (0.0, "client", "path: direct"),
        (3.0, "ann", "cut direction both"),
        (5.0, "ann", "heal"),
        (10.0, "client", "exited with status 0"),
        (10.0, "server", "was ended"),
    ]
    assert run.seconds == pytest.approx(10.0)


def test_the_same_seed_gives_the_same_run() -> None:
    text = TUNNEL.replace("delay = 0.02", "delay = 0.02, loss = 0.2, jitter = 0.005")
    assert perform(text) == perform(text)
    assert perform(text) != perform(text.replace("seed = 3", "seed = 4"))


def test_what_was_sent_lost_and_delayed_is_measured() -> None:
    run = perform(TUNNEL)
    ann = [sample for sample in run.samples if sample.host == "ann"]
    answers = len([sample for sample in ann if sample.received_packets])
    assert sum(sample.sent_packets for sample in ann) == 100
    assert sum(sample.received_packets for sample in ann) == answers
    assert 78 <= answers <= 80
    assert all(3 <= round(sample.at, 3) <= 5 for sample in ann if sample.lost_packets)
    assert max(sample.delay_max for sample in ann) == pytest.approx(0.02, abs=1e-6)
    assert run.counters["home"]["nat"]["sent_out"] == run.counters["ann"]["up"]["delivered"]


def test_a_run_is_recorded_with_its_packets(tmp_path: Path) -> None:
    scenario = read_scenario(TUNNEL, "tunnel.toml", {})
    run, path = record_scenario(scenario, VirtualBackend(), folder=Path(), parent=tmp_path, name="tunnel")
    assert load_run(path) == run
    assert read_scenario((path / SCENARIO_FILE).read_text(), "", {}) == scenario
    capture = (path / CAPTURE_FILE).read_bytes()
    assert capture.count(b"cut; sent by ann") == run.counters["ann"]["up"]["cut"] >= 19
    assert run.captured_packets > 300
    assert capture.count(b"ping") == run.captured_packets


@pytest.mark.parametrize(
    ("program", "ending", "log"),
    [
        ("fail", (1, "on purpose"), "RuntimeError: on purpose"),
        ("leave", (3, ""), ""),
        ("hang", (None, ""), ""),
    ],
)
def test_however_a_program_ends_it_is_told(
    program: str, ending: tuple[int | None, str], log: str, tmp_path: Path
) -> None:
    text = TUNNEL.replace(
        'support.pingers:ask"\narguments = ["{bob}", "100"]', f'support.pingers:{program}"\n'
    )
    text = text.replace("pingers:leave", 'pingers:leave"\narguments = ["3"]\n#')
    scenario = read_scenario(text, "test.toml", {})
    run, path = record_scenario(scenario, VirtualBackend(), folder=Path(), parent=tmp_path, name="run")
    status, error = ending
    assert run.endings["client"].status == status
    assert error in run.endings["client"].error
    assert log in (path / "client.log").read_text()
    assert not run.verdicts[0].met
    assert run.outcome == "failed"
    if program == "hang":
        assert run.seconds == 30.0


def test_a_program_that_is_never_ready_holds_back_those_that_come_after_it() -> None:
    run = perform(TUNNEL.replace("pingers:serve", "pingers:never_ready"))
    assert (0.0, "client", "not started: server was never ready") in [short(entry) for entry in run.entries]
    assert run.verdicts[0].was == "client never started"


def test_a_program_that_is_not_ready_in_time_ends_the_run() -> None:
    run = perform(TUNNEL.replace("pingers:serve", "pingers:hang"))
    assert (0.0, "server", "was not ready within the duration") in [short(entry) for entry in run.entries]
    assert run.outcome == "failed"


def test_without_programs_a_run_lasts_as_long_as_it_says() -> None:
    run = perform("title = ''\nduration = 7\n[hosts.ann]\n[[events]]\nat = 2\ndo = 'cut'\nnode = 'ann'")
    assert (run.seconds, [short(entry) for entry in run.entries]) == (
        7.0,
        [(2.0, "ann", "cut direction both")],
    )


@pytest.mark.parametrize(
    ("right", "wrong", "objection"),
    [
        (
            'run = "support.pingers:serve"',
            'command = ["server"]',
            "the program 'server' is a command: only coroutines",
        ),
        (
            "support.pingers:serve",
            "support.pinger:serve",
            "support.pinger:serve: there is no module 'support.pinger'",
        ),
        (
            "support.pingers:serve",
            "nowhere.pinger:serve",
            "nowhere.pinger:serve: there is no module 'nowhere'",
        ),
        (
            "pingers:serve",
            "pingers:no_coroutine",
            "support.pingers:no_coroutine: support.pingers has no coroutine",
        ),
        (
            'do = "cut"\nnode = "ann"',
            'do = "signal"\nprocess = "client"\nsignal = "pause"',
            "event 1 signals 'client'",
        ),
    ],
)
def test_what_cannot_be_carried_is_said_before_anything_starts(
    right: str, wrong: str, objection: str
) -> None:
    assert right in TUNNEL
    with pytest.raises(NotCarried) as raised:
        perform(TUNNEL.replace(right, wrong))
    assert str(raised.value).startswith(f"the backend virtual cannot carry this scenario:\n  {objection}")
