"""The sockets of all virtual hosts, as a virtual event loop asks for them."""

import asyncio

from rtcmesh.netem.packet import SocketAddress

from .host import current_host
from .stream_transport import StreamFactory, StreamTransport
from .streams import Streams, StreamServer
from .udp import UdpFactory, UdpSockets, UdpTransport
from .wire import Wire


class Stack:
    """Opens sockets on the current host. Every method raises `NoCurrentHost` when there is none."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._udp = UdpSockets(wire)
        self._streams = Streams(wire)

    def open_datagram_endpoint(
        self, factory: UdpFactory, local_addr: SocketAddress | None, remote_addr: SocketAddress | None
    ) -> tuple[UdpTransport, asyncio.DatagramProtocol]:
        """Open a UDP socket on the current host."""
        return self._udp.open(factory, current_host(), local_addr, remote_addr)

    async def connect(
        self, factory: StreamFactory, host: str, port: int, local_addr: SocketAddress | None
    ) -> tuple[StreamTransport, asyncio.Protocol]:
        """Connect a stream from the current host."""
        return await self._streams.connect(factory, current_host(), (host, port), local_addr)

    def listen(self, factory: StreamFactory, host: str | None, port: int) -> StreamServer:
        """Accept streams on the current host."""
        return self._streams.listen(factory, current_host(), host, port)

    def resolve(self, name: str) -> str:
        """Return the address that a name means to the current host."""
        return self._wire.resolve(name, current_host())

    def look_up(self, name: str) -> str:
        """Return the address of a host by its name; this needs no current host."""
        return self._wire.look_up(name)
