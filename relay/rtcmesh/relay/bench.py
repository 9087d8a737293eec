"""How fast a relay is: frames and bytes a second, and how long a small frame waits beside bulk.

The relay is a process of its own and its peers share another one, over the loopback interface of this machine. With
few cores the peers take as much of the processor as the relay does, so figures compare with one another only.
"""

import asyncio
import multiprocessing
import os
import statistics
import struct
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from multiprocessing.connection import Connection as Pipe

import msgspec
from rich.table import Table

from rtcmesh.signaling.bench.load import running
from rtcmesh.signaling.identity import Identity, PeerId
from rtcmesh.signaling.ticket import Ticket, TicketKey, issue

from .backlog import HIGH_WATER_BYTES
from .config import RelayServerConfig
from .frames import Urgency
from .link import RelayLink

SIZES = (64, 1024, 16 * 1024)
PROBE_INTERVAL = 0.01
UNDER_WAY_BYTES = 1_048_576
"""What each sender has on the way at most: less than the relay holds for one pair, so that nothing is refused."""

_ROOM = "bench"
_PROBE = struct.Struct("!d56x")


class Throughput(msgspec.Struct, frozen=True):
    """What went through the relay with payloads of one size."""

    payload_bytes: int
    pairs: int
    frames_per_second: float
    mbytes_per_second: float


class Delay(msgspec.Struct, frozen=True):
    """How long small frames took to a receiver; `loaded` while bulk to the same receiver saturated the relay."""

    urgency: str
    loaded: bool
    p50_ms: float
    p99_ms: float


class RelayResults(msgspec.Struct, frozen=True):
    """All figures of one run."""

    cores: int
    throughput: tuple[Throughput, ...]
    delay: tuple[Delay, ...]


class _End:
    """One peer and its link."""

    def __init__(self, url: str, key: TicketKey) -> None:
        identity = Identity.create()
        self.peer_id: PeerId = identity.peer_id
        self.on_frame: Callable[[bytes], None] = _ignore
        self.up = asyncio.Event()
        self.writable = asyncio.Event()
        self.link = RelayLink(url, identity=identity, sink=self)
        ticket = Ticket(room=_ROOM, peer_id=identity.peer_id, expires_at=time.time() + 3600)
        self.link.authorize(issue(key, ticket))

    def relay_up(self, link: RelayLink) -> None:
        """See `RelaySink`."""
        self.up.set()

    def relay_lost(self, link: RelayLink, reason: str) -> None:
        """See `RelaySink`; in the middle it shows as a bench that does not end."""

    def frame_received(self, link: RelayLink, sender: PeerId, payload: bytes) -> None:
        """See `RelaySink`."""
        self.on_frame(payload)

    def peer_gone(self, link: RelayLink, peer_id: PeerId, reason: str) -> None:
        """See `RelaySink`; it happens at the end of each measurement."""

    def frames_refused(self, link: RelayLink, peer_id: PeerId, count: int, reason: str) -> None:
        """See `RelaySink`; nothing is refused while less is under way than the relay holds."""

    def relay_writable(self, link: RelayLink) -> None:
        """See `RelaySink`."""
        self.writable.set()


class _Flow:
    """Sends frames from one end to another as fast as they arrive, with a bounded amount under way."""

    def __init__(self, sender: _End, receiver: _End, size: int, urgency: Urgency) -> None:
        self.received = 0
        self._sender = sender
        self._receiver = receiver
        self._payload = bytes(size)
        self._urgency = urgency
        self._window = max(UNDER_WAY_BYTES // (size + 256), 8)
        self._sent = 0
        self._arrived = asyncio.Event()

    def arrived(self) -> None:
        """Note that a frame of the flow is there."""
        self.received += 1
        self._arrived.set()

    async def run(self) -> None:
        """Send until cancelled."""
        link, to = self._sender.link, self._receiver.peer_id
        while True:
            if self._sent - self.received >= self._window:
                self._arrived.clear()
                await self._arrived.wait()
            elif link.buffered_amount >= HIGH_WATER_BYTES:
                self._sender.writable.clear()
                await self._sender.writable.wait()
            elif link.send(to, self._payload, self._urgency):
                self._sent += 1


async def run_relay_bench(seconds: float = 3.0, pairs: int = 4) -> RelayResults:
    """Measure for `seconds` with each size of payload, and as long for each delay.

    Cancelling ends the processes that were started.
    """
    return await asyncio.to_thread(_in_processes, seconds, pairs)


def table_of(results: RelayResults) -> tuple[Table, Table]:
    """Return the figures for people: what goes through, and how long it takes."""
    throughput = Table(title=f"relay: throughput on {results.cores} cores")
    for name in ("payload", "pairs", "frames/s", "MB/s"):
        throughput.add_column(name, justify="right")
    for row in results.throughput:
        figures = (f"{row.frames_per_second:,.0f}", f"{row.mbytes_per_second:.1f}")
        throughput.add_row(f"{row.payload_bytes} B", str(row.pairs), *figures)
    delay = Table(title="relay: delay of a 64 B frame")
    for name in ("class", "beside", "p50", "p99"):
        delay.add_column(name, justify="right")
    for entry in results.delay:
        beside = "bulk" if entry.loaded else "nothing"
        delay.add_row(entry.urgency, beside, f"{entry.p50_ms:.2f} ms", f"{entry.p99_ms:.2f} ms")
    return throughput, delay


def _in_processes(seconds: float, pairs: int) -> RelayResults:
    context = multiprocessing.get_context("spawn")
    secret = os.urandom(32)
    here, there = context.Pipe()
    relay = context.Process(target=_serve, args=(secret, there), daemon=True)
    relay.start()
    there.close()
    try:
        url: str = here.recv()
        return asyncio.run(_measure(url, secret, seconds, pairs))
    finally:
        here.send(None)
        relay.join(10)
        relay.kill()


def _serve(secret: bytes, pipe: Pipe) -> None:
    async def main() -> None:
        from .server import serve

        async with serve(TicketKey.from_secret(secret), RelayServerConfig(port=0)) as server:
            pipe.send(server.url)
            await asyncio.to_thread(pipe.recv)

    asyncio.run(main())


async def _measure(url: str, secret: bytes, seconds: float, pairs: int) -> RelayResults:
    key = TicketKey.from_secret(secret)
    throughput = [await _throughput(url, key, size, seconds, pairs) for size in SIZES]
    delay = [
        await _delay(url, key, urgency, seconds, loaded=loaded)
        for loaded in (False, True)
        for urgency in (Urgency.CONTROL, Urgency.INTERACTIVE)
    ]
    return RelayResults(os.cpu_count() or 1, tuple(throughput), tuple(delay))


async def _throughput(url: str, key: TicketKey, size: int, seconds: float, pairs: int) -> Throughput:
    async with _ends(url, key, 2 * pairs) as ends, AsyncExitStack() as stack:
        flows: list[_Flow] = []
        for sender, receiver in zip(ends[::2], ends[1::2], strict=True):
            flow = _Flow(sender, receiver, size, Urgency.BULK)
            receiver.on_frame = _calling(flow.arrived)
            flows.append(flow)
            await stack.enter_async_context(running(flow.run()))
        await asyncio.sleep(seconds / 4)
        started_at, before = time.perf_counter(), sum(flow.received for flow in flows)
        await asyncio.sleep(seconds)
        received = sum(flow.received for flow in flows) - before
        rate = received / (time.perf_counter() - started_at)
    return Throughput(size, pairs, rate, rate * size / 1e6)


async def _delay(url: str, key: TicketKey, urgency: Urgency, seconds: float, *, loaded: bool) -> Delay:
    delays: list[float] = []
    first = asyncio.Event()
    async with _ends(url, key, 3) as (prober, loader, receiver), AsyncExitStack() as stack:
        flow = _Flow(loader, receiver, SIZES[-1], Urgency.BULK)

        def arrived(payload: bytes) -> None:
            if len(payload) == SIZES[-1]:
                flow.arrived()
            else:
                delays.append(time.perf_counter() - _PROBE.unpack(payload)[0])
                first.set()

        receiver.on_frame = arrived
        if loaded:
            await stack.enter_async_context(running(flow.run()))
        ends_at = time.perf_counter() + seconds
        while time.perf_counter() < ends_at:
            prober.link.send(receiver.peer_id, _PROBE.pack(time.perf_counter()), urgency)
            await asyncio.sleep(PROBE_INTERVAL)
        await first.wait()
    percentiles = statistics.quantiles(delays, n=100, method="inclusive") if len(delays) > 1 else delays * 99
    return Delay(urgency.name.lower(), loaded, percentiles[49] * 1000, percentiles[98] * 1000)


@asynccontextmanager
async def _ends(url: str, key: TicketKey, count: int) -> AsyncGenerator[list[_End], None]:
    """Connect peers, and return when the relay has let all of them in."""
    ends = [_End(url, key) for _ in range(count)]
    async with AsyncExitStack() as stack:
        for end in ends:
            await stack.enter_async_context(running(end.link.run()))
            await end.up.wait()
        for end in ends:
            welcomed = asyncio.Event()
            end.on_frame = _calling(welcomed.set)
            end.link.send(end.peer_id, b"", Urgency.CONTROL)
            await welcomed.wait()
        yield ends


def _calling(callback: Callable[[], None]) -> Callable[[bytes], None]:
    return lambda _: callback()


def _ignore(_: bytes) -> None:
    pass
