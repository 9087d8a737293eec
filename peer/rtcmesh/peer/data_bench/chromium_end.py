"""Ends in a page of headless Chromium, as a process: orders go in, and reports come out."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from .devtools import open_page

SCRIPT = Path(__file__).parent / "end.js"

FLAGS = ("--disable-features=WebRtcHideLocalIpsWithMdns",)

PAGE = """
const ends = new Map();
const report = (line) => tell(JSON.stringify(line));
const obey = async (order) => {
  const number = order.connection;
  if (!ends.has(number)) ends.set(number, makeEnd(RTCPeerConnection, number, report));
  const end = ends.get(number);
  if (order.type === "close") ends.delete(number);
  try { await end(order); } catch (error) { report({ type: "failed", why: String(error) }); }
};
"""


class Cost:
    """What the browser's processes use, all together."""

    def __init__(self, profile: str) -> None:
        self._profile = profile.encode()
        self._before = 0.0

    def usage(self) -> dict[str, Any]:
        """Return the report for `Settle`."""
        cpu = resident = 0.0
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # one that is ending
                if self._profile in (process / "cmdline").read_bytes():
                    fields = (process / "stat").read_text().rpartition(")")[2].split()
                    cpu += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
                    resident += int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        before, self._before = self._before, cpu
        return {"type": "usage", "cpu_seconds": cpu - before, "resident_bytes": int(resident)}


def _report(line: str) -> None:
    os.write(sys.stdout.fileno(), line.encode() + b"\n")


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=2**20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with open_page(FLAGS) as page:
        cost = Cost(page.profile)
        await page.bind("tell", _report)
        await page.evaluate(SCRIPT.read_text() + PAGE)
        while line := await reader.readline():
            if json.loads(line)["type"] == "settle":
                _report(json.dumps(cost.usage()))
            else:
                await page.evaluate(f"obey({line.decode()}); 0")  # a report says when it is done


if __name__ == "__main__":
    asyncio.run(_serve())
