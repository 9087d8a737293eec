"""Records how other stacks talk to this library, for the tests of `rtcmesh.peer.sctp` to replay: `make captures`.

Each conversation connects, opens channels from either side, sends what small messages there are, closes, and ends.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path

from interop.aiortc_remote import aiortc_remote
from interop.remote import Quirk, Reliability, Remote
from interop.scenarios import EARLY, OpenRemote, connected
from interop.stacks.chromium_remote import chromium_remote
from interop.stacks.libdatachannel_remote import libdatachannel_remote
from interop.stacks.node_remote import HERE as NODE_FOLDER
from interop.stacks.node_remote import node_remote
from rtcmesh.peer.bench.data.devtools import find_chromium
from rtcmesh.peer.sctp import Association
from support.captures import Capture, Packet, write
from support.endpoint import Endpoint

FIXTURES = Path(__file__).parents[1] / "peer" / "sctp" / "fixtures"
CONVERSATION: tuple[bytes | str, ...] = (b"x", "\u00f6", b"z" * 1300)
"""What crosses on each channel. The last message takes two packets."""


def _version_of_node_module(name: str) -> str:
    package: dict[str, str] = json.loads((NODE_FOLDER / "node_modules" / name / "package.json").read_text())
    return f"{name} {package['version']}"


def _version_of_chromium() -> str:
    program = find_chromium()
    assert program is not None
    return subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout.strip()


STACKS: dict[str, tuple[OpenRemote, Callable[[], str]]] = {
    "aiortc": (aiortc_remote, lambda: f"aiortc {version('aiortc')}"),
    "chromium": (chromium_remote, _version_of_chromium),
    "libdatachannel": (libdatachannel_remote, lambda: f"aiolibdatachannel {version('aiolibdatachannel')}"),
    "werift": (
        partial(node_remote, "werift", 64 * 1024, quirks=Quirk),
        lambda: _version_of_node_module("werift"),
    ),
}
"""How to run each stack, and how to learn which version of it that is."""


class Recorder(Endpoint):
    """An endpoint that keeps every packet above DTLS."""

    def __init__(self) -> None:
        super().__init__()
        self.packets: list[Packet] = []
        self._began_at = 0.0

    def association_made(self, association: Association) -> None:
        """Listen at both ends of the association that face the network."""
        super().association_made(association)
        receive, send = association.receive_packets, association.packets_to_send

        def receive_packets(packets: Sequence[bytes], now: float) -> None:
            self._keep(packets, now, received=True)
            receive(packets, now)

        def packets_to_send(now: float) -> list[bytes]:
            packets = send(now)
            self._keep(packets, now, received=False)
            return packets

        association.receive_packets = receive_packets  # type: ignore[method-assign]
        association.packets_to_send = packets_to_send  # type: ignore[method-assign]

    def _keep(self, packets: Sequence[bytes], now: float, *, received: bool) -> None:
        if packets and not self.packets:
            self._began_at = now
        self.packets += [Packet(now - self._began_at, received, bytes(packet)) for packet in packets]


async def _converse(endpoint: Endpoint, remote: Remote) -> None:
    """Open, send and close from either side."""
    for number, message in enumerate(CONVERSATION, 2):
        endpoint.send(EARLY, message)
        await endpoint.messages(EARLY, number)
    await remote.open("theirs", Reliability())
    await remote.open("theirs, unordered", Reliability(ordered=False, max_retransmits=1))
    for label in ("theirs", "theirs, unordered"):
        for number, message in enumerate(CONVERSATION, 1):
            await remote.send(label, message)
            await endpoint.messages(label, number)
    endpoint.close_channel(EARLY)
    await endpoint.wait_for(lambda: EARLY in endpoint.closed)
    await remote.close_channel("theirs")
    await endpoint.wait_for(lambda: "theirs" in endpoint.closed)
    await remote.close()
    await endpoint.wait_for(lambda: endpoint.reason is not None)


async def _record(stack: str, *, offering: bool) -> None:
    open_remote, find_version = STACKS[stack]
    recorder = Recorder()
    async with (
        asyncio.timeout(60),
        open_remote() as remote,
        connected(remote, offering=offering, endpoint=recorder) as endpoint,
    ):
        await _converse(endpoint, remote)
    origin = {
        "stack": find_version(),
        "role": "answers" if offering else "offers",
        "recorded": f"{datetime.now(UTC):%Y-%m-%d} by make captures (tests/interop/record.py)",
        "at": f"the association of rtcmesh {version('rtcmesh')}, above DTLS, over loopback",
    }
    path = FIXTURES / f"{stack}-{origin['role']}.pcapng"
    write(path, Capture(origin, recorder.packets))
    print(f"{path.name}: {len(recorder.packets)} packets, {path.stat().st_size} bytes")  # noqa: T201


async def main() -> None:
    """Record every stack, offering and answering."""
    FIXTURES.mkdir(exist_ok=True)
    for stack in STACKS:
        for offering in (False, True):
            await _record(stack, offering=offering)


if __name__ == "__main__":
    asyncio.run(main())
