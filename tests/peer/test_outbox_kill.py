"""Two real processes with an outbox each, which are killed with SIGKILL in the middle of a stream."""

from __future__ import annotations

import signal
import sys
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path

import pytest

from rtcmesh.peer import Identity
from rtcmesh.peer.outbox.outboxes import MAX_UNNOTED
from support.processes import Program, running, serving

WORKER = Path(__file__).parents[1] / "support" / "outbox_worker.py"
KILLS = (("sender",), ("receiver",), ("sender", "receiver"), ("receiver",))

Number = tuple[int, int]
"""A life of the sender, and a number in it."""


def lives(log: Path) -> list[list[Number]]:
    """Return what each life has written."""
    result: list[list[Number]] = []
    for line in log.read_text().splitlines():
        first, second = line.split()
        if first == "life":
            result.append([])
        else:
            result[-1].append((int(first), int(second)))
    return result


@pytest.mark.timeout(240)
async def test_kill_9_at_either_end_loses_nothing_and_repeats_only_what_the_receiver_could_not_note(
    tmp_path: Path,
) -> None:
    for role in ("sender", "receiver"):
        Identity.create().save(tmp_path / f"{role}.key")

    async with serving() as (_, url), AsyncExitStack() as stack:

        async def start(role: str) -> Program:
            return await stack.enter_async_context(running(sys.executable, WORKER, role, url, str(tmp_path)))

        programs = {role: await start(role) for role in ("receiver", "sender")}
        for victims in KILLS:
            await programs["receiver"].expect("received")
            for role in victims:
                programs[role].send_signal(signal.SIGKILL)
            for role in victims:
                programs[role] = await start(role)
        await programs["receiver"].expect("received")
        programs["sender"].end_input()
        await programs["sender"].expect("flushed")

    returned = [number for life in lives(tmp_path / "sender.log") for number in life]
    received = lives(tmp_path / "receiver.log")
    first_time = list(dict.fromkeys(number for life in received for number in life))
    assert set(returned) <= set(first_time), "lost"
    assert first_time == sorted(first_time), "reordered"
    assert len(first_time) - len(returned) <= sum("sender" in victims for victims in KILLS)
    for life in received:
        assert life == sorted(set(life)), "one life received something twice"
    seen: list[Number] = []
    for life in received:
        again = [number for number in life if number in set(seen)]
        assert len(again) <= MAX_UNNOTED + 1
        assert again == seen[len(seen) - len(again) :], "not the last ones before the kill"
        seen += life[len(again) :]
    assert all(after == (life + 1, 0) or after == (life, n + 1) for (life, n), after in pairwise(first_time))
