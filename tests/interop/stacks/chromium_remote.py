"""A page in headless Chromium, driven over the DevTools protocol."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from interop.script_remote import ScriptRemote

SCRIPT = Path(__file__).parent / "peer.js"
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--remote-debugging-port=0",
)
MAX_MESSAGE_BYTES = 256 * 1024


class Page:
    """One page; expressions may overlap."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}

    async def evaluate(self, expression: str) -> Any:  # noqa: ANN401
        """Return the value of an expression, or of the promise that it is."""
        number = next(self._numbers)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        parameters = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        await self._socket.send_json({"id": number, "method": "Runtime.evaluate", "params": parameters})
        result = await answer
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"])
        return result["result"].get("value")

    async def run(self, command: dict[str, Any]) -> Any:  # noqa: ANN401
        """Let the script carry out a command."""
        return await self.evaluate(f"peer({json.dumps(command)})")

    async def read(self) -> None:
        """Hand answers over until the page is gone."""
        async for message in self._socket:
            answer = json.loads(message.data)
            future = self._answers.pop(answer.get("id"), None)
            if future is not None and not future.cancelled():
                future.set_result(answer["result"])


@asynccontextmanager
async def chromium_remote() -> AsyncGenerator[ScriptRemote]:
    """Run a browser with one page."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert program is not None, "no Chromium on this machine: apt-get install chromium"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            program, *FLAGS, f"--user-data-dir={profile}", "about:blank", stderr=asyncio.subprocess.PIPE
        )
        try:
            async with aiohttp.ClientSession() as session:
                async with session.ws_connect(await _page_url(process, session), max_msg_size=0) as socket:
                    page = Page(socket)
                    reading = asyncio.create_task(page.read())
                    await page.evaluate(SCRIPT.read_text() + "; var peer = makePeer(RTCPeerConnection);")
                    yield ScriptRemote(page.run, MAX_MESSAGE_BYTES)
                await reading
        finally:
            process.kill()
            assert process.stderr is not None
            await process.stderr.read()
            await process.wait()


async def _page_url(process: asyncio.subprocess.Process, session: aiohttp.ClientSession) -> str:
    """Return where the debugger of the first page listens: the browser says its own address when it is ready."""
    assert process.stderr is not None
    while line := (await process.stderr.readline()).decode():
        _, found, url = line.partition("DevTools listening on ws://")
        if found:
            async with session.get(f"http://{url.partition('/')[0]}/json/list") as response:
                pages = await response.json()
            return next(str(page["webSocketDebuggerUrl"]) for page in pages if page["type"] == "page")
    raise RuntimeError("the browser ended at once")
