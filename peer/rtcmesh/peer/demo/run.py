"""The demo: a server and peers as processes that talk, while paths are cut and the server is killed.

    all reach all directly ──cut two pairs──▶ relayed ──kill -9 the server and its relay──▶ out of reach
                                                                                                │ restart
    everything has arrived ◀──the rest──  direct again  ◀──heal──  relayed again  ◀─────────────┘

At every step a part of the messages and of the file is sent. At the end each message must have come once and in order.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from importlib import metadata
from pathlib import Path

import msgspec
from rich.console import Console
from rich.live import Live

from rtcmesh.peer.errors import MeshError

from .protocol import Cut, Heal, Listening, Order, PeerTask, Progress, Release, Report, ServerTask, Task
from .screen import table_of
from .verdict import Result, Step, pairs_to_cut, problems_in, ways_in

STOP_TIMEOUT = 10.0
_WORKER = "rtcmesh.peer.demo.worker"
STEPS = 5
"""In how many parts everything is sent."""

STEP_SECONDS = 2.0
"""How long the sending of one part takes."""

RELEASE_INTERVAL = 0.05


class DemoFailed(MeshError):
    """The demo could not be carried through: a process died or the time was up."""


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
        command = (sys.executable, "-m", _WORKER, msgspec.json.encode(task).decode())
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, process_group=0)
        return cls(name, process, changed)

    def order(self, order: Order) -> None:
        """Give an order; a process that has ended does not hear it."""
        assert self._process.stdin is not None
        if not self.ended:
            self._process.stdin.write(msgspec.json.encode(order) + b"\n")

    async def stop(self) -> None:
        """Tell the process to leave; kill it if it does not."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(STOP_TIMEOUT):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
        await self._reader

    async def kill(self) -> None:
        """End the process as `kill -9` does."""
        self._process.kill()
        await self._reader

    async def _read_reports(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.newest = msgspec.json.decode(line, type=Listening | Progress)
            self._changed.set()
        await self._process.wait()
        self.ended = True
        self._changed.set()


class Demo:
    """Runs the processes, does what is done to them, and judges what they report."""

    def __init__(self, *, peers: int, messages: int, file: Path) -> None:
        self.doing = "starting the server"
        """What goes on now."""
        self._peers = peers
        self._messages = messages
        self._file = file
        self._cut_pairs = pairs_to_cut(peers)
        self._changed = asyncio.Event()
        self._server: Worker | None = None
        self._workers: list[Worker] = []
        self._steps: list[Step] = []
        self._released = self._to_release = 0.0

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
                await self._start_everybody()
                releasing = asyncio.create_task(self._release_steadily())
                try:
                    await self._disturb()
                finally:
                    releasing.cancel()
                    await asyncio.wait([releasing])
            return self._judge(time.monotonic() - started)
        except TimeoutError:
            raise DemoFailed(f"not done after {timeout:g} s: {self.doing}") from None
        finally:
            await asyncio.gather(*(worker.stop() for worker in self._workers))
            if self._server is not None:
                await self._server.stop()

    async def start_server(self, port: int = 0) -> str:
        """Start the server and its relay; return its address when it listens."""
        server = self._server = await Worker.start("the server", ServerTask(port), self._changed)
        await self._wait_until(lambda: server.newest is not None)
        assert isinstance(server.newest, Listening)
        return server.newest.url

    async def _start_everybody(self) -> None:
        self._url = await self.start_server()
        self.doing = "the peers join and find direct paths"
        task = PeerTask(self._url, "demo", self._peers - 1, self._messages, str(self._file))
        for number in range(1, self._peers + 1):
            self._workers.append(await Worker.start(f"peer {number}", task, self._changed))

    async def _disturb(self) -> None:
        """Do what is done to the mesh, and wait each time until it shows at all who are concerned."""
        async with self._step("all reach all directly"):
            await self._wait_until(lambda: self._everybody_is("direct"))
        async with self._step("the cut pairs go over the relay"):
            self._cut()
            await self._wait_until(lambda: self._cut_pairs_are("relayed"))
        async with self._step("the server and its relay are killed: the cut pairs are out of reach"):
            assert self._server is not None
            await self._server.kill()
            await self._wait_until(lambda: self._cut_pairs_are(None), without_server=True)
        async with self._step("they are back: the cut pairs go over the relay again"):
            await self.start_server(int(self._url.rpartition(":")[2]))
            await self._wait_until(lambda: self._cut_pairs_are("relayed"))
        async with self._step("the direct paths are healed: all reach all directly again"):
            for worker in self._workers:
                worker.order(Heal())
            await self._wait_until(lambda: self._everybody_is("direct"))
        self.doing = "the last messages arrive"
        await self._wait_until(lambda: all(report.done for report in self.progress))

    @asynccontextmanager
    async def _step(self, name: str) -> AsyncGenerator[None]:
        """Send another part of everything while something happens, and go on when both are over."""
        self.doing = name
        started = time.monotonic()
        self._to_release = (len(self._steps) + 1) / STEPS
        yield
        self._steps.append(Step(name, round(time.monotonic() - started, 2)))
        await self._wait_until(lambda: self._released >= self._to_release, without_server=True)

    async def _release_steadily(self) -> None:
        growth = RELEASE_INTERVAL / STEP_SECONDS / STEPS
        while True:
            await asyncio.sleep(RELEASE_INTERVAL)
            if self._released < self._to_release:
                self._released = min(self._to_release, self._released + growth)
                for worker in self._workers:
                    worker.order(Release(self._released))
                self._changed.set()

    def _cut(self) -> None:
        peer_ids = [report.peer_id for report in self.progress]
        workers = {
            worker.newest.peer_id: worker for worker in self._workers if isinstance(worker.newest, Progress)
        }
        for pair in self._cut_pairs:
            one, other = (peer_ids[number - 1] for number in pair)
            workers[one].order(Cut(other))
            workers[other].order(Cut(one))

    def _everybody_is(self, path: str | None) -> bool:
        ways = ways_in(self.progress, self._cut_pairs)
        return len(ways) == self._peers * (self._peers - 1) and all(way.path == path for way in ways)

    def _cut_pairs_are(self, path: str | None) -> bool:
        return all(way.path == path for way in ways_in(self.progress, self._cut_pairs) if way.cut)

    async def _wait_until(self, condition: Callable[[], bool], *, without_server: bool = False) -> None:
        processes = (
            [*self._workers] if without_server or self._server is None else [self._server, *self._workers]
        )
        while not condition():
            for worker in processes:
                if worker.ended:
                    raise DemoFailed(f"{worker.name} ended early; its error stands above")
            self._changed.clear()
            await self._changed.wait()

    def _judge(self, seconds: float) -> Result:
        content = self._file.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        reports = self.progress
        problems = tuple(
            problems_in(
                reports, peers=self._peers, messages=self._messages, digest=digest, cut=self._cut_pairs
            )
        )
        ways = ways_in(reports, self._cut_pairs)
        return Result(
            ok=not problems,
            problems=problems,
            peers=self._peers,
            direct_connections=sum(way.path == "direct" for way in ways) // 2,
            cut_pairs=self._cut_pairs,
            steps=tuple(self._steps),
            ways=ways,
            messages_sent=sum(report.sent for report in reports),
            messages_received=sum(link.received for report in reports for link in report.links.values()),
            file=self._file.name,
            file_bytes=len(content),
            file_sha256=digest,
            seconds=round(seconds, 2),
        )


def default_file() -> Path:
    """Return the README of the source tree, or of the installed distribution (its METADATA contains it)."""
    readme = Path(__file__).parents[4] / "README.md"
    if readme.is_file():
        return readme
    files = metadata.files("rtcmesh") or []
    return next(Path(str(file.locate())) for file in files if file.name == "METADATA")


async def run_demo(console: Console, *, peers: int, messages: int, file: Path, timeout: float) -> Result:
    """Run the demo with a live table on the console. Raises `DemoFailed`."""
    demo = Demo(peers=peers, messages=messages, file=file)
    with Live(
        console=console, get_renderable=lambda: table_of(demo.progress, demo.doing), refresh_per_second=5
    ):
        return await demo.run(timeout)
