"""A STUN and TURN server for tests (RFC 8489, 8656): allocations and channels, over UDP, TCP and TLS."""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import Callable
from typing import Any

from aioice import stun
from aioice.turn import make_integrity_key

REALM, NONCE = "test", b"nonce"
LIFETIME = 600

Address = tuple[str, int]


class TurnServer:
    """Serves on one host; counts what it did. `close` ends it."""

    def __init__(self, host: str, *, username: str = "user", password: str = "secret") -> None:
        self.host = host
        self.key = make_integrity_key(username, REALM, password)
        self.bindings = 0
        self.relayed = 0
        """How many datagrams went through allocations, either way."""
        self.allocations: set[Allocation] = set()
        self.is_silent = False
        self._endpoints: list[asyncio.BaseTransport | asyncio.Server] = []

    async def listen_udp(self) -> int:
        """Listen for datagrams; return the port."""
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Datagrams(self), local_addr=(self.host, 0)
        )
        self._endpoints.append(transport)
        port: int = transport.get_extra_info("sockname")[1]
        return port

    async def listen_tcp(self, tls: ssl.SSLContext | None = None) -> int:
        """Listen for connections; return the port."""
        server = await asyncio.get_running_loop().create_server(lambda: _Stream(self), self.host, 0, ssl=tls)
        self._endpoints.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return port

    def close(self) -> None:
        """End everything at once."""
        for allocation in list(self.allocations):
            allocation.end()
        for endpoint in self._endpoints:
            endpoint.close()


class Client:
    """One client and its allocation, whatever it talks over."""

    def __init__(self, server: TurnServer, address: Address, send: Callable[[bytes], None]) -> None:
        self._server = server
        self._address = address
        self.send = send
        self._allocation: Allocation | None = None

    def receive(self, data: bytes) -> None:
        """Take one message."""
        if self._server.is_silent:
            return
        if 0x40 <= data[0] < 0x80:
            channel, length = struct.unpack_from("!HH", data)
            if self._allocation is not None:
                self._allocation.forward(channel, data[4 : 4 + length])
            return
        asyncio.get_running_loop().create_task(self._answer(stun.parse_message(data)))

    async def _answer(self, request: stun.Message) -> None:
        attributes: dict[str, Any] = {}
        if request.message_method is stun.Method.BINDING:
            self._server.bindings += 1
            attributes["XOR-MAPPED-ADDRESS"] = self._address
            self._respond(request, attributes, signed=False)
            return
        if "MESSAGE-INTEGRITY" not in request.attributes or not request.check_message_integrity(
            self._server.key
        ):
            attributes |= {"ERROR-CODE": (401, "Unauthorized"), "REALM": REALM, "NONCE": NONCE}
            self._respond(request, attributes, signed=False)
            return
        match request.message_method:
            case stun.Method.ALLOCATE:
                self._allocation = await Allocation.open(self._server, self)
                attributes["XOR-RELAYED-ADDRESS"] = self._allocation.address
                attributes["XOR-MAPPED-ADDRESS"] = self._address
                attributes["LIFETIME"] = LIFETIME
            case stun.Method.REFRESH:
                attributes["LIFETIME"] = request.attributes["LIFETIME"]
                if not request.attributes["LIFETIME"]:
                    self.lost()
            case stun.Method.CHANNEL_BIND if self._allocation is not None:
                self._allocation.bind(
                    request.attributes["CHANNEL-NUMBER"], request.attributes["XOR-PEER-ADDRESS"]
                )
            case _:
                attributes["ERROR-CODE"] = (400, "Bad Request")
        self._respond(request, attributes, signed=True)

    def lost(self) -> None:
        """Give the allocation up."""
        if self._allocation is not None:
            self._allocation.end()
            self._allocation = None

    def _respond(self, request: stun.Message, attributes: dict[str, Any], *, signed: bool) -> None:
        response = stun.Message(
            message_method=request.message_method,
            message_class=stun.Class.ERROR if "ERROR-CODE" in attributes else stun.Class.RESPONSE,
            transaction_id=request.transaction_id,
        )
        response.attributes.update(attributes)
        if signed:
            response.add_message_integrity(self._server.key)
        self.send(bytes(response))


class Allocation(asyncio.DatagramProtocol):
    """A relayed address and its channels."""

    def __init__(self, server: TurnServer, client: Client) -> None:
        self._server = server
        self._client = client
        self._peers: dict[int, Address] = {}
        self._transport: asyncio.DatagramTransport | None = None

    @classmethod
    async def open(cls, server: TurnServer, client: Client) -> Allocation:
        _, allocation = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: cls(server, client), local_addr=(server.host, 0)
        )
        server.allocations.add(allocation)
        return allocation

    @property
    def address(self) -> Address:
        assert self._transport is not None
        host, port = self._transport.get_extra_info("sockname")[:2]
        return host, port

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def bind(self, channel: int, peer: Address) -> None:
        self._peers[channel] = peer

    def forward(self, channel: int, data: bytes) -> None:
        peer = self._peers.get(channel)
        if peer is not None and self._transport is not None:
            self._server.relayed += 1
            self._transport.sendto(data, peer)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        for channel, peer in self._peers.items():
            if peer == addr[:2]:
                self._server.relayed += 1
                self._client.send(struct.pack("!HH", channel, len(data)) + data)

    def end(self) -> None:
        self._server.allocations.discard(self)
        if self._transport is not None:
            self._transport.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: TurnServer) -> None:
        self._server = server
        self._clients: dict[Address, Client] = {}

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        address: Address = (addr[0], addr[1])
        client = self._clients.get(address)
        if client is None:
            client = Client(self._server, address, lambda data: self._transport.sendto(data, address))
            self._clients[address] = client
        client.receive(data)


class _Stream(asyncio.Protocol):
    def __init__(self, server: TurnServer) -> None:
        self._server = server
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        host, port = transport.get_extra_info("peername")[:2]
        self._client = Client(self._server, (host, port), self._send)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 4:
            (length,) = struct.unpack_from("!H", self._buffer, 2)
            whole = (4 + length + 3) // 4 * 4 if 0x40 <= self._buffer[0] < 0x80 else 20 + length
            if len(self._buffer) < whole:
                return
            message, self._buffer = self._buffer[:whole], self._buffer[whole:]
            self._client.receive(message)

    def connection_lost(self, exc: Exception | None) -> None:
        self._client.lost()

    def _send(self, data: bytes) -> None:
        self._transport.write(data + bytes(-len(data) % 4))
