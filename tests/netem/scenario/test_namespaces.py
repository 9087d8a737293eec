"""The same scenarios with real processes in namespaces."""

import signal
from pathlib import Path

import pytest

from rtcmesh.netem.real import Audit
from rtcmesh.netem.scenario.errors import NotCarried
from rtcmesh.netem.scenario.lateness import Punctuality
from rtcmesh.netem.scenario.namespace_stage import NamespaceBackend
from rtcmesh.netem.scenario.reading import read_scenario
from rtcmesh.netem.scenario.record import CAPTURE_FILE, Run
from rtcmesh.netem.scenario.runner import record_scenario, run_scenario
from support.tunnel import tunnel

TESTS = Path(__file__).parents[2]

TUNNEL = tunnel(40, 40, nat="port-restricted")


def perform(text: str) -> Run:
    return run_scenario(read_scenario(text, "test.toml", {}), NamespaceBackend(), folder=TESTS)


@pytest.mark.namespaces
def test_what_hosts_send_and_receive_is_captured(tmp_path: Path) -> None:
    scenario = read_scenario(tunnel(10, 10, nat="port-restricted"), "test.toml", {})
    run, path = record_scenario(scenario, NamespaceBackend(), folder=TESTS, parent=tmp_path, name="run")
    capture = (path / CAPTURE_FILE).read_bytes()
    up = run.counters["ann"]["up"]
    assert (
        capture.count(b"ping") == up["sent"] + 2 * up["delivered"] + run.counters["ann"]["down"]["delivered"]
    )
    ann = [sample for sample in run.samples if sample.host == "ann"]
    assert sum(sample.sent_bytes for sample in ann) >= 10 * (20 + 8 + len(b"ping"))


@pytest.mark.namespaces
def test_a_file_that_runs_on_virtual_time_runs_in_namespaces(tmp_path: Path) -> None:
    text = (
        TUNNEL
        + """
        [[events]]
        at = 1
        do = "cut"
        node = "ann"
        lasting = 0.5
        every = 2  # whenever the client is there, on a slow machine too

        [[expect]]
        that = "exits"
        program = "client"

        [[expect]]
        that = "silence"
        program = "client"
        at_most = 30

        [[expect]]
        that = "packets"
        node = "ann"
        direction = "up"
        fate = "cut"
        at_least = 1
        """
    )
    scenario = read_scenario(text, "test.toml", {})
    run, path = record_scenario(scenario, NamespaceBackend(), folder=TESTS, parent=tmp_path, name="run")
    assert [verdict.was for verdict in run.verdicts if not verdict.met] == []
    texts = [(entry.subject, entry.text) for entry in run.entries]
    assert ("ann", "cut direction both") in texts
    assert ("ann", "heal") in texts
    assert texts[-1] == ("server", "was ended")
    up, down = run.counters["ann"]["up"], run.counters["ann"]["down"]
    capture = (path / CAPTURE_FILE).read_bytes()
    assert capture.count(b"cut; on the way up at ann") == up["cut"]
    assert capture.count(b"cut; on the way down at ann") == down["cut"]
    assert sum(sample.sent_packets for sample in run.samples if sample.host == "ann") == up["sent"]


@pytest.mark.namespaces
def test_commands_report_by_lines_and_are_signalled() -> None:
    run = perform(
        """
        title = "Signals"
        duration = 40
        [hosts.ann]
        [programs.shell]
        host = "ann"
        command = ["sh", "-c"]
        arguments = ['echo hello; echo "{\\"report\\": \\"note\\", \\"text\\": \\"$1\\"}"; exec sleep 9', "sh", "{ann}"]
        [[events]]
        at = 1
        do = "signal"
        process = "shell"
        signal = "pause"
        lasting = 1
        [[events]]
        at = 3
        do = "signal"
        process = "shell"
        signal = "kill"
        """
    )
    assert run.endings["shell"].status == -signal.SIGKILL
    assert run.endings["shell"].error == "hello"
    assert [entry.text for entry in run.entries if entry.kind == "fault"] == [
        "signal signal pause",
        "signal signal resume",
        "signal signal kill",
    ]
    (note,) = [entry.text for entry in run.entries if entry.kind == "report"]
    assert note.count(".") == 3


def test_a_program_that_is_not_there_is_told_before_anything_starts() -> None:
    text = TUNNEL.replace('run = "support.pingers:serve"', 'command = ["no-such-program"]')
    with pytest.raises(NotCarried, match="the program 'server': there is no 'no-such-program'"):
        perform(text)


def test_links_that_were_late_make_a_run_invalid() -> None:
    punctuality = Punctuality(delay=0.02)
    assert punctuality.complaint() == ""
    punctuality.note(Audit(950, 0.0, 0.0009, 0.3))
    assert punctuality.complaint() == ""
    punctuality.note(Audit(150, 0.001, 0.007, 0.3))
    assert "14 % of the packets crossed while links were late, by up to 7.0 ms" in punctuality.complaint()
