"""Programs for scenarios: one answers every datagram, one asks again and again, and others misbehave."""

import asyncio
import sys
from typing import cast

from rtcmesh.netem.scenario.program import report

PORT = 7000
INTERVAL = 0.1


class _Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(data, addr)


class _Pings(asyncio.DatagramProtocol):
    received = 0

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.received += 1
        report("message")


async def serve() -> None:
    """Answer until cancelled."""
    await asyncio.get_running_loop().create_datagram_endpoint(_Echo, local_addr=("0.0.0.0", PORT))
    report("ready")
    await asyncio.Event().wait()


async def ask(address: str, count: str, port: str = str(PORT)) -> int:
    """Send so many pings; the exit status says whether any was answered."""
    loop = asyncio.get_running_loop()
    transport, pings = await loop.create_datagram_endpoint(_Pings, remote_addr=(address, int(port)))
    report("path", path="direct")
    for _ in range(int(count)):
        transport.sendto(b"ping")
        await asyncio.sleep(INTERVAL)
    transport.close()
    report("count", name="answers", count=pings.received)
    return 0 if pings.received else 1


async def ask_at(endpoint: str, count: str) -> int:
    """Ask at an address and a port."""
    address, port = endpoint.split(":")
    return await ask(address, count, port)


async def fail() -> None:
    """Raise."""
    raise RuntimeError("on purpose")


async def leave(status: str) -> None:
    """Exit as a process does."""
    sys.exit(int(status))


async def never_ready() -> None:
    """End without having been ready."""


async def hang() -> None:
    """Do nothing for ever."""
    await asyncio.Event().wait()


def no_coroutine() -> None:
    """Be called by mistake."""


async def spin() -> None:
    """Say so, and keep the loop busy for as long as anybody could wait."""
    sys.stdout.write("spinning\n")
    sys.stdout.flush()
    for _ in range(10**9):
        await asyncio.sleep(1e-9)
