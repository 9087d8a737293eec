"""Transports between peers of one process, without sockets, ICE or DTLS: for tests of what is above a transport."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from rtcmesh.peer.errors import TransportFailed
from rtcmesh.peer.paths.transport import LOW_WATER_BYTES, TransportFactory, TransportSink
from rtcmesh.peer.stats import TransportStats
from rtcmesh.signaling.messages import IceServer


class MemoryNetwork:
    """A network of memory transports that can be cut and healed.

    What is on its way when a pair is cut waits and arrives after it is healed, as SCTP would retransmit it; datagrams
    are lost. Order and timing depend on nothing but the event loop's clock.
    """

    def __init__(self, *, delay: float = 0.01, bytes_per_second: float | None = None) -> None:
        self.delay = delay
        """One-way delay in seconds."""
        self.bytes_per_second = bytes_per_second
        """The rate at which each direction of a transport sends; None: at once."""
        self.transports: dict[int, MemoryTransport] = {}
        """The transports that are not closed, by their number."""
        self._made = 0
        self._cuts: set[tuple[str, str]] = set()

    def factory(self, name: str) -> TransportFactory:
        """Return what makes the transports of the peer with this name."""

        def make(sink: TransportSink, ice_servers: Sequence[IceServer]) -> MemoryTransport:
            del ice_servers
            self._made += 1
            transport = self.transports[self._made] = MemoryTransport(self, self._made, name, sink)
            return transport

        return make

    def cut(self, name: str, other: str, *, one_way: bool = False) -> None:
        """Let nothing pass between two peers, or from the first to the other; neither end is told."""
        self._cuts |= {(name, other)} if one_way else {(name, other), (other, name)}

    def heal(self, name: str, other: str, *, one_way: bool = False) -> None:
        """Let everything pass again, first what was on its way."""
        self._cuts -= {(name, other)} if one_way else {(name, other), (other, name)}
        for transport in self.transports.values():
            transport.resume()

    def strand(self, name: str) -> None:
        """Let the open transports of a peer carry nothing any more, as when its address has changed; no end is told."""
        for transport in list(self.transports.values()):
            if transport.name == name:
                transport.stranded = True
                if (remote := transport.remote) is not None:
                    remote.stranded = True

    def is_cut(self, name: str, other: str) -> bool:
        """Whether nothing passes from one peer to another."""
        return (name, other) in self._cuts


class MemoryTransport:
    """One end; see `rtcmesh.peer.paths.transport.Transport`. Descriptions and candidates are numbers in text."""

    def __init__(self, network: MemoryNetwork, number: int, name: str, sink: TransportSink) -> None:
        self._network = network
        self._loop = asyncio.get_running_loop()
        self.number = number
        self.name = name
        self._sink = sink
        self._remote_number: int | None = None
        self._has_candidate = False
        self._open = False
        self._closed = False
        self.stranded = False
        """Whether nothing that it sends arrives."""
        self._busy_until = 0.0
        self._buffered = 0
        self._on_the_way: deque[tuple[float, bytes]] = deque()

    @property
    def buffered_amount(self) -> int:
        """Bytes that the rate holds back; without a rate, those on their way."""
        return self._buffered

    async def create_offer(self) -> str:
        """Return the number of this transport, and trickle one candidate."""
        return self._describe()

    async def create_answer(self, offer: str) -> str:
        """Take the other end's number."""
        self._remote_number = self._parse(offer)
        return self._describe()

    async def accept_answer(self, answer: str) -> None:
        """Take the other end's number."""
        self._remote_number = self._parse(answer)
        self._open_both()

    async def add_candidate(self, candidate: str) -> None:
        """Take the other end's candidate; without it nothing opens."""
        if self._parse(candidate) == self._remote_number:
            self._has_candidate = True
            self._open_both()

    def send(self, packet: bytes) -> None:
        """Send in order."""
        if not self._open or self._closed:
            return
        due = self._due(packet)
        self._buffered += len(packet)
        self._on_the_way.append((due, packet))
        if self._network.bytes_per_second:
            self._loop.call_at(self._busy_until, self._sent, len(packet))
        self._loop.call_at(due, self._deliver)

    def send_datagram(self, datagram: bytes) -> None:
        """Send now or never."""
        remote = self.remote
        if self._open and not self._closed and remote and self._carries(remote):
            self._loop.call_at(self._due(datagram), remote.arrive_datagram, datagram)

    async def close(self) -> None:
        """Close; the other end learns of it unless the pair is cut."""
        if self._closed:
            return
        self._closed = True
        self._network.transports.pop(self.number, None)
        remote = self.remote
        if remote and self._carries(remote):
            self._loop.call_later(self._network.delay, remote.lose, "closed by the other end")

    def stats(self) -> TransportStats | None:
        """There are none."""
        return None

    # What the other end and the network do

    @property
    def remote(self) -> MemoryTransport | None:
        """The other end, as long as it is not closed."""
        return self._network.transports.get(self._remote_number or 0)

    def matches(self, number: int) -> bool:
        """Whether this end is ready to open with that one."""
        return not self._closed and self._has_candidate and self._remote_number == number

    def open(self) -> None:
        """Open, once."""
        if not self._open and not self._closed:
            self._open = True
            self._sink.transport_opened()

    def arrive(self, packet: bytes) -> None:
        """Take a packet that crossed the network."""
        if not self._closed:
            self.open()  # a packet may overtake the news that the other end is open
            self._sink.packet_received(packet)

    def arrive_datagram(self, datagram: bytes) -> None:
        """Take a datagram that crossed the network."""
        if self._open and not self._closed:
            self._sink.datagram_received(datagram)

    def lose(self, reason: str) -> None:
        """Fail, as when the other end closed."""
        if not self._closed:
            self._closed = True
            self._network.transports.pop(self.number, None)
            self._sink.transport_closed(reason)

    def resume(self) -> None:
        """Go on after a cut."""
        if self._on_the_way:
            self._loop.call_soon(self._deliver)

    # Rules

    def _carries(self, remote: MemoryTransport) -> bool:
        return not self.stranded and not self._network.is_cut(self.name, remote.name)

    def _due(self, packet: bytes) -> float:
        """Return when a packet that is sent now arrives, after what was sent before it."""
        rate = self._network.bytes_per_second
        self._busy_until = max(self._busy_until, self._loop.time()) + (len(packet) / rate if rate else 0)
        return self._busy_until + self._network.delay

    def _describe(self) -> str:
        self._loop.call_soon(self._gather)
        return str(self.number)

    def _gather(self) -> None:
        if not self._closed:
            self._sink.candidate_gathered(str(self.number))

    @staticmethod
    def _parse(text: str) -> int:
        try:
            return int(text)
        except ValueError:
            raise TransportFailed(f"not a memory transport: {text!r}") from None

    def _open_both(self) -> None:
        remote = self.remote
        if remote and self.matches(remote.number) and remote.matches(self.number):
            if self._network.is_cut(remote.name, self.name) or not self._carries(remote):
                return
            for end in (self, remote):
                self._loop.call_later(self._network.delay, end.open)

    def _deliver(self) -> None:
        remote = self.remote
        while self._on_the_way and self._on_the_way[0][0] <= self._loop.time() + 1e-9:
            if remote is not None and not self._carries(remote):
                return
            _, packet = self._on_the_way.popleft()
            if not self._network.bytes_per_second:
                self._sent(len(packet))
            if remote is not None:
                remote.arrive(packet)

    def _sent(self, size: int) -> None:
        was_high, self._buffered = self._buffered > LOW_WATER_BYTES, self._buffered - size
        if was_high and self._buffered <= LOW_WATER_BYTES and not self._closed:
            self._sink.transport_writable()
