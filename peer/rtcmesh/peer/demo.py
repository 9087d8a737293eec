"""The demo: a server and peers as separate processes that find each other, talk, and have every message checked."""

from __future__ import annotations

import asyncio
import hashlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path

import msgspec
from rich import box
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from rtcmesh.signaling.identity import PeerId, short

from . import demo_worker
from .demo_worker import Listening, PeerTask, Progress, Report, ServerTask, Task
from .errors import MeshError

STOP_TIMEOUT = 10.0


class DemoFailed(MeshError):
    """The demo could not be carried through: a process died or the time was up."""


class Result(msgspec.Struct, frozen=True):
    """What came out."""

    ok: bool
    problems: tuple[str, ...]
    peers: int
    direct_connections: int
    messages_sent: int
    messages_received: int
    file: str
    file_bytes: int
    file_sha256: str
    seconds: float


class Worker:
    """A process of the demo and its newest report."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, changed: asyncio.Event) -> None:
        self.name = name
        self.newest: Report | None = None
        self.ended = False
        self._process = process
        self._changed = changed
        self._reader = asyncio.create_task(self._read_reports(), name=f"reports of {name}")

    @classmethod
    async def start(cls, name: str, task: Task, changed: asyncio.Event) -> Worker:
        """Start a process that carries out the task; its errors go where ours go.

        A group of its own keeps Ctrl-C from it: the demo tells it to leave.
        """
        command = (sys.executable, "-m", demo_worker.__name__, msgspec.json.encode(task).decode())
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, process_group=0)
        return cls(name, process, changed)

    async def stop(self) -> None:
        """Tell the process to leave; kill it if it does not."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(STOP_TIMEOUT):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._reader

    async def _read_reports(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.newest = msgspec.json.decode(line, type=Listening | Progress)
            self._changed.set()
        self.ended = True
        self._changed.set()


class Demo:
    """Runs the processes and judges what they report."""

    def __init__(self, *, peers: int, messages: int, file: Path) -> None:
        self._peers = peers
        self._messages = messages
        self._file = file
        self._changed = asyncio.Event()
        self._server: Worker | None = None
        self._workers: list[Worker] = []

    @property
    def progress(self) -> list[Progress]:
        """The newest report of each peer, in the order of their ids."""
        reports = [worker.newest for worker in self._workers if isinstance(worker.newest, Progress)]
        return sorted(reports, key=lambda report: report.peer_id)

    async def run(self, timeout: float) -> Result:
        """Carry the demo through. Raises `DemoFailed`; no process is left behind in any case."""
        started = time.monotonic()
        try:
            async with asyncio.timeout(timeout):
                url = await self._start_server()
                task = PeerTask(url, "demo", self._peers - 1, self._messages, str(self._file))
                for number in range(1, self._peers + 1):
                    self._workers.append(await Worker.start(f"peer {number}", task, self._changed))
                await self._wait_until(
                    lambda: [report.done for report in self.progress] == [True] * self._peers
                )
            return self._judge(time.monotonic() - started)
        except TimeoutError:
            raise DemoFailed(f"not done after {timeout:g} s") from None
        finally:
            await asyncio.gather(*(worker.stop() for worker in self._workers))
            if self._server is not None:
                await self._server.stop()

    async def _start_server(self) -> str:
        server = self._server = await Worker.start("the signaling server", ServerTask(), self._changed)
        await self._wait_until(lambda: server.newest is not None)
        assert isinstance(server.newest, Listening)
        return server.newest.url

    async def _wait_until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            for worker in filter(None, (self._server, *self._workers)):
                if worker.ended:
                    raise DemoFailed(f"{worker.name} ended early; its error stands above")
            self._changed.clear()
            await self._changed.wait()

    def _judge(self, seconds: float) -> Result:
        content = self._file.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        reports = self.progress
        problems = tuple(problems_in(reports, peers=self._peers, messages=self._messages, digest=digest))
        links = [link for report in reports for link in report.links.values()]
        return Result(
            ok=not problems,
            problems=problems,
            peers=self._peers,
            direct_connections=sum(link.path == "direct" for link in links) // 2,
            messages_sent=sum(report.sent for report in reports),
            messages_received=sum(link.received for link in links),
            file=self._file.name,
            file_bytes=len(content),
            file_sha256=digest,
            seconds=round(seconds, 2),
        )


def problems_in(reports: Sequence[Progress], *, peers: int, messages: int, digest: str) -> Iterator[str]:
    """Compare what each peer has got with what the others sent; yield a sentence for everything that is not right."""
    if len(reports) != peers:
        yield f"{len(reports)} peers reported instead of {peers}"
    for report in reports:
        who = short(PeerId(report.peer_id))
        if set(report.links) != {other.peer_id for other in reports} - {report.peer_id}:
            yield f"{who} knows {len(report.links)} peers instead of the {peers - 1} others"
        if report.sent != messages * (peers - 1):
            yield f"{who} sent {report.sent} messages instead of {messages * (peers - 1)}"
        for other, link in report.links.items():
            sender = short(PeerId(other))
            if link.received != messages:
                yield f"{who} received {link.received} messages of {sender} instead of {messages}"
            if not link.in_order:
                yield f"{who} received messages of {sender} out of order"
    digests = [report.file_sha256 for report in reports if report.file_sha256]
    if digests != [digest]:
        yield f"the file arrived as {' and '.join(digests) or 'nothing'} instead of {digest}"


def table_of(reports: Sequence[Progress]) -> Table:
    """Return the live table: who reaches whom, by which path and how fast, and what was said."""
    title = "rtcmesh demo: path and round-trip time to each peer"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("peer", no_wrap=True)
    for number in range(1, len(reports) + 1):
        table.add_column(f"to {number}", justify="right", no_wrap=True)
    table.add_column("sent", justify="right", no_wrap=True)
    table.add_column("got", justify="right", no_wrap=True)
    table.add_column("file", no_wrap=True)
    for number, report in enumerate(reports, 1):
        received = sum(link.received for link in report.links.values())
        file = "got" if report.file_sha256 else "sent" if report.file_sent_to else ""
        table.add_row(
            f"{number} {short(PeerId(report.peer_id))}",
            *(_cell(report, other.peer_id) for other in reports),
            f"{report.sent:,}",
            f"{received:,}",
            file,
        )
    return table


def _cell(report: Progress, other: str) -> str:
    if other == report.peer_id:
        return ""
    link = report.links.get(other)
    if link is None or link.path is None:
        return "[dim]dials[/dim]"
    return link.path if link.rtt is None else f"{link.path}\n{link.rtt * 1000:.0f} ms"


def show_result(console: Console, result: Result) -> None:
    """Tell people what was proved, or what is wrong."""
    mark = "[green]✓[/green]" if result.ok else "[red]✗[/red]"
    proved = (
        f"{result.peers} processes, {result.direct_connections} direct connections",
        f"{result.messages_received:,} messages, each once and in order",
        f"{result.file}: {result.file_bytes:,} bytes, SHA-256 {result.file_sha256[:16]}… at both ends",
        f"all right after {result.seconds:g} s",
    )
    console.print()
    for line in proved if result.ok else result.problems:
        console.print(f"{mark} {escape(line)}")


def default_file() -> Path:
    """Return the README of the source tree, or of the installed distribution (its METADATA contains it)."""
    readme = Path(__file__).parents[3] / "README.md"
    if readme.is_file():
        return readme
    files = metadata.files("rtcmesh") or []
    return next(Path(str(file.locate())) for file in files if file.name == "METADATA")


async def run_demo(console: Console, *, peers: int, messages: int, file: Path, timeout: float) -> Result:
    """Run the demo with a live table on the console. Raises `DemoFailed`."""
    demo = Demo(peers=peers, messages=messages, file=file)
    with Live(console=console, get_renderable=lambda: table_of(demo.progress), refresh_per_second=5):
        return await demo.run(timeout)
