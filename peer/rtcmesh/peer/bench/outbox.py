"""What an outbox costs the processor, beside the same channel without one.

Both ends run in this process on virtual time, over memory transports, with their files in the directory for temporary
ones. Processor time is measured, so that a busy machine changes little; how long one transaction keeps the event loop
is measured by the clock, since it is the disk that counts there.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from rich.table import Table

from rtcmesh.peer.channel import Channel
from rtcmesh.peer.outbox.outbox import Line
from rtcmesh.peer.outbox.outbox_file import Changes, OutboxFile
from rtcmesh.peer.testing import VirtualRoom, run_virtual, virtual_room
from rtcmesh.signaling.identity import Identity, PeerId

MESSAGES, AT_ONCE = 2_000, 100
SMALL_BYTES, BULK_BYTES = 64, 16 * 1024
BULK_MESSAGES = 400
TRANSACTIONS = 5_000

CONTENDERS = {"no outbox": (), "sender": ("there",), "sender and receiver": ("there", "back")}
"""Which of the two ends have one."""


class OutboxFigures(msgspec.Struct, frozen=True):
    """Processor time of both ends together per message, in microseconds."""

    one_by_one: float
    """64 bytes, each sent when the one before is stored: a transaction each."""
    at_once: float
    """64 bytes, a hundred sends at a time: a transaction for all of them."""
    bulk: float
    """16 KiB, one by one."""


class OutboxResults(msgspec.Struct, frozen=True):
    """What was measured."""

    processor_time: dict[str, list[OutboxFigures]]
    """By contender, for each round."""
    transaction_ms: list[float]
    """How long each transaction took by the clock, ascending."""


async def _measure(room: VirtualRoom, stored: tuple[str, ...], directory: Path) -> OutboxFigures:
    there, back = [
        (await room.join(name, identity=Identity.create())).channel(
            "bench", outbox=directory / f"{name}.db" if name in stored else None
        )
        for name in ("there", "back")
    ]
    await asyncio.sleep(1)
    small, bulk = bytes(SMALL_BYTES), bytes(BULK_BYTES)

    async def one_by_one(data: bytes, count: int) -> None:
        for _ in range(count):
            await there.send(data)

    async def at_once() -> None:
        for _ in range(MESSAGES // AT_ONCE):
            await asyncio.gather(*(there.send(small) for _ in range(AT_ONCE)))

    return OutboxFigures(
        one_by_one=await _processor_time(one_by_one(small, MESSAGES), there, back, MESSAGES),
        at_once=await _processor_time(at_once(), there, back, MESSAGES),
        bulk=await _processor_time(one_by_one(bulk, BULK_MESSAGES), there, back, BULK_MESSAGES),
    )


async def _processor_time(
    sending: Awaitable[None], there: Channel[Any], back: Channel[Any], count: int
) -> float:
    """Return microseconds per message, from the first send until nothing waits any more."""
    started = time.process_time()
    task = asyncio.ensure_future(sending)
    for _ in range(count):
        await back.receive()
    await task
    await there.flush()
    return (time.process_time() - started) / count * 1e6


async def _one_contender(stored: tuple[str, ...], directory: Path) -> OutboxFigures:
    async with virtual_room() as room:
        return await _measure(room, stored, directory)


def run_outbox_bench(rounds: int, progress: Callable[[str], None]) -> OutboxResults:
    """Measure every contender in every round, in turn, and then transactions alone."""
    results: dict[str, list[OutboxFigures]] = {name: [] for name in CONTENDERS}
    for number in range(1, rounds + 1):
        for name, stored in CONTENDERS.items():
            progress(f"round {number} of {rounds}: {name}")
            with tempfile.TemporaryDirectory() as directory:
                results[name].append(run_virtual(_one_contender(stored, Path(directory))))
    progress("transactions")
    return OutboxResults(results, _transaction_times())


def _transaction_times() -> list[float]:
    """Measure transactions that store one message each and settle the one before."""
    line = Line(PeerId("bench"), "bench")
    milliseconds: list[float] = []
    with tempfile.TemporaryDirectory() as directory:
        file = OutboxFile(Path(directory) / "bench.db", PeerId("bench"))
        try:
            for number in range(1, TRANSACTIONS + 1):
                changes = Changes(number, [(number, bytes(SMALL_BYTES))], [(line, number)])
                changes.settled[line] = number - 1
                changes.unneeded.append(number - 1)
                started = time.perf_counter()
                file.write(changes)
                milliseconds.append((time.perf_counter() - started) * 1000)
        finally:
            file.close()
    return sorted(milliseconds)


def tables_of(results: OutboxResults) -> tuple[Table, Table]:
    """Return the medians of the rounds, and the transactions."""
    contenders = results.processor_time
    figures = Table(
        title="processor time per message in µs, both ends together: medians", title_justify="left"
    )
    figures.add_column("messages")
    for name in contenders:
        figures.add_column(name, justify="right")
    for field in OutboxFigures.__struct_fields__:
        medians = [
            statistics.median(getattr(each, field) for each in rounds) for rounds in contenders.values()
        ]
        figures.add_row(field.replace("_", " "), *(f"{median:,.0f}" for median in medians))
    times = results.transaction_ms
    transactions = Table(title="one transaction in ms, by the clock", title_justify="left")
    for name in ("median", "p99", "longest"):
        transactions.add_column(name, justify="right")
    transactions.add_row(
        f"{statistics.median(times):.2f}", f"{times[int(len(times) * 0.99)]:.2f}", f"{times[-1]:.1f}"
    )
    return figures, transactions
