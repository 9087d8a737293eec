"""A page in headless Chromium as the other end."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from interop.script_remote import ScriptRemote
from rtcmesh.peer.data_bench.devtools import open_page

SCRIPT = Path(__file__).parent / "peer.js"
MAX_MESSAGE_BYTES = 256 * 1024


@asynccontextmanager
async def chromium_remote() -> AsyncGenerator[ScriptRemote]:
    """Run a browser with one page."""
    async with open_page() as page:

        async def run(command: dict[str, Any]) -> Any:  # noqa: ANN401
            return await page.evaluate(f"peer({json.dumps(command)})")

        await page.evaluate(SCRIPT.read_text() + "; var peer = makePeer(RTCPeerConnection);")
        yield ScriptRemote(run, MAX_MESSAGE_BYTES)
