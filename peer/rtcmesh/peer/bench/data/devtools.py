"""A page of headless Chromium, driven over the DevTools protocol."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import tempfile
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--no-first-run",
    "--remote-debugging-port=0",
)


class ScriptFailed(Exception):
    """A script in the page raised; the text says what."""


def find_chromium() -> str | None:
    """Return the browser's program."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Page:
    """One page. Calls may overlap, and each waits for its own answer."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, profile: str) -> None:
        self.profile = profile
        """The folder that all processes of the browser have in their command lines."""
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._bindings: dict[str, Callable[[str], None]] = {}

    async def evaluate(self, expression: str) -> Any:  # noqa: ANN401
        """Return the value of an expression, or of the promise that it is. Raises `ScriptFailed`."""
        result = await self._call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in result:
            raise ScriptFailed(result["exceptionDetails"])
        return result["result"].get("value")

    async def bind(self, name: str, function: Callable[[str], None]) -> None:
        """Let scripts call a function with a text."""
        self._bindings[name] = function
        await self._call("Runtime.enable")
        await self._call("Runtime.addBinding", name=name)

    async def read(self) -> None:
        """Hand answers and calls of bindings over until the page is gone."""
        async for message in self._socket:
            said = json.loads(message.data)
            if said.get("method") == "Runtime.bindingCalled":
                self._bindings[said["params"]["name"]](said["params"]["payload"])
            future = self._answers.pop(said.get("id"), None)
            if future is not None and not future.cancelled():
                future.set_result(said["result"])

    async def _call(self, method: str, **parameters: Any) -> Any:  # noqa: ANN401
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        return await answer


@asynccontextmanager
async def open_page(flags: Sequence[str] = ()) -> AsyncGenerator[Page]:
    """Start a browser with an empty page, and end it after the block. Raises `FileNotFoundError` if there is none."""
    program = find_chromium()
    if program is None:
        raise FileNotFoundError("no Chromium on this machine: apt-get install chromium")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = await asyncio.create_subprocess_exec(
            *(program, *FLAGS, *flags, f"--user-data-dir={profile}", "about:blank"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,  # who waits for the end of ours must not wait for that of the browser
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with aiohttp.ClientSession() as session:
                async with session.ws_connect(await _page_url(browser, session), max_msg_size=0) as socket:
                    page = Page(socket, profile)
                    reading = asyncio.create_task(page.read())
                    yield page
                await reading
        finally:
            with suppress(ProcessLookupError):
                browser.kill()
            await browser.communicate()


async def _page_url(browser: asyncio.subprocess.Process, session: aiohttp.ClientSession) -> str:
    """Return where the debugger of the first page listens: the browser says where it is when it is ready."""
    assert browser.stderr is not None, "it was started with a pipe"
    while line := (await browser.stderr.readline()).decode():
        _, found, url = line.partition("DevTools listening on ws://")
        if found:
            async with session.get(f"http://{url.partition('/')[0]}/json/list") as response:
                pages = await response.json()
            return next(str(page["webSocketDebuggerUrl"]) for page in pages if page["type"] == "page")
    raise RuntimeError("the browser ended at once")
