"""Ends in a page of headless Chromium, as a process: orders go in, and reports come out, over the DevTools protocol."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

from .contenders import find_chromium

SCRIPT = Path(__file__).parent / "end.js"

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
    "--no-first-run",
    "--remote-debugging-port=0",
)

PAGE = """
const ends = new Map();
const report = (line) => tell(JSON.stringify(line));
const obey = async (text) => {
  const order = JSON.parse(text);
  const number = order.connection ?? 0;
  if (!ends.has(number)) ends.set(number, makeEnd(RTCPeerConnection, number, report));
  try { await ends.get(number)(order); } catch (error) { report({ type: "failed", why: String(error) }); }
};
"""


class Page:
    """One page of a browser; what it says comes out of standard output."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)

    async def call(self, method: str, **parameters: Any) -> None:  # noqa: ANN401
        """Call the DevTools; what comes of it is not waited for."""
        await self._socket.send_json({"id": next(self._numbers), "method": method, "params": parameters})

    async def evaluate(self, expression: str) -> None:
        """Run a script."""
        await self.call("Runtime.evaluate", expression=expression)

    async def pass_reports_on(self) -> None:
        """Write what the page reports, until it is gone."""
        async for message in self._socket:
            event = json.loads(message.data)
            if event.get("method") == "Runtime.bindingCalled":
                os.write(sys.stdout.fileno(), event["params"]["payload"].encode() + b"\n")


class Cost:
    """What the browser's processes use, all together."""

    def __init__(self, profile: str) -> None:
        self._profile = profile
        self._before = 0.0

    def usage(self) -> dict[str, Any]:
        """Return the report for `Settle`."""
        cpu = resident = 0.0
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # one that is ending
                if self._profile.encode() in (process / "cmdline").read_bytes():
                    fields = (process / "stat").read_text().rpartition(")")[2].split()
                    cpu += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
                    resident += int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        before, self._before = self._before, cpu
        return {"type": "usage", "cpu_seconds": cpu - before, "resident_bytes": int(resident)}


@asynccontextmanager
async def open_page(profile: str) -> AsyncGenerator[Page]:
    """Start a browser with a page that is ready for orders, and end it after the block."""
    program = find_chromium()
    if program is None:
        raise FileNotFoundError("there is no Chromium on this machine")
    browser = await asyncio.create_subprocess_exec(
        program, *FLAGS, f"--user-data-dir={profile}", "about:blank", stderr=asyncio.subprocess.PIPE
    )
    try:
        async with aiohttp.ClientSession() as session:
            url = await _page_url(browser, session)
            async with session.ws_connect(url, max_msg_size=0) as socket:
                page = Page(socket)
                reading = asyncio.create_task(page.pass_reports_on())
                await page.call("Runtime.enable")
                await page.call("Runtime.addBinding", name="tell")
                await page.evaluate(SCRIPT.read_text() + PAGE)
                yield page
                reading.cancel()
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


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=2**20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        cost = Cost(profile)
        async with open_page(profile) as page:
            while line := await reader.readline():
                if json.loads(line)["type"] == "settle":
                    os.write(sys.stdout.fileno(), json.dumps(cost.usage()).encode() + b"\n")
                else:
                    await page.evaluate(f"obey({json.dumps(line.decode())}); 0")


if __name__ == "__main__":
    asyncio.run(_serve())
