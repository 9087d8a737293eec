"""Direct paths that the demo can cut: the datagrams of chosen peers are dropped as they come out of the socket.

It takes no privilege and works on every system, and what is cut is the real thing: ICE, DTLS and SCTP all stop hearing
from the other end, as if a cable had been pulled. Cut at both ends, nothing passes either way.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from typing import Any

from rtcmesh.signaling.messages import IceServer

from .aiortc_transport import AiortcTransport
from .transport import TransportSink

_NAME = "x-rtcmesh-demo-peer"

_transport: ContextVar[CuttableTransport] = ContextVar("transport")
"""The transport that gathers candidates in this task."""


class CuttableTransports:
    """Makes the transports of one peer; `cut` names the remote peers from which nothing arrives."""

    def __init__(self, peer_id: str) -> None:
        self.peer_id = peer_id
        self.cut: set[str] = set()
        self._filter_sockets(asyncio.get_running_loop())

    def __call__(self, sink: TransportSink, ice_servers: Sequence[IceServer]) -> CuttableTransport:
        """See `TransportFactory`."""
        return CuttableTransport(sink, ice_servers, self)

    def _filter_sockets(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look at every datagram that a socket of our transports receives: aioice has its sockets from the loop."""
        create = loop.create_datagram_endpoint

        def create_filtered(
            factory: Callable[[], asyncio.DatagramProtocol],
            *args: Any,  # noqa: ANN401
            **options: Any,  # noqa: ANN401
        ) -> Awaitable[tuple[asyncio.DatagramTransport, asyncio.DatagramProtocol]]:
            return create(lambda: self._filtered(factory()), *args, **options)

        setattr(loop, "create_datagram_endpoint", create_filtered)  # noqa: B010

    def _filtered(self, protocol: asyncio.DatagramProtocol) -> asyncio.DatagramProtocol:
        transport, receive = _transport.get(None), protocol.datagram_received

        def receive_unless_cut(data: bytes, address: tuple[str | Any, int]) -> None:
            if transport is None or transport.remote not in self.cut:
                receive(data, address)

        setattr(protocol, "datagram_received", receive_unless_cut)  # noqa: B010
        return protocol


class CuttableTransport(AiortcTransport):
    """A transport that knows which peer it leads to: the descriptions carry the names."""

    def __init__(
        self, sink: TransportSink, ice_servers: Sequence[IceServer], transports: CuttableTransports
    ) -> None:
        super().__init__(sink, ice_servers)
        self.remote: str | None = None
        self._name = f"a={_NAME}:{transports.peer_id}\r\n"

    async def create_offer(self) -> str:
        """See `Transport`."""
        _transport.set(self)
        return await super().create_offer() + self._name

    async def create_answer(self, offer: str) -> str:
        """See `Transport`."""
        _transport.set(self)
        self._learn(offer)
        return await super().create_answer(offer) + self._name

    async def accept_answer(self, answer: str) -> None:
        """See `Transport`."""
        self._learn(answer)
        await super().accept_answer(answer)

    def _learn(self, description: str) -> None:
        if found := re.search(rf"^a={_NAME}:(\w+)", description, re.MULTILINE):
            self.remote = found[1]
