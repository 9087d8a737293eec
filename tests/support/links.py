"""A signaling service and its links on a virtual network."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from random import Random

from rtcmesh.netem import Host, LinkConfig, VirtualNetwork
from rtcmesh.signaling.client import SignalingLink
from rtcmesh.signaling.config import ClientConfig, ServiceConfig
from rtcmesh.signaling.memory_registry import MemoryRegistry
from rtcmesh.signaling.messages import Presence
from rtcmesh.signaling.registry import Registry
from rtcmesh.signaling.service import SignalingService
from rtcmesh.signaling.testing import dial_stream, serve_streams
from rtcmesh.signaling.text_socket import Dial, TextSocket

from .members import Member
from .wire import RawPeer

PORT = 7000


class Killed(Exception):
    """Ends a server without a word."""


class Lab:
    """One server host and a host for each peer, named by its number."""

    def __init__(
        self,
        *,
        link: LinkConfig | None = None,
        config: ServiceConfig | None = None,
        network: VirtualNetwork | None = None,
        name: str = "server",
    ) -> None:
        if network is None:
            network = VirtualNetwork(link=LinkConfig(delay=0.01) if link is None else link)
        self.network = network
        self.server_host = network.add_host(name)
        self.config = ServiceConfig() if config is None else config
        self.url = f"tcp://{self.server_host.address}:{PORT}"
        self.hosts: dict[int, Host] = {}
        self.starts = 0

    @asynccontextmanager
    async def server(self, registry: Registry | None = None) -> AsyncGenerator[SignalingService, None]:
        """Run a server with a fresh memory; `Killed` raised inside ends it and goes no further."""
        self.starts += 1
        memory = MemoryRegistry(self.config.room, random=Random(self.starts))
        service = SignalingService(
            memory if registry is None else registry,
            self.config,
            random=Random(-self.starts),
            clock=lambda: 0.0,
        )
        try:
            async with AsyncExitStack() as stack:
                with self.server_host:
                    await stack.enter_async_context(serve_streams(service, self.server_host.address, PORT))
                yield service
        except Killed:
            pass
        finally:
            await memory.aclose()

    def host(self, number: int) -> Host:
        if number not in self.hosts:
            self.hosts[number] = self.network.add_host(f"peer{number}")
        return self.hosts[number]

    def partition(self, number: int) -> None:
        self.network.partition(self.host(number), self.server_host)

    def heal(self, number: int) -> None:
        self.network.heal(self.host(number), self.server_host)

    def link(
        self,
        number: int,
        *,
        member: Member | None = None,
        presence: Presence | None = None,
        config: ClientConfig | None = None,
        url: str | list[str] | None = None,
    ) -> AbstractAsyncContextManager[SignalingLink]:
        member = Member(number=number) if member is None else member
        return SignalingLink.open(
            self.url if url is None else url,
            room=member.room,
            identity=member.identity,
            prekey=member.prekey,
            presence=presence,
            config=config,
            dial=self.dialler(number),
            random=Random(number),
        )

    def dialler(self, number: int) -> Dial:
        host = self.host(number)

        @asynccontextmanager
        async def dial(url: str) -> AsyncGenerator[TextSocket, None]:
            with host:
                async with dial_stream(url) as socket:
                    yield socket

        return dial

    @asynccontextmanager
    async def raw_peer(self, number: int, *, member: Member | None = None) -> AsyncGenerator[RawPeer, None]:
        async with self.dialler(number)(self.url) as socket:
            yield RawPeer(socket, Member(number=number) if member is None else member)
