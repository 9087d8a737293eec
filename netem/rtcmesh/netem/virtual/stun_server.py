"""A STUN server on an event loop, virtual or not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

from rtcmesh.netem.packet import Endpoint
from rtcmesh.netem.stun import STUN_PORT, answer


@asynccontextmanager
async def stun_server(addresses: Sequence[str], port: int = STUN_PORT) -> AsyncGenerator[Endpoint]:
    """Answer binding requests on the addresses of the current host; give the endpoint to ask.

    With two addresses it listens on two ports of each, as RFC 5780 wants it, so that `check_nat` works.
    """
    others: dict[Endpoint, Endpoint | None] = {Endpoint(addresses[0], port): None}
    if len(addresses) > 1:
        others = {
            Endpoint(here, number): Endpoint(there, 2 * port + 1 - number)
            for here, there in (addresses[:2], addresses[1::-1])
            for number in (port, port + 1)
        }
    sockets: dict[Endpoint, asyncio.DatagramTransport] = {}
    async with AsyncExitStack() as stack:
        loop = asyncio.get_running_loop()
        for local, other in others.items():
            factory = partial(_Responder, local, other, sockets)
            transport, _ = await loop.create_datagram_endpoint(factory, local_addr=local)
            stack.callback(transport.close)
            sockets[local] = transport
        yield Endpoint(addresses[0], port)


class _Responder(asyncio.DatagramProtocol):
    def __init__(
        self, local: Endpoint, other: Endpoint | None, sockets: dict[Endpoint, asyncio.DatagramTransport]
    ) -> None:
        self._local = local
        self._other = other
        self._sockets = sockets

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        response = answer(data, Endpoint(addr[0], addr[1]), self._local, self._other)
        if response is not None:
            sender, message = response
            self._sockets[sender].sendto(message, addr)
