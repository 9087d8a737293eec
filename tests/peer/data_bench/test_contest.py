"""Contests of a moment: that they measure, and that they say what went wrong. How fast anything is, no test says."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from rtcmesh.peer.bench.data.coalescing import Coalescer, taken_apart
from rtcmesh.peer.bench.data.contenders import (
    BARE,
    BULK,
    COALESCED,
    CUBIC,
    LIMITS,
    OURS,
    SESSION,
    Contender,
    Kind,
)
from rtcmesh.peer.bench.data.contest import Stream, run_bulk, run_idle, run_ping
from rtcmesh.peer.bench.data.networks import LOOPBACK, LOSSY, Network
from rtcmesh.peer.bench.data.pair import ContestFailed, Pair
from rtcmesh.peer.bench.data.run import Plan, Run, begin_run, continue_run, groups
from rtcmesh.peer.bench.data.works import Effort

MOMENT = Effort(seconds=0.1, connections=1)


@asynccontextmanager
async def pair_of(contender: Contender, network: Network = LOOPBACK) -> AsyncGenerator[Pair]:
    async with network.open() as field:
        await field.become(network)
        pair = Pair(contender, field.places)
        try:
            yield pair
        finally:
            await pair.stop()


@pytest.mark.parametrize("contender", [OURS, BARE], ids=lambda contender: contender.name)
async def test_a_stack_does_one_piece_of_work_after_the_other(contender: Contender) -> None:
    async with pair_of(contender) as pair:
        bulk = await run_bulk(pair, Stream(1000, turn=256), settle=0.05, seconds=0.3)
        assert bulk.mbit_per_second == pytest.approx(bulk.messages_per_second * 8000 / 1e6)
        assert bulk.cpu_seconds_per_gb > 0
        assert bulk.connect_seconds > 0
        ping = await run_ping(pair, seconds=0.2)
        assert 0 < ping.p50_ms <= ping.p99_ms


@pytest.mark.parametrize("contender", [OURS, SESSION], ids=lambda contender: contender.name)
async def test_small_messages_share_large_ones(contender: Contender) -> None:
    stream = Stream(64, turn=4096, coalesced=True)
    async with pair_of(contender) as pair:
        bulk = await run_bulk(pair, stream, settle=0.05, seconds=0.3)
    assert bulk.mbit_per_second == pytest.approx(bulk.messages_per_second * 64 * 8 / 1e6)


async def test_what_was_put_together_comes_apart() -> None:
    sent: list[bytes] = []
    coalescer = Coalescer(sent.append, 1000)
    messages = [bytes([number]) * number for number in range(200)]
    makes_room = [coalescer.send(message) for message in messages]
    await asyncio.sleep(0)
    assert len(sent) == sum(makes_room) + 1
    assert all(len(together) <= 1000 for together in sent)
    assert [message for together in sent for message in taken_apart(together)] == messages


@pytest.mark.parametrize("contender", LIMITS, ids=lambda contender: contender.name)
async def test_the_limit_is_measured(contender: Contender) -> None:
    async with pair_of(contender) as pair:
        assert (await run_bulk(pair, Stream(16_384, turn=256), settle=0.05, seconds=0.2)).mbit_per_second > 0


async def test_idle_connections_are_weighed() -> None:
    async with pair_of(OURS) as pair:
        idle = await run_idle(pair, connections=3, seconds=0.1)
    assert idle.kb_per_connection >= 0
    assert idle.cpu_ms_per_second >= 0


@pytest.mark.namespaces
async def test_a_lossy_link_is_slower_than_none() -> None:
    async with pair_of(OURS, Network("lossy", 0.02, impaired=True)) as pair:
        assert (await run_ping(pair, seconds=1.0)).p50_ms >= 50


PROGRAMS = [
    ("raise SystemExit(3)", "its process ended"),
    ('import sys; sys.stdin.readline(); print(\'{"type": "failed", "why": "no wish"}\')', "no wish"),
    ('import sys; sys.stdin.readline(); print(\'{"type": "opened"}\')', "in place of Usage"),
    ('import sys; sys.stdin.readline(); print("hello")', "it said b'hello"),
]


def broken(program: str) -> Contender:
    return Contender("broken", (sys.executable, "-c", program), lambda: True)


@pytest.mark.parametrize(("program", "what"), PROGRAMS)
async def test_a_stack_that_fails_is_an_outcome(program: str, what: str) -> None:
    async with pair_of(broken(program)) as pair:
        with pytest.raises(ContestFailed, match=what):
            await run_bulk(pair, Stream(1000, turn=256), settle=0, seconds=0.1)
    said: list[str] = []
    run = begin_run("rtcmesh bench data")
    await continue_run(run, Plan([broken(program)], [LOOPBACK], [BULK], 2, MOMENT), said.append, print)
    assert [outcome.round for outcome in run.outcomes] == [1, 2]
    assert all(what in outcome.failure and not outcome.figures for outcome in run.outcomes)
    assert said[0] == "round 1 of 2: broken: bulk 16 KiB, loopback"


async def test_a_run_goes_on_after_the_rounds_that_were_kept() -> None:
    program, _ = PROGRAMS[0]
    plan = Plan([broken(program)], [LOOPBACK], [BULK, COALESCED], 2, MOMENT)
    kept: list[int] = []
    said: list[str] = []

    def keep(run: Run) -> None:
        kept.append(run.rounds)

    run = begin_run("rtcmesh bench data")
    await continue_run(run, plan, said.append, keep)
    assert kept == [1, 2]
    again = Run(run.command, run.date, run.machine, run.versions, run.outcomes[:2])
    await continue_run(again, plan, said.append, keep)
    assert kept == [1, 2, 2]
    assert again.outcomes == run.outcomes


def test_only_other_stacks_on_lossy_links_share_the_time() -> None:
    first = broken("")
    second = replace(first, name="broken as well")
    plan = Plan([OURS, CUBIC, first, second], [LOOPBACK, *LOSSY], [BULK], 1, MOMENT)
    assert [([one.name for one in group], len(networks)) for group, networks in groups(plan)] == [
        (["rtcmesh"], 1),
        (["rtcmesh, CUBIC"], 1),
        (["broken"], 1),
        (["broken as well"], 1),
        (["rtcmesh"], len(LOSSY)),
        (["rtcmesh, CUBIC"], len(LOSSY)),
        (["broken", "broken as well"], len(LOSSY)),
    ]
    assert first.kind is Kind.OTHER
