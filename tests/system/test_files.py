"""A real file between real processes, while the path between them changes three times."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from rtcmesh.netem.faults import Cut, Heal
from support.meetings import OPEN, Meeting, meeting, udp_lost, udp_passing
from support.processes import RTCMESH, Program, running

MEGABYTE = 1_000_000
DEADLINE = 300.0
OUTAGE = 6.0
"""Longer than any path lives in silence."""

pytestmark = [pytest.mark.namespaces, pytest.mark.timeout(1200)]


@pytest.mark.parametrize("megabytes", [20, pytest.param(200, marks=pytest.mark.soak)])
async def test_a_file_is_the_same_after_three_changes_of_the_path(
    tmp_path: Path, megabytes: int, record: Callable[[str, object], None]
) -> None:
    size = megabytes * MEGABYTE
    file, target = tmp_path / "file", tmp_path / "target"
    digest = write_random(file, size)
    target.mkdir()
    async with meeting(OPEN) as net:
        ann, bob = net.lab.host("ann"), net.lab.host("bob")
        async with (
            net.serving() as (_, url),
            running(*bob.command(RTCMESH, "receive", url, "files", target, "--json")) as receiver,
            running(*ann.command(RTCMESH, "send", url, "files", file, "--json")) as sender,
        ):
            part = target / f".file.{digest[:16]}.part"
            await disturb(net, part, size)
            outcomes = [json.loads(await outcome_of(program)) for program in (sender, receiver)]
    assert hash_of(target / "file") == digest
    for outcome in outcomes:
        (transfer,) = outcome["transfers"]
        assert (transfer["ok"], transfer["bytes"], transfer["resumed_bytes"]) == (True, size, 0)
        assert transfer["path_changes"] >= 4  # the first one is that there was a path at all
    record(f"seconds for {megabytes} MB", outcomes[0]["seconds"])


async def disturb(net: Meeting, part: Path, size: int) -> None:
    """Change the path at fifths of the file: the direct one is lost, comes back, and everything is gone for a while."""
    await grows_to(part, size // 5)
    await net.apply(udp_lost("ann"))
    await grows_to(part, 2 * size // 5)
    await net.apply(udp_passing("ann"))
    await grows_to(part, 3 * size // 5)
    await net.apply(Cut(node="ann"))
    await asyncio.sleep(OUTAGE)
    await net.apply(Heal(node="ann"))


async def grows_to(part: Path, size: int) -> None:
    """Wait until so much of the file is on the disk."""
    async with asyncio.timeout(DEADLINE):
        while size_of(part) < size:  # noqa: ASYNC110 - a file tells nobody when it grows
            await asyncio.sleep(0.05)


def size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


async def outcome_of(program: Program) -> str:
    line = await program.expect('"ok"', timeout=DEADLINE)
    ended = await program.ended()
    assert (ended.code, ended.errors) == (0, "")
    return line


def write_random(path: Path, size: int) -> str:
    """Write a file from a seed, and return its SHA-256."""
    random, digest = Random(size), hashlib.sha256()
    with path.open("wb") as file:
        for start in range(0, size, MEGABYTE):
            block = random.randbytes(min(MEGABYTE, size - start))
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


def hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
