"""The same scenarios through proxies, without privileges."""

from pathlib import Path

import pytest

from rtcmesh.netem.scenario.errors import NotCarried
from rtcmesh.netem.scenario.proxy_stage import ProxyBackend
from rtcmesh.netem.scenario.reading import read_scenario
from rtcmesh.netem.scenario.record import CAPTURE_FILE
from rtcmesh.netem.scenario.runner import record_scenario
from support.tunnel import tunnel

TESTS = Path(__file__).parents[2]

SCENARIO = (
    tunnel(40, 30, ask="ask_at", server="{bob:7000}")
    + """
[[events]]
at = 2
do = "cut"
node = "ann"
lasting = 1
[[expect]]
that = "exits"
program = "client"
[[expect]]
that = "packets"
node = "ann"
direction = "up"
fate = "delivered"
at_least = 1
"""
)


def test_a_scenario_runs_through_proxies(tmp_path: Path) -> None:
    scenario = read_scenario(SCENARIO, "proxy.toml", {})
    run, path = record_scenario(scenario, ProxyBackend(), folder=TESTS, parent=tmp_path, name="proxy")
    assert [verdict.was for verdict in run.verdicts if not verdict.met] == []
    assert {entry.text for entry in run.entries if entry.kind == "fault"} == {"cut direction both", "heal"}
    assert sum(sample.sent_packets for sample in run.samples if sample.host == "ann") == 30
    assert (path / CAPTURE_FILE).read_bytes().count(b"ping") == run.captured_packets > 50


@pytest.mark.parametrize(
    ("right", "wrong", "objection"),
    [
        (
            "[hosts.bob]",
            "[hosts.bob]\n[gateways.home]",
            "the gateway 'home': a proxy translates no addresses",
        ),
        ("{bob:7000}", "{bob}", "the program 'client' is told {bob}: on a proxy hosts have no address"),
        ("support.pingers:serve", "support.pinger:serve", "support.pinger:serve: there is no module"),
    ],
)
def test_what_proxies_cannot_carry_is_said_before_anything_starts(
    right: str, wrong: str, objection: str
) -> None:
    scenario = read_scenario(SCENARIO.replace(right, wrong), "proxy.toml", {})
    (said,) = ProxyBackend().objections(scenario, TESTS)
    assert said.startswith(objection)
    assert said in str(NotCarried("proxy", [said]))
