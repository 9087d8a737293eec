"""A UDP proxy: whoever sends to it reaches one target over impaired links, and gets the answers over others."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

from rtcmesh.netem.models.fate import Fate
from rtcmesh.netem.packet import Endpoint, Kind, Packet
from rtcmesh.netem.virtual.network import Tap

from .runner import LinkRunner, send_along

MAX_FLOWS = 1024
"""How many senders are told apart; the one that was silent for the longest time is forgotten for a newcomer."""

MAX_EARLY = 64
"""Datagrams of a new sender that wait for its socket to be there; later ones are dropped, and counted."""

LOOPBACK = "127.0.0.1"

_sequence = itertools.count()


@dataclass(slots=True)
class UdpCounters:
    """What became of datagrams at the proxy itself; the counters of the links say the rest."""

    there: int = 0
    """Sent on to the target."""
    back: int = 0
    """Sent back to their senders."""
    refused: int = 0
    """Sent to a port that nobody had, as ICMP told."""
    early: int = 0
    """Dropped, since they came before the socket of a new sender was there, and too many."""
    late: int = 0
    """Dropped, since their flow was forgotten, or anew, when they arrived."""
    parted: int = 0
    """Dropped while the hosts were parted."""
    flows_forgotten: int = 0


class UdpProxy:
    """A socket on loopback; every sender has a socket of its own towards the target, as behind a NAT.

    Use it as an async context manager. `sock` is a bound UDP socket, by default one on any free port of loopback.
    `names` are the hosts that the senders and the target stand for; `tap` is told of every datagram.
    """

    def __init__(
        self,
        target: Endpoint,
        there: Sequence[LinkRunner],
        back: Sequence[LinkRunner],
        *,
        sock: socket.socket | None = None,
        names: tuple[str, str] = ("", ""),
        tap: Tap | None = None,
    ) -> None:
        self.target = target
        self.counters = UdpCounters()
        self.is_cut_there = False
        """Whether what is for the target is dropped."""
        self.is_cut_back = False
        self._source, self._destination = names
        self._tap = tap
        self._there = there
        self._back = back
        self._socket = sock or bound_udp_socket()
        self._transport: asyncio.DatagramTransport | None = None
        self._flows: OrderedDict[Endpoint, _Flow] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def endpoint(self) -> Endpoint:
        """Where it is."""
        address, port = self._socket.getsockname()[:2]
        return Endpoint(address, port)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: _Front(self), sock=self._socket)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.rebind()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._transport is not None:
            self._transport.close()
        else:
            self._socket.close()
        await asyncio.sleep(0)  # transports close in the next round of the loop

    def rebind(self) -> None:
        """Forget all flows: the next datagram of each sender comes to the target from another port."""
        for flow in self._flows.values():
            flow.close()
        self._flows.clear()

    def take(self, data: bytes, sender: Endpoint) -> None:
        """Take in a datagram for the target."""
        flow = self._flows.get(sender) or self._new_flow(sender)
        self._flows.move_to_end(sender)
        packet = Packet(next(_sequence), Kind.UDP, sender, self.target, data, self._source)
        if self.is_cut_there:
            self._drop(packet)
            return
        self._tell(packet, "carried", None)
        send_along(self._there, packet, flow.forward, self._tell_fate)

    def take_answer(self, data: bytes, flow: _Flow) -> None:
        """Take in a datagram of the target for a sender."""
        packet = Packet(next(_sequence), Kind.UDP, self.target, flow.sender, data, self._destination)
        if self.is_cut_back:
            self._drop(packet)
            return
        self._tell(packet, "carried", None)
        send_along(self._back, packet, partial(self._answer, flow), self._tell_fate)

    def arrived(self, packet: Packet) -> None:
        """Note that a datagram is sent on to the target."""
        self.counters.there += 1
        self._tell(packet, "delivered", self._destination)

    def _answer(self, flow: _Flow, packet: Packet) -> None:
        if self._transport is None or self._transport.is_closing() or flow.is_closed:
            self.counters.late += 1
            return
        assert isinstance(packet.payload, bytes)
        self.counters.back += 1
        self._tell(packet, "delivered", self._source)
        self._transport.sendto(packet.payload, packet.destination.sockaddr)

    def _drop(self, packet: Packet) -> None:
        self.counters.parted += 1
        self._tell(packet, Fate.CUT.value, None)

    def _tell_fate(self, packet: Packet, fate: str) -> None:
        self._tell(packet, fate, None)

    def _tell(self, packet: Packet, fate: str, host: str | None) -> None:
        if self._tap is not None:
            self._tap(asyncio.get_running_loop().time(), packet, fate, host)

    def _new_flow(self, sender: Endpoint) -> _Flow:
        if len(self._flows) >= MAX_FLOWS:
            self._flows.popitem(last=False)[1].close()
            self.counters.flows_forgotten += 1
        flow = self._flows[sender] = _Flow(self, sender)
        task = asyncio.create_task(flow.open(self._socket.getsockname()[0]), name=f"flow of {sender}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return flow


class _Front(asyncio.DatagramProtocol):
    """The socket that senders send to."""

    def __init__(self, proxy: UdpProxy) -> None:
        self._proxy = proxy

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._proxy.take(data, Endpoint(*addr[:2]))

    def error_received(self, exc: Exception) -> None:
        del exc
        self._proxy.counters.refused += 1


class _Flow(asyncio.DatagramProtocol):
    """The socket of one sender, towards the target."""

    def __init__(self, proxy: UdpProxy, sender: Endpoint) -> None:
        self.sender = sender
        self._proxy = proxy
        self._early: deque[Packet] = deque()
        self._transport: asyncio.DatagramTransport | None = None
        self.is_closed = False

    async def open(self, address: str) -> None:
        loop = asyncio.get_running_loop()
        remote = self._proxy.target.sockaddr
        transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=(address, 0), remote_addr=(remote[0], remote[1])
        )
        self._transport = transport
        if self.is_closed:
            transport.close()
        while self._early and not self.is_closed:
            self._send(self._early.popleft())

    def forward(self, packet: Packet) -> None:
        """Send a datagram that has crossed the links."""
        if self.is_closed:
            self._proxy.counters.late += 1
        elif self._transport is not None:
            self._send(packet)
        elif len(self._early) < MAX_EARLY:
            self._early.append(packet)
        else:
            self._proxy.counters.early += 1

    def close(self) -> None:
        self.is_closed = True
        if self._transport is not None:
            self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        del addr
        if not self.is_closed:
            self._proxy.take_answer(data, self)

    def error_received(self, exc: Exception) -> None:
        del exc
        self._proxy.counters.refused += 1

    def _send(self, packet: Packet) -> None:
        assert self._transport is not None, "it is open"
        assert isinstance(packet.payload, bytes)
        self._proxy.arrived(packet)
        self._transport.sendto(packet.payload)


def bound_udp_socket(address: str = LOOPBACK, port: int = 0) -> socket.socket:
    """Return a UDP socket for a proxy to listen on. Raises OSError."""
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)  # noqa: FBT003
        sock.bind((address, port))
    except OSError:
        sock.close()
        raise
    return sock
