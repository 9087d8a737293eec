"""A room with its server and its peers in one process, on virtual time."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from random import Random
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rtcmesh.netem import Host, LinkConfig, VirtualNetwork, virtual_webrtc
from rtcmesh.netem.topology import Topology
from rtcmesh.netem.virtual.stun_server import stun_server
from rtcmesh.peer.config import MeshConfig
from rtcmesh.peer.mesh import Mesh
from rtcmesh.peer.paths.relays import DEFAULT_RELAY
from rtcmesh.peer.tasks import owned_tasks
from rtcmesh.relay.binary_socket import BinarySocket
from rtcmesh.relay.config import RelayConfig
from rtcmesh.relay.service import RelayService
from rtcmesh.relay.testing import dial_stream as dial_relay_stream
from rtcmesh.relay.testing import serve_streams as serve_relay_streams
from rtcmesh.signaling.config import ServiceConfig
from rtcmesh.signaling.identity import Identity
from rtcmesh.signaling.memory_registry import MemoryRegistry
from rtcmesh.signaling.messages import IceServer
from rtcmesh.signaling.service import SignalingService
from rtcmesh.signaling.testing import dial_stream, serve_streams
from rtcmesh.signaling.ticket import TicketKey

from .memory_transport import MemoryNetwork

PORT = 8080

BEGINNING = 1_800_000_000.0
"""The time of day at which virtual time begins: one that has as many digits in every run."""


@asynccontextmanager
async def virtual_meshes(
    count: int, *, link: LinkConfig | None = None, webrtc: bool = False, config: MeshConfig | None = None
) -> AsyncGenerator[Sequence[Mesh]]:
    """Run a room of `count` peers that are connected to one another, and give their meshes; for `run_virtual`.

    `link` impairs every way between two peers, and between a peer and the server. With `webrtc`, real WebRTC
    transports cross it; without, memory transports with its delay, which is some twenty times as fast.
    """
    async with virtual_room(link=link, webrtc=webrtc, config=config) as room:
        meshes = await asyncio.gather(*(room.join(f"peer{number}") for number in range(1, count + 1)))
        for mesh in meshes:
            await mesh.wait_for_peers(count - 1)
        yield meshes


@asynccontextmanager
async def virtual_room(
    *,
    link: LinkConfig | None = None,
    webrtc: bool = False,
    config: MeshConfig | None = None,
    service: ServiceConfig | None = None,
    relay: RelayConfig | None = None,
    memory: MemoryNetwork | None = None,
    topology: Topology | None = None,
) -> AsyncGenerator[VirtualRoom]:
    """Run a signaling server and a relay, for peers to join and for tests to disturb; see `VirtualRoom`.

    With a topology, peers join from its hosts and use WebRTC. What it does not have of the hosts `signaling`, `relay`
    and `stun`, which tells peers how they are seen from the internet, is added in the internet itself.
    """
    webrtc = webrtc or topology is not None
    async with owned_tasks() as tasks, AsyncExitStack() as stack:
        network = VirtualNetwork(topology, link=link)
        memory = memory or MemoryNetwork(delay=link.delay if link else 0.01)
        service = service or ServiceConfig()
        if topology is not None:
            stun = await _serve_stun(network, stack)
            service = replace(service, ice_servers=(*service.ice_servers, stun))
        room = VirtualRoom(
            network,
            None if webrtc else memory,
            tasks,
            config=config or MeshConfig(),
            service=service,
            relay=relay or RelayConfig(),
        )
        if webrtc:
            stack.enter_context(virtual_webrtc())
        await room.start_relay()
        await room.start_server()
        try:
            yield room
        finally:
            await room.close()


class VirtualRoom:
    """A signaling server, a relay and any number of meshes, each on a host of its own. Made by `virtual_room`.

    All of it is the product's own code but for what touches the machine: signaling and the relay run over virtual
    streams, and transports are those of `rtcmesh.peer.webrtc` over virtual UDP, or memory transports.
    """

    def __init__(
        self,
        network: VirtualNetwork,
        memory: MemoryNetwork | None,
        tasks: asyncio.TaskGroup,
        *,
        config: MeshConfig,
        service: ServiceConfig,
        relay: RelayConfig,
    ) -> None:
        self.network = network
        """The virtual network: its links can be changed, its hosts partitioned and healed."""
        self.memory = memory
        """What carries memory transports: `cut` and `heal` pairs of names; None with WebRTC."""
        self.hosts: dict[str, Host] = {}
        """The hosts of the meshes, by name."""
        self.server_host = _find_or_add(network, "signaling")
        self.relay_host = _find_or_add(network, "relay")
        self.relay: RelayService | None = None
        """The relay, while it runs."""
        self._tasks = tasks
        self._config = config
        key = TicketKey.create()
        self._service_config = replace(service, relays=(DEFAULT_RELAY,), ticket_key=key)
        self._relay_config = relay
        loop = asyncio.get_running_loop()
        self._clock = lambda: BEGINNING + loop.time()
        self._ticket_key = key
        self._server: asyncio.Task[None] | None = None
        self._relay: asyncio.Task[None] | None = None
        self._address_changes: dict[str, int] = {}
        self._members: dict[asyncio.Task[None], asyncio.Event] = {}

    async def join(self, name: str, **options: Any) -> Mesh:  # noqa: ANN401
        """Join a mesh from a new host of this name, or from the one it had; `options` are those of `Mesh.join`.

        The mesh is closed with the room at the latest; `Mesh.aclose` closes it before.
        """
        host = self.hosts.get(name)
        if host is None:
            host = self.hosts[name] = _find_or_add(self.network, name)
        if self.memory is not None:
            options.setdefault("transports", self.memory.factory(name))
        options.setdefault("config", self._config)
        options.setdefault("dial_relay", self._dial_relay)
        options.setdefault("local_addresses", lambda: self._addresses_of(host))
        # OpenSSL makes keys that no seed can repeat; these decide who offers to whom.
        options.setdefault("identity", Identity(Ed25519PrivateKey.from_private_bytes(os.urandom(32))))
        options.setdefault("random", Random(os.urandom(32)))
        options.setdefault("room", "virtual")
        joined: asyncio.Future[Mesh] = asyncio.get_running_loop().create_future()
        leave = asyncio.Event()
        member = self._tasks.create_task(_stay(host, self.url, options, joined, leave), name=f"member {name}")
        self._members[member] = leave
        member.add_done_callback(self._members.pop)
        return await joined

    @property
    def server_is_running(self) -> bool:
        """Whether the signaling server runs."""
        return self._server is not None

    async def start_server(self) -> None:
        """Start the signaling server, with no memory of what was before."""
        listening = asyncio.Event()
        self._server = self._tasks.create_task(self._serve(listening), name="signaling server")
        await listening.wait()

    async def kill_server(self) -> None:
        """End the signaling server as `kill -9` does: connections break, nothing is said."""
        if self._server is not None:
            self._server.cancel()
            await asyncio.wait([self._server])
            self._server = None

    async def start_relay(self) -> None:
        """Start the relay."""
        listening = asyncio.Event()
        self._relay = self._tasks.create_task(self._serve_relay(listening), name="relay")
        await listening.wait()

    async def kill_relay(self) -> None:
        """End the relay as `kill -9` does: connections break, nothing is said."""
        if self._relay is not None:
            self._relay.cancel()
            await asyncio.wait([self._relay])
            self._relay = self.relay = None

    async def close(self) -> None:
        """Close all meshes, then the server and the relay."""
        for leave in self._members.values():
            leave.set()
        if self._members:
            await asyncio.wait(list(self._members))
        await self.kill_server()
        await self.kill_relay()

    def isolate(self, name: str) -> None:
        """Cut a peer off from everybody, as when its cable is pulled."""
        self._set_isolated(name, isolated=True)

    def reconnect(self, name: str) -> None:
        """End the isolation of a peer."""
        self._set_isolated(name, isolated=False)

    async def change_address(self, name: str, *, within: float = 3.0) -> None:
        """Move a peer to another network: it is cut off for a while, and what was open then stays dead.

        Memory transports never carry again; the peer is left to find out about its connections by itself.
        """
        if self.memory is not None:
            self.memory.strand(name)
        self._address_changes[name] = self._address_changes.get(name, 0) + 1
        self.isolate(name)
        await asyncio.sleep(within)
        self.reconnect(name)

    @property
    def url(self) -> str:
        """Where the server is, for `dial_stream` on a host of the network."""
        return f"tcp://{self.server_host.address}:{PORT}"

    async def _serve(self, listening: asyncio.Event) -> None:
        registry = MemoryRegistry(self._service_config.room, random=Random(os.urandom(32)))
        service = SignalingService(
            registry, self._service_config, random=Random(os.urandom(32)), clock=self._clock
        )
        try:
            with self.server_host:
                async with serve_streams(service, self.server_host.address, PORT):
                    listening.set()
                    await asyncio.get_running_loop().create_future()
        finally:
            await registry.aclose()

    async def _serve_relay(self, listening: asyncio.Event) -> None:
        self.relay = RelayService(
            self._ticket_key, self._relay_config, random=Random(os.urandom(32)), clock=self._clock
        )
        with self.relay_host:
            async with serve_relay_streams(self.relay, self.relay_host.address, PORT):
                listening.set()
                await asyncio.get_running_loop().create_future()

    def _dial_relay(self, url: str) -> AbstractAsyncContextManager[BinarySocket]:
        del url  # all relays of this room are the one on the relay's host
        return dial_relay_stream(f"tcp://{self.relay_host.address}:{PORT}")

    def _addresses_of(self, host: Host) -> frozenset[str]:
        return frozenset({host.address, f"network {self._address_changes.get(host.name, 0)}"})

    def _set_isolated(self, name: str, *, isolated: bool) -> None:
        for host in self.network.hosts:
            if host.name != name:
                (self.network.partition if isolated else self.network.heal)(self.hosts[name], host)
                if self.memory is not None:
                    (self.memory.cut if isolated else self.memory.heal)(name, host.name)


def _find_or_add(network: VirtualNetwork, name: str) -> Host:
    named = [host for host in network.hosts if host.name == name]
    return named[0] if named else network.add_host(name)


async def _serve_stun(network: VirtualNetwork, stack: AsyncExitStack) -> IceServer:
    with _find_or_add(network, "stun") as host:
        endpoint = await stack.enter_async_context(stun_server([host.address]))
    return IceServer(urls=(f"stun:{endpoint}",))


async def _stay(
    host: Host, url: str, options: dict[str, Any], joined: asyncio.Future[Mesh], leave: asyncio.Event
) -> None:
    """Be a member from a host until told to leave. A task of its own keeps the host out of the caller's context."""
    with host:
        try:
            async with Mesh.join(url, dial=dial_stream, **options) as mesh:
                if not joined.cancelled():
                    joined.set_result(mesh)
                await leave.wait()
        except Exception as error:
            if joined.done():
                raise
            joined.set_exception(error)
