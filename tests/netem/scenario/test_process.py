"""Programs that are processes, and what they leave behind."""

import asyncio
import os
import re
import signal
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, cast

import pytest

from rtcmesh.netem.faults import Signal
from rtcmesh.netem.scenario.process import MAX_LINE_BYTES, Child, Children
from rtcmesh.netem.scenario.words import Note, Report

SOON = 20.0
"""Seconds for what takes a few at most, on a busy machine."""


async def start(script: str, reports: list[Report] | None = None) -> Child:
    taken: list[Report] = [] if reports is None else reports
    return await Child.start(("sh", "-c", script), taken.append, folder=Path("/"))


async def said(child: Child, pattern: str) -> str:
    """Wait for words in what it says."""
    async with asyncio.timeout(SOON):
        while (found := re.search(pattern, child.log)) is None:
            await child.heard()
    return found[0]


async def is_gone(pid: int) -> bool:
    """Whether a process that is nobody's child here ends."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        async with asyncio.timeout(SOON):
            await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    return True


async def test_its_lines_are_reports_and_a_log() -> None:
    reports: list[Report] = []
    child = await start(
        """echo hello; echo '{"report": "note", "text": "here"}'; printf rest; exit 3""", reports
    )
    assert await child.ended() == 3
    assert child.log == "hello\nrest"
    assert reports == [Note(text="here")]
    await child.end()


async def test_a_line_without_an_end_is_taken_in_parts() -> None:
    child = await start(f"head -c {3 * MAX_LINE_BYTES} /dev/zero")
    assert await child.ended() == 0
    assert len(child.log) == 3 * MAX_LINE_BYTES
    await child.end()


@pytest.mark.parametrize("apart", ["", "setsid "])
async def test_its_end_is_noticed_though_its_child_holds_the_output_open(apart: str) -> None:
    child = await start(f"{apart}sleep 1000 & echo left $!; exit 5")
    async with asyncio.timeout(SOON):
        assert await child.ended() == 5
        grandchild = int((await said(child, r"left \d+"))[5:])
        await child.end()
        if apart:  # who leaves its group leaves us; its output is closed all the same
            os.kill(grandchild, signal.SIGKILL)
        assert await is_gone(grandchild)


async def test_what_it_has_started_ends_with_it() -> None:
    child = await start("sleep 1000 & echo left $!; wait")
    grandchild = int((await said(child, r"left \d+"))[5:])
    async with asyncio.timeout(SOON):
        await child.end()
        assert await child.ended() == -signal.SIGTERM
        assert await is_gone(grandchild)


async def test_who_will_not_end_is_killed_and_its_last_words_are_kept() -> None:
    child = await start("trap 'echo no' TERM; echo ready; while :; do sleep 0.1; done")
    await said(child, "ready")
    async with asyncio.timeout(SOON):
        await child.end()
        assert await child.ended() == -signal.SIGKILL
    assert child.log.startswith("ready\n")
    assert child.log.endswith("no\n")


async def test_ending_it_twice_is_as_once() -> None:
    child = await start("exec sleep 1000")
    await child.end()
    assert await child.ended() == -signal.SIGTERM


async def test_children_are_signalled_by_name_and_end_together() -> None:
    children = Children()
    one = await children.start("one", ("sleep", "1000"), print, folder=Path("/"))
    two = await children.start("two", ("sleep", "1000"), print, folder=Path("/"))
    children.signal(Signal(process="one", signal="kill"))
    assert await one.ended() == -signal.SIGKILL
    for name in ("one", "three"):
        with pytest.raises(ValueError, match=f"no program called '{name}' is running"):
            children.signal(Signal(process=name, signal="pause"))
    children.signal(Signal(process="two", signal="pause"))
    await children.end()
    assert await two.ended() in (-signal.SIGTERM, -signal.SIGKILL)


class Kept(Child):
    """One whose transport can be looked at, though nobody gets it."""

    transports: ClassVar[list[asyncio.SubprocessTransport]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transports.append(cast("asyncio.SubprocessTransport", transport))


@pytest.mark.parametrize("times", [1, 3])
async def test_one_that_is_cancelled_while_it_starts_is_gone(tmp_path: Path, times: int) -> None:
    """At every step of the event loop on the way, and however often it is cancelled."""
    script = f"sleep 1000 & echo $! >> {tmp_path}/pids; wait"
    Kept.transports.clear()
    for steps in range(8):
        starting = asyncio.create_task(Kept.start(("sh", "-c", script), print, folder=Path("/")))
        for _ in range(steps):
            await asyncio.sleep(0)
        for _ in range(times):
            starting.cancel()
            await asyncio.sleep(0)
        async with asyncio.timeout(SOON):
            with suppress(asyncio.CancelledError):
                await (await starting).end()
    assert Kept.transports
    assert None not in [transport.get_returncode() for transport in Kept.transports]
    for pid in (tmp_path / "pids").read_text().split() if (tmp_path / "pids").exists() else []:
        assert await is_gone(int(pid))
