"""How a run ends that is told to, or that the file system refuses: in a line, with a code, and with nothing left."""

import asyncio
import os
import select
import shutil
import signal
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from support import pingers
from support.processes import RTCMESH, Program, rtcmesh, running
from support.tunnel import IN_A_FOLDER as TUNNEL

SOON = 90.0
"""Seconds for what takes a few at most, on a machine that has much else to do."""

STUBBORN = """
title = "A program that will not end"
duration = 1000
[hosts.ann]
[hosts.bob]
[programs.stubborn]
host = "ann"
command = ["sh", "stubborn.sh"]
[[events]]
at = 0.2
do = "signal"
process = "stubborn"
signal = "resume"
every = 0.2
"""

STUBBORN_SH = """
trap 'echo ending > told' TERM
sleep 1000 &
trap "echo $$ $! > told" CONT  # which is sent to it once it is a part of the run
while :; do sleep 0.1; done
"""

NOT_YET = """#!/bin/sh
echo $$ > told
exec sleep 1000
"""


class Told:
    """A named pipe in which programs say something."""

    def __init__(self, folder: Path) -> None:
        os.mkfifo(folder / "told")
        self._pipe = os.open(folder / "told", os.O_RDWR | os.O_NONBLOCK)

    async def next(self) -> str:
        """Wait for what is said next."""
        readable, _, _ = await asyncio.to_thread(select.select, [self._pipe], [], [], SOON)
        assert readable, "nothing was said"
        return os.read(self._pipe, 1000).decode()

    def close(self) -> None:
        os.close(self._pipe)


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    pipe = Told(tmp_path)
    yield pipe
    pipe.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(pingers.__file__, tmp_path / "pingers.py")
    (tmp_path / "tunnel.toml").write_text(TUNNEL)
    (tmp_path / "stubborn.toml").write_text(STUBBORN)
    (tmp_path / "stubborn.sh").write_text(STUBBORN_SH)
    return tmp_path


async def gone(pids: list[int]) -> None:
    """Wait for the end of processes."""
    for pid in pids:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        ended, _, _ = await asyncio.to_thread(select.select, [descriptor], [], [], SOON)
        os.close(descriptor)
        assert ended, f"process {pid} is still there"


async def assert_ended(run: Program, folder: Path, number: signal.Signals, pids: list[int]) -> None:
    """Whatever it has started writes its errors where it does, so the end of those is the end of all."""
    ended = await run.ended(timeout=SOON)
    assert (ended.code, ended.errors) == (128 + number, "")
    await gone(pids)
    assert list((folder / "runs").iterdir()) == []


def start(folder: Path, backend: str, **environment: str) -> AbstractAsyncContextManager[Program]:
    options = ("--backend", backend, "--output", str(folder / "runs"))
    return rtcmesh("netem", "run", str(folder / "stubborn.toml"), *options, **environment)


@pytest.mark.parametrize(
    ("backend", "number"),
    [
        ("proxy", signal.SIGINT),
        ("proxy", signal.SIGTERM),
        pytest.param("namespaces", signal.SIGINT, marks=pytest.mark.namespaces),
        pytest.param("namespaces", signal.SIGHUP, marks=pytest.mark.namespaces),
    ],
)
async def test_a_signal_in_the_midst_of_a_run_takes_everything_down(
    folder: Path, told: Told, backend: str, number: signal.Signals
) -> None:
    async with start(folder, backend) as run:
        pids = [int(pid) for pid in (await told.next()).splitlines()[0].split()]
        run.send_signal(number)
        await assert_ended(run, folder, number, pids)


@pytest.mark.parametrize("backend", ["proxy", pytest.param("namespaces", marks=pytest.mark.namespaces)])
async def test_a_signal_while_it_is_taken_down_hurries_it(folder: Path, told: Told, backend: str) -> None:
    async with start(folder, backend) as run:
        pids = [int(pid) for pid in (await told.next()).splitlines()[0].split()]
        run.send_signal(signal.SIGTERM)
        while "ending" not in await told.next():
            pass
        run.send_signal(signal.SIGTERM)
        await assert_ended(run, folder, signal.SIGTERM, pids)


@pytest.mark.namespaces
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_while_it_is_set_up_takes_down_what_is_there(
    folder: Path, told: Told, number: signal.Signals
) -> None:
    """Setting up takes for ever, as `ip` does."""
    (folder / "bin").mkdir()
    (folder / "bin" / "ip").write_text(NOT_YET.replace("told", str(folder / "told")))
    (folder / "bin" / "ip").chmod(0o755)
    async with start(folder, "namespaces", PATH=f"{folder / 'bin'}:{os.environ['PATH']}") as run:
        pids = [int(await told.next())]
        run.send_signal(number)
        await assert_ended(run, folder, number, pids)


async def test_sigterm_ends_a_run_on_virtual_time_and_in_the_background_of_a_shell(folder: Path) -> None:
    text = TUNNEL.replace("pingers:ask", "pingers:spin").replace('arguments = ["{bob}", "100"]', "")
    (folder / "tunnel.toml").write_text(text)
    command = (RTCMESH, "netem", "run", folder / "tunnel.toml", "--output", folder / "runs")
    async with running("sh", "-c", "trap '' INT; exec \"$@\"", "sh", *command) as run:
        await run.expect("spinning")
        run.send_signal(signal.SIGINT)
        run.send_signal(signal.SIGTERM)
        await assert_ended(run, folder, signal.SIGTERM, [])


ON_A_DISK = (
    'mount -t tmpfs -o "$1" none "$2" && cd "$3" && shift 3 && "$@"; code=$?; ls -A "$DISK"; exit $code'
)


async def on_a_full_disk(folder: Path, options: str, *command: str) -> tuple[int | None, str]:
    """Run a command with a small file system of its own at `disk`; return its exit code, words, and what is left."""
    (disk := folder / "disk").mkdir()
    within = ("unshare", "--mount", "sh", "-c", ON_A_DISK, "sh", options, str(disk), str(folder))
    process = await asyncio.create_subprocess_exec(
        *(*within, *command),
        stdout=PIPE,
        stderr=STDOUT,
        env={**os.environ, "DISK": str(disk), "COLUMNS": "400"},
    )
    output, _ = await asyncio.wait_for(process.communicate(), 2 * SOON)
    return process.returncode, output.decode()


FULL = {"no file": "nr_inodes=1", "no capture": "size=16k", "no record": "size=32k"}


@pytest.mark.namespaces
@pytest.mark.parametrize("options", FULL.values(), ids=FULL)
@pytest.mark.parametrize("backend", ["virtual", "namespaces"])
async def test_a_full_disk_is_told_in_a_line(folder: Path, options: str, backend: str) -> None:
    run = (str(RTCMESH), "netem", "run", "tunnel.toml", "--backend", backend, "--output", "disk")
    code, told = await on_a_full_disk(folder, options, *run)
    assert told == "the record of the run cannot be written to disk: No space left on device\n"
    assert code == 1


@pytest.mark.namespaces
async def test_a_full_disk_is_told_of_the_record_of_chaos(folder: Path) -> None:
    (folder / "tunnel.toml").write_text(TUNNEL.replace("at_most = 3.0", "at_most = 0.01"))
    chaos = (str(RTCMESH), "netem", "chaos", "tunnel.toml", "--max-trials", "2", "--output", "disk")
    code, told = await on_a_full_disk(folder, "size=16k", *chaos)
    assert told == "the record of the run cannot be written to disk: No space left on device\n"
    assert code == 1


@pytest.mark.namespaces
@pytest.mark.parametrize("name", ["graph.png", "graph.svg"])
async def test_a_full_disk_is_told_of_a_picture_and_nothing_of_it_is_left(folder: Path, name: str) -> None:
    run = await asyncio.create_subprocess_exec(
        *(RTCMESH, "netem", "run", folder / "tunnel.toml", "--output", folder / "runs"), stdout=PIPE
    )
    await run.communicate()
    graph = (str(RTCMESH), "netem", "graph", "runs/tunnel-1", "--output", f"disk/{name}")
    code, told = await on_a_full_disk(folder, "size=16k", *graph)
    assert told == f"disk/{name} cannot be written: No space left on device\n"
    assert code == 1
