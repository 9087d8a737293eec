"""TCP sockets of virtual hosts: connecting, listening, and who gets which segment."""

import asyncio
import contextvars
import errno
import os

from rtcmesh.netem.packet import Endpoint, Kind, Packet, SocketAddress
from rtcmesh.netem.segment import Segment, SegmentKind

from .host import Binding, Host
from .stream_transport import StreamFactory, StreamTransport
from .wire import Wire


class ListeningSocket:
    """What a server shows of its socket."""

    def __init__(self, binding: Binding) -> None:
        self._binding = binding

    def getsockname(self) -> tuple[str, int] | tuple[str, int, int, int]:
        """Return the address on which the server listens."""
        return self._binding.local.sockaddr


class StreamServer(asyncio.AbstractServer):
    """Accepts connections until it is closed; those that it accepted go on."""

    def __init__(self, streams: "Streams", factory: StreamFactory, host: Host, binding: Binding) -> None:
        self.factory = factory
        self.host = host
        self.binding = binding
        self.context = contextvars.copy_context()
        self.connections: set[StreamTransport] = set()
        self._streams = streams
        self._is_serving = True
        self._all_gone = asyncio.Event()

    @property
    def sockets(self) -> tuple[ListeningSocket, ...]:
        """The listening socket; nothing after `close`."""
        return (ListeningSocket(self.binding),) if self._is_serving else ()

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop."""
        return self._streams.wire.loop

    def is_serving(self) -> bool:
        """Tell whether connections are accepted."""
        return self._is_serving

    async def start_serving(self) -> None:
        """Do nothing: a virtual server listens from the start."""

    async def serve_forever(self) -> None:
        """Serve until this coroutine is cancelled, then close the server."""
        try:
            await self._streams.wire.loop.create_future()
        finally:
            self.close()

    def close(self) -> None:
        """Accept no more connections."""
        if self._is_serving:
            self._is_serving = False
            self._streams.stop(self)
            self._note_if_all_gone()

    def close_clients(self) -> None:
        """Close every accepted connection."""
        for transport in list(self.connections):
            transport.close()

    def abort_clients(self) -> None:
        """Abort every accepted connection."""
        for transport in list(self.connections):
            transport.abort()

    async def wait_closed(self) -> None:
        """Wait until the server is closed and every connection that it accepted is lost."""
        await self._all_gone.wait()

    def gone(self, transport: StreamTransport) -> None:
        """Note that an accepted connection is lost."""
        self.connections.discard(transport)
        self._note_if_all_gone()

    def _note_if_all_gone(self) -> None:
        if not self._is_serving and not self.connections:
            self._all_gone.set()


class Streams:
    """The TCP sockets of a network."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self._servers: dict[tuple[str, str, int], StreamServer] = {}
        self._connections: dict[tuple[str, Endpoint, Endpoint], StreamTransport] = {}
        self._host_of: dict[StreamTransport, Host] = {}
        self._server_of: dict[StreamTransport, StreamServer] = {}
        self._bound: dict[StreamTransport, Binding] = {}
        wire.receivers[Kind.TCP] = self._receive

    async def connect(
        self,
        factory: StreamFactory,
        host: Host,
        remote_addr: tuple[str, int],
        local_addr: SocketAddress | None,
    ) -> tuple[StreamTransport, asyncio.Protocol]:
        """Connect from `host`. Raises OSError as connect does; cancelling aborts the connection."""
        remote = Endpoint(self.wire.resolve(remote_addr[0], host), remote_addr[1])
        if not self.wire.network.knows(remote.address):
            raise OSError(errno.EHOSTUNREACH, f"{os.strerror(errno.EHOSTUNREACH)}: {remote}")
        name, port = (host.source_for(remote.address), 0) if local_addr is None else local_addr[:2]
        binding = host.bind(Kind.TCP, name, port)
        connected: asyncio.Future[asyncio.Protocol] = self.wire.loop.create_future()
        transport = StreamTransport(self, self.wire.loop, (binding.local, remote), factory, connected)
        self._bound[transport] = binding
        self._add(host, transport)
        transport.drain()
        try:
            return transport, await connected
        except BaseException:
            transport.abort()
            raise

    def listen(self, factory: StreamFactory, host: Host, address: str | None, port: int) -> StreamServer:
        """Accept connections on `host`. Raises OSError as bind does."""
        binding = host.bind(Kind.TCP, address, port)
        server = StreamServer(self, factory, host, binding)
        self._servers.update(((host.name, own, binding.local.port), server) for own in binding.addresses)
        return server

    def stop(self, server: StreamServer) -> None:
        """Stop listening."""
        for address in server.binding.addresses:
            del self._servers[server.host.name, address, server.binding.local.port]
        server.host.unbind(Kind.TCP, server.binding)

    def send_segment(self, transport: StreamTransport, segment: Segment) -> None:
        """Send a segment of a connection; one from an address that its host no longer has goes nowhere."""
        host = self._host_of.get(transport)
        if host is not None and transport.local.address in host.addresses:
            self.wire.send(host, Kind.TCP, transport.local, transport.remote, segment)

    def forget(self, transport: StreamTransport) -> None:
        """Drop a connection of which nothing is left."""
        host = self._host_of.pop(transport, None)
        if host is None:
            return
        del self._connections[host.name, transport.local, transport.remote]
        if transport in self._bound:
            host.unbind(Kind.TCP, self._bound.pop(transport))

    def closed(self, transport: StreamTransport) -> None:
        """Note that a program is done with its connection."""
        server = self._server_of.pop(transport, None)
        if server is not None:
            server.gone(transport)

    def _receive(self, host: Host, packet: Packet) -> None:
        assert isinstance(packet.payload, Segment)
        transport = self._connections.get((host.name, packet.destination, packet.source))
        if transport is None:
            transport = self._accept(host, packet, packet.payload)
        if transport is not None:
            transport.receive(packet.payload)
        elif packet.payload.kind is not SegmentKind.RESET and packet.destination.address in host.addresses:
            reset = Segment(SegmentKind.RESET)
            self.wire.send(host, Kind.TCP, packet.destination, packet.source, reset)

    def _accept(self, host: Host, packet: Packet, segment: Segment) -> StreamTransport | None:
        server = host.find(self._servers, packet.destination)
        if server is None or segment.kind is not SegmentKind.CONNECT:
            return None
        ends = (packet.destination, packet.source)
        context = server.context.copy()
        transport = context.run(StreamTransport, self, self.wire.loop, ends, server.factory)
        self._add(host, transport)
        self._server_of[transport] = server
        server.connections.add(transport)
        return transport

    def _add(self, host: Host, transport: StreamTransport) -> None:
        self._connections[host.name, transport.local, transport.remote] = transport
        self._host_of[transport] = host
