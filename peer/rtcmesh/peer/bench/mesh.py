"""How fast a mesh is, side by side with its bare transport in one run: what the session costs.

Both ends live in this one process and share its processor, over the loopback interface, so figures compare with one
another and with nothing else.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import msgspec
from rich.table import Table

from rtcmesh.peer.channel import Channel
from rtcmesh.peer.mesh import Mesh
from rtcmesh.peer.paths.transport import HIGH_WATER_BYTES
from rtcmesh.peer.webrtc import WebRtcTransport
from rtcmesh.signaling.config import ServerConfig
from rtcmesh.signaling.server import serve

SMALL_BYTES, SMALL_COUNT = 64, 5_000
BULK_BYTES, BULK_COUNT = 16 * 1024, 400
PINGS = 300


class Figures(msgspec.Struct, frozen=True):
    """What one contender did in one round."""

    connect_seconds: float
    small_per_second: float
    bulk_mbit_per_second: float
    ping_p50_ms: float
    ping_p99_ms: float


class Flow(Protocol):
    """A reliable, ordered way from one end to the other, and back."""

    async def send(self, data: bytes) -> None:
        """Send there, waiting while too much is under way."""
        ...

    async def receive(self) -> bytes:
        """Return what arrives there."""
        ...

    async def send_back(self, data: bytes) -> None:
        """Send back."""
        ...

    async def receive_back(self) -> bytes:
        """Return what arrives back."""
        ...


class MeshFlow:
    """Two meshes, their channels and everything below."""

    def __init__(self, there: Mesh, back: Mesh) -> None:
        self._there: Channel[bytes] = there.channel("bench", type=bytes)
        self._back: Channel[bytes] = back.channel("bench", type=bytes)

    async def send(self, data: bytes) -> None:
        """See `Flow`."""
        await self._there.send(data)

    async def receive(self) -> bytes:
        """See `Flow`."""
        return (await self._back.receive()).data

    async def send_back(self, data: bytes) -> None:
        """See `Flow`."""
        await self._back.send(data)

    async def receive_back(self) -> bytes:
        """See `Flow`."""
        return (await self._there.receive()).data


class TransportEnd:
    """One bare transport and what it has received."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.transport = WebRtcTransport(self, ())
        self._packets: asyncio.Queue[bytes] = asyncio.Queue()
        self._writable = asyncio.Event()

    async def send(self, data: bytes) -> None:
        """Send a packet once there is room."""
        while self.transport.buffered_amount >= HIGH_WATER_BYTES:
            self._writable.clear()
            await self._writable.wait()
        self.transport.send(data)

    async def receive(self) -> bytes:
        """Return the next packet."""
        return await self._packets.get()

    def transport_opened(self) -> None:
        """See `TransportSink`."""
        self.opened.set()

    def candidate_gathered(self, candidate: str) -> None:
        """See `TransportSink`; without servers all candidates are in the description."""

    def packet_received(self, packet: bytes) -> None:
        """See `TransportSink`."""
        self._packets.put_nowait(packet)

    def datagram_received(self, datagram: bytes) -> None:
        """See `TransportSink`; none are sent."""

    def transport_writable(self) -> None:
        """See `TransportSink`."""
        self._writable.set()

    def transport_closed(self, reason: str) -> None:
        """See `TransportSink`; a closed transport shows as a bench that does not end."""


class TransportFlow:
    """Two bare transports; one packet carries one message."""

    def __init__(self, there: TransportEnd, back: TransportEnd) -> None:
        self.send, self.receive = there.send, back.receive
        self.send_back, self.receive_back = back.send, there.receive


@asynccontextmanager
async def mesh_flow(url: str) -> AsyncGenerator[Flow]:
    """Connect two meshes over a signaling server."""
    async with Mesh.join(url, room="bench") as there, Mesh.join(url, room="bench") as back:
        await asyncio.gather(there.wait_for_peers(1), back.wait_for_peers(1))
        yield MeshFlow(there, back)


@asynccontextmanager
async def transport_flow(url: str) -> AsyncGenerator[Flow]:
    """Connect two transports by hand."""
    del url
    there, back = TransportEnd(), TransportEnd()
    try:
        answer = await back.transport.create_answer(await there.transport.create_offer())
        await there.transport.accept_answer(answer)
        await asyncio.gather(there.opened.wait(), back.opened.wait())
        yield TransportFlow(there, back)
    finally:
        await asyncio.gather(there.transport.close(), back.transport.close())


CONTENDERS = {"mesh": mesh_flow, "bare transport": transport_flow}


async def run_bench(rounds: int, progress: Callable[[str], None]) -> dict[str, list[Figures]]:
    """Measure every contender in every round, in turn, so that a machine that slows down slows all of them."""
    results: dict[str, list[Figures]] = {name: [] for name in CONTENDERS}
    async with serve(ServerConfig(host="127.0.0.1", port=0)) as server:
        for number in range(1, rounds + 1):
            for name, connect in CONTENDERS.items():
                progress(f"round {number} of {rounds}: {name}")
                results[name].append(await _measure(connect(server.url)))
    return results


async def _measure(connecting: AbstractAsyncContextManager[Flow]) -> Figures:
    started = time.perf_counter()
    async with connecting as flow:
        connected = time.perf_counter() - started
        pings = sorted(await _ping(flow))
        small = await _transfer(flow, bytes(SMALL_BYTES), SMALL_COUNT)
        bulk = await _transfer(flow, bytes(BULK_BYTES), BULK_COUNT)
    return Figures(
        connect_seconds=connected,
        small_per_second=SMALL_COUNT / small,
        bulk_mbit_per_second=BULK_COUNT * BULK_BYTES * 8 / bulk / 1e6,
        ping_p50_ms=statistics.median(pings) * 1000,
        ping_p99_ms=pings[int(len(pings) * 0.99)] * 1000,
    )


async def _transfer(flow: Flow, data: bytes, count: int) -> float:
    """Return the seconds from the first send to the last arrival."""

    async def send() -> None:
        for _ in range(count):
            await flow.send(data)

    started = time.perf_counter()
    sending = asyncio.create_task(send())
    for _ in range(count):
        await flow.receive()
    await sending
    return time.perf_counter() - started


async def _ping(flow: Flow) -> list[float]:
    seconds: list[float] = []
    for _ in range(PINGS):
        started = time.perf_counter()
        await flow.send(b"ping")
        await flow.receive()
        await flow.send_back(b"pong")
        await flow.receive_back()
        seconds.append(time.perf_counter() - started)
    return seconds


def table_of(results: dict[str, list[Figures]]) -> Table:
    """Return medians of the rounds, with the ratio of the first contender to the last."""
    names = list(results)
    table = Table(title="medians; both ends in one process, over loopback", title_justify="left")
    table.add_column("figure")
    for name in names:
        table.add_column(name, justify="right")
    table.add_column(f"{names[0]} / {names[-1]}", justify="right")
    for field in Figures.__struct_fields__:
        medians = [statistics.median(getattr(figures, field) for figures in results[name]) for name in names]
        table.add_row(field.replace("_", " "), *map(_format, medians), f"{medians[0] / medians[-1]:.2f}")
    return table


def _format(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
