"""UDP sockets of virtual hosts."""

import asyncio
import contextvars
import errno
import os
from collections.abc import Callable

from rtcmesh.netem.packet import Endpoint, Kind, Packet, SocketAddress

from .host import Binding, Host
from .ports import WILDCARDS
from .wire import Wire

MAX_DATAGRAM_BYTES = 65507

UdpFactory = Callable[[], asyncio.DatagramProtocol]


class UdpTransport(asyncio.DatagramTransport):
    """A UDP socket: a datagram arrives whole, late, several times or not at all, as the links have it.

    Closing drops what arrives afterwards; what was sent is still under way.
    """

    def __init__(
        self,
        sockets: "UdpSockets",
        host: Host,
        binding: Binding,
        remote: Endpoint | None,
        protocol: asyncio.DatagramProtocol,
    ) -> None:
        super().__init__({"sockname": binding.local.sockaddr, "peername": remote and remote.sockaddr})
        self.host = host
        self.binding = binding
        self.remote = remote
        self._sockets = sockets
        self._protocol = protocol
        self._context = contextvars.copy_context()
        self._is_closing = False

    def sendto(self, data: bytes | bytearray | memoryview, addr: SocketAddress | None = None) -> None:  # type: ignore[override]
        """Send one datagram to `addr`, or to the remote address of a connected socket.

        What a real socket would refuse goes to the protocol's `error_received`.
        """
        if self._is_closing:
            return
        try:
            self._sockets.send(self, bytes(data), addr)
        except OSError as error:
            self._protocol.error_received(error)

    def receive(self, packet: Packet) -> None:
        """Hand an arrived packet to the protocol; what that raises goes to the loop's exception handler."""
        if self.remote is not None and packet.source != self.remote:
            return
        try:
            self._context.run(self._protocol.datagram_received, packet.payload, packet.source.sockaddr)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        except Exception as error:  # noqa: BLE001, the other packets are for others
            self._sockets.wire.loop.call_exception_handler(
                {
                    "message": "Fatal error: protocol.datagram_received() call failed.",
                    "exception": error,
                    "transport": self,
                    "protocol": self._protocol,
                }
            )

    def is_closing(self) -> bool:
        """Tell whether the socket is closed or about to be."""
        return self._is_closing

    def close(self) -> None:
        """Close the socket; `connection_lost` follows in the next round of the loop."""
        if not self._is_closing:
            self._is_closing = True
            self._sockets.forget(self)
            self._sockets.wire.loop.call_soon(self._protocol.connection_lost, None, context=self._context)

    def abort(self) -> None:
        """Close the socket."""
        self.close()

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol."""
        return self._protocol


class UdpSockets:
    """The UDP sockets of a network."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self._bound: dict[tuple[str, str, int], UdpTransport] = {}
        wire.receivers[Kind.UDP] = self._receive

    def open(
        self,
        factory: UdpFactory,
        host: Host,
        local_addr: SocketAddress | None,
        remote_addr: SocketAddress | None,
    ) -> tuple[UdpTransport, asyncio.DatagramProtocol]:
        """Bind a socket on `host`. Raises OSError as bind and connect do."""
        protocol = factory()
        remote = None if remote_addr is None else self._endpoint(host, remote_addr)
        if local_addr is not None:
            binding = host.bind(Kind.UDP, local_addr[0], local_addr[1])
        else:
            binding = host.bind(Kind.UDP, None if remote is None else host.source_for(remote.address))
        transport = UdpTransport(self, host, binding, remote, protocol)
        for address in binding.addresses:
            self._bound[host.name, address, binding.local.port] = transport
        protocol.connection_made(transport)
        return transport, protocol

    def send(self, transport: UdpTransport, data: bytes, addr: SocketAddress | None) -> None:
        """Send a datagram from a socket. Raises OSError."""
        if len(data) > MAX_DATAGRAM_BYTES:
            raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
        destination = transport.remote if addr is None else self._endpoint(transport.host, addr)
        if destination is None:
            raise OSError(errno.EDESTADDRREQ, os.strerror(errno.EDESTADDRREQ))
        source = transport.binding.local
        if source.address in WILDCARDS.values():
            source = Endpoint(transport.host.source_for(destination.address), source.port)
        elif source.address not in transport.host.addresses:
            # What Linux answers when the address was taken away (ip_route_output_key finds no such local address).
            raise OSError(errno.EINVAL, f"{os.strerror(errno.EINVAL)}: {source.address} is no longer here")
        self.wire.send(transport.host, Kind.UDP, source, destination, data)

    def forget(self, transport: UdpTransport) -> None:
        """Unbind a socket."""
        for address in transport.binding.addresses:
            del self._bound[transport.host.name, address, transport.binding.local.port]
        transport.host.unbind(Kind.UDP, transport.binding)

    def _endpoint(self, host: Host, address: SocketAddress) -> Endpoint:
        return Endpoint(self.wire.resolve(address[0], host), address[1])

    def _receive(self, host: Host, packet: Packet) -> None:
        transport = host.find(self._bound, packet.destination)
        if transport is None:
            self.wire.network.unreachable += 1
        else:
            transport.receive(packet)
