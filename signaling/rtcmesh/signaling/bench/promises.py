"""What the signaling servers promise in figures, measured in one run: each figure beside what is wanted.

Contenders take turns within a round, so that a machine that slows down slows all of them, and a figure is the median
of its rounds.
"""

import asyncio
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import msgspec
from rich.table import Table

from rtcmesh.signaling.errors import StoreUnreachable

from .bench import (
    Contender,
    Server,
    Work,
    contenders_on,
    cut_off,
    join_all,
    memory_server,
    percentiles,
    processes,
    rooms_of,
    send_signals,
    total_usage,
)
from .flood import run_flood
from .load import Tally

IDLE = Work(members=10, seconds=0)
BUSY = Work(rooms=20, members=10)
STEADY = Work(rooms=20, members=10, signals_per_second=400)
QUIET = Work(rooms=1, members=4)
SLOW = Work(rooms=1, members=4, slow_readers=1)
FLOODED = Work(rooms=20, members=10, signals_per_second=200, churn_per_second=10)

AT_MOST = "as many signals as are taken"
STEADILY = "400 signals a second"
IDLY = "idle members, 200 joins a second"
READING = "4 members that read"
NOT_READING = "4 members, one of which reads nothing"
FLOOD = "a flood from one address"

STORES = ("redis-server", "valkey-server")
START_TIMEOUT = 10.0


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What one kind of server did with one piece of work in one round."""

    round: int
    work: str
    server: str
    figures: dict[str, float]


class Promise(msgspec.Struct, frozen=True, kw_only=True):
    """One promise, and what was measured."""

    what: str
    measured: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def is_kept(self) -> bool:
        """Whether the figure is within its bound."""
        return (self.at_least is None or self.measured >= self.at_least) and (
            self.at_most is None or self.measured <= self.at_most
        )

    @property
    def wanted(self) -> str:
        """The bound in words."""
        return f"at least {self.at_least:g}" if self.at_most is None else f"at most {self.at_most:g}"


class PromiseResults(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run."""

    command: str
    date: str
    machine: str
    versions: dict[str, str]
    promises: tuple[Promise, ...]
    measured: tuple[Measured, ...]


def run_promises(
    *, rounds: int, seconds: float, idle: int, store: str | None, progress: Callable[[str], None]
) -> PromiseResults:
    """Measure everything, with so many idle members; without a store, one is started here.

    Raises `StoreUnreachable` if that cannot be.
    """
    with _store(store) as url:
        tasks = plan(rounds=rounds, seconds=seconds, idle=idle, store=url)
        measured = tuple(_measure_all(tasks, seconds, progress))
    return PromiseResults(
        command=" ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        date=datetime.now(UTC).date().isoformat(),
        machine=f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        versions={"python": platform.python_version()}
        | {name: metadata.version(name) for name in ("rtcmesh", "aiohttp", "redis", "python-socketio")},
        promises=tuple(judge(measured)),
        measured=measured,
    )


def tables_of(results: PromiseResults) -> Iterator[Table]:
    """Yield the promises, and what was measured of each piece of work."""
    table = Table(title="promises", title_justify="left")
    for name in ("promise", "measured", "wanted", "kept"):
        table.add_column(name, justify="right" if name == "measured" else "left")
    for promise in results.promises:
        table.add_row(
            promise.what, _format(promise.measured), promise.wanted, "yes" if promise.is_kept else "NO"
        )
    yield table
    for work in dict.fromkeys(one.work for one in results.measured):
        of_work = [one for one in results.measured if one.work == work]
        names = list(dict.fromkeys(name for one in of_work for name in one.figures))
        table = Table(title=work, title_justify="left")
        table.add_column("server")
        for name in names:
            table.add_column(name, justify="right")
        for server in dict.fromkeys(one.server for one in of_work):
            table.add_row(server, *(_spread(_values(of_work, work, server, name)) for name in names))
        yield table


def write_to(folder: Path, results: PromiseResults) -> None:
    """Write a page and the raw figures, with the date in their names."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"signaling-{results.date}"
    (folder / f"{stem}.json").write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1))
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    lines = [
        "# Signaling, in figures",
        "",
        f"`{results.command}`, {results.date}, {results.machine}. {versions}.",
        "",
        "Servers, store and peers share the machine. Median of all rounds (least to most), contenders in turn.",
    ]
    for table in tables_of(results):
        cells = [[str(cell) for cell in column.cells] for column in table.columns]
        headers = [str(column.header) for column in table.columns]
        lines += ["", f"## {table.title}", "", _row(headers), _row(["---"] * len(headers))]
        lines += [_row(row) for row in zip(*cells, strict=True)]
    (folder / f"{stem}.md").write_text("\n".join(lines) + "\n")


@dataclass(frozen=True)
class Task:
    """One piece of work for one contender."""

    round: int
    name: str
    contender: Contender
    work: Work


def plan(*, rounds: int, seconds: float, idle: int, store: str) -> tuple[Task, ...]:
    """Return all that is measured of servers and peers, in order."""
    memory = memory_server()
    alone, pair, rival, rivals = contenders_on(store)
    busy, steady, quiet, slow = (
        msgspec.structs.replace(work, seconds=factor * seconds)
        for work, factor in ((BUSY, 1), (STEADY, 1), (QUIET, 3), (SLOW, 3))
    )
    tasks: list[Task] = []
    for number in range(1, rounds + 1):
        tasks += [Task(number, AT_MOST, contender, busy) for contender in (memory, alone, pair)]
        tasks += [Task(number, STEADILY, contender, steady) for contender in (memory, pair, rivals)]
    tasks += [Task(1, AT_MOST, contender, busy) for contender in (rival, rivals)]
    idlers = msgspec.structs.replace(IDLE, rooms=max(1, idle // IDLE.members))
    tasks += [Task(1, IDLY, contender, idlers) for contender in (memory, pair)]
    return (*tasks, Task(1, READING, memory, quiet), Task(1, NOT_READING, memory, slow))


def measure(task: Task) -> Measured:
    """Let the contender do the work."""
    with processes(task.contender) as servers:
        figures = asyncio.run(_figures(task.work, task.contender, servers))
    server = f"{task.contender.name} x{task.contender.servers}"
    return Measured(round=task.round, work=task.name, server=server, figures=figures)


def _measure_all(
    tasks: Sequence[Task], seconds: float, progress: Callable[[str], None]
) -> Iterator[Measured]:
    for task in tasks:
        progress(f"{task.name}: {task.contender.name} x{task.contender.servers}, round {task.round}")
        yield measure(task)
    progress(FLOOD)
    flood = run_flood(msgspec.structs.replace(FLOODED, seconds=4 * seconds))
    for name, row in (("quiet", flood.quiet), ("flooded", flood.flooded)):
        figures = {
            "p50 ms": row.signals.p50,
            "p99 ms": row.signals.p99,
            "join p50 ms": row.joins.p50,
            "join p99 ms": row.joins.p99,
            "CPU": row.cpu,
            "turned away/s": row.turned_away_per_second,
        }
        yield Measured(round=1, work=FLOOD, server=name, figures=figures)


async def _figures(work: Work, contender: Contender, servers: list[Server]) -> dict[str, float]:
    tally = Tally()
    rooms = rooms_of(work, contender, servers, tally)
    peers = [peer for room in rooms for peer in room]
    before = total_usage(servers)
    async with AsyncExitStack() as stack:
        await join_all(peers, work, stack)
        joins, resident = (
            percentiles(tally.joins),
            total_usage(servers).resident_bytes - before.resident_bytes,
        )
        figures = {"join p50 ms": joins.p50, "join p99 ms": joins.p99}
        if not work.seconds:
            return figures | {"KB per connection": resident / 1024 / len(peers)}
        ours = time.process_time()
        signals = await send_signals(work, rooms, tally, servers)
        ours = time.process_time() - ours
        slow = await cut_off(servers)
    delivery = percentiles(tally.deliveries)
    return figures | {
        "delivered/s": signals.count / signals.seconds,
        "delivered per CPU s": signals.count / signals.cpu_seconds,
        "p50 ms": delivery.p50,
        "p99 ms": delivery.p99,
        "share of the peers in the CPU": ours / (ours + signals.cpu_seconds),
        "cut off": slow,
    }


def judge(measured: Sequence[Measured]) -> Iterator[Promise]:
    """Yield every promise with what was measured."""

    def median(work: str, server: str, figure: str) -> float:
        return statistics.median(_values(measured, work, server, figure))

    memory, pair, rivals = "rtcmesh, memory x1", "rtcmesh, store x2", "python-socketio x2"
    kilobytes, rate, efficiency = "KB per connection", "delivered/s", "delivered per CPU s"
    yield Promise(
        what="KB per idle connection, in memory", measured=median(IDLY, memory, kilobytes), at_most=20
    )
    yield Promise(
        what="KB per idle connection, two servers on a store",
        measured=median(IDLY, pair, kilobytes),
        at_most=20,
    )
    in_memory, in_store = median(AT_MOST, memory, rate), median(AT_MOST, pair, rate)
    yield Promise(what="signals/s, one server in memory", measured=in_memory, at_least=10_000)
    yield Promise(what="signals/s, two servers on a store", measured=in_store, at_least=6_000)
    yield Promise(what="the latter as a part of the former", measured=in_store / in_memory, at_least=0.6)
    yield Promise(
        what="join p99 at 200 joins/s, ms", measured=median(IDLY, memory, "join p99 ms"), at_most=50
    )
    for work in (AT_MOST, STEADILY):
        ratio = median(work, pair, efficiency) / median(work, rivals, efficiency)
        what = f"signals per CPU second, times python-socketio: {work}"
        yield Promise(what=what, measured=ratio, at_least=2)
    yield Promise(
        what="connections a second in the flood, or it was none",
        measured=median(FLOOD, "flooded", "turned away/s"),
        at_least=500,
    )
    for what, figure, loud, quiet in (
        ("p99 of signals beside a flood, times quiet", "p99 ms", (FLOOD, "flooded"), (FLOOD, "quiet")),
        ("p99 of joins beside a flood, times quiet", "join p99 ms", (FLOOD, "flooded"), (FLOOD, "quiet")),
        (
            "p99 beside a member that reads nothing, times quiet",
            "p99 ms",
            (NOT_READING, memory),
            (READING, memory),
        ),
    ):
        yield Promise(what=what, measured=median(*loud, figure) / median(*quiet, figure), at_most=2)


def _values(measured: Sequence[Measured], work: str, server: str, figure: str) -> list[float]:
    return [
        one.figures[figure]
        for one in measured
        if one.work == work and one.server == server and figure in one.figures
    ]


@contextmanager
def _store(url: str | None) -> Generator[str, None, None]:
    """Yield a store's URL; start one if none is given."""
    if url is not None:
        yield url
        return
    program = next(filter(None, map(shutil.which, STORES)), None)
    if program is None:
        raise StoreUnreachable(f"there is neither a --redis URL nor a program {' or '.join(STORES)}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with tempfile.TemporaryDirectory(prefix="rtcmesh-bench-") as folder:
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        process = subprocess.Popen(  # noqa: S603
            [*command, "--maxmemory-policy", "noeviction"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait_for(port)
            yield f"redis://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise StoreUnreachable("the store that was started does not answer") from None
            time.sleep(0.05)
        else:
            return


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _spread(values: Sequence[float]) -> str:
    if not values:
        return ""
    median = _format(statistics.median(values))
    return median if len(values) == 1 else f"{median} ({_format(min(values))} to {_format(max(values))})"


def _format(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
