"""Contests of a moment: that they measure, and that they say what went wrong. How fast anything is, no test says."""

import sys

import pytest

from rtcmesh.peer.data_bench.contenders import BARE, OURS, Contender
from rtcmesh.peer.data_bench.contest import ContestFailed, run_bulk, run_idle, run_ping
from rtcmesh.peer.data_bench.networks import LOOPBACK, Network
from rtcmesh.peer.data_bench.run import run, works


@pytest.mark.parametrize("contender", [OURS, BARE], ids=lambda contender: contender.name)
async def test_a_stack_is_measured(contender: Contender) -> None:
    bulk = await run_bulk(contender, LOOPBACK, size=1000, settle=0.05, seconds=0.3)
    assert bulk.mbit_per_second == pytest.approx(bulk.messages_per_second * 8000 / 1e6)
    assert bulk.cpu_seconds_per_gb > 0
    assert bulk.connect_seconds > 0
    ping = await run_ping(contender, LOOPBACK, seconds=0.2)
    assert 0 < ping.p50_ms <= ping.p99_ms


async def test_idle_connections_are_weighed() -> None:
    idle = await run_idle(OURS, LOOPBACK, connections=3, seconds=0.1)
    assert idle.kb_per_connection >= 0
    assert idle.cpu_ms_per_second >= 0


@pytest.mark.namespaces
async def test_a_lossy_link_is_slower_than_none() -> None:
    lossy = Network("lossy", 0.02, impaired=True)
    ping = await run_ping(OURS, lossy, seconds=1.0)
    assert ping.p50_ms >= 50


@pytest.mark.parametrize(
    ("program", "what"),
    [
        ("raise SystemExit(3)", "its process ended"),
        ('import sys; sys.stdin.readline(); print(\'{"type": "failed", "why": "no wish"}\')', "no wish"),
        ('import sys; sys.stdin.readline(); print(\'{"type": "opened"}\')', "in place of Usage"),
    ],
)
async def test_a_stack_that_fails_is_an_outcome(program: str, what: str) -> None:
    broken = Contender("broken", (sys.executable, "-c", program), lambda: True)
    with pytest.raises(ContestFailed, match=what):
        await run_bulk(broken, LOOPBACK, size=1000, settle=0, seconds=0.1)
    said: list[str] = []
    results = await run([broken], [LOOPBACK], works(seconds=0.1, connections=1)[:1], 2, said.append)
    assert [outcome.round for outcome in results.outcomes] == [1, 2]
    assert all(what in outcome.failure and not outcome.figures for outcome in results.outcomes)
    assert said[0] == "1 of 2: broken, bulk 16 KiB, loopback"
