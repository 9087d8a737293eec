"""A relay and its links on a virtual network."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from random import Random

from rtcmesh.netem import Host, LinkConfig, VirtualNetwork
from rtcmesh.relay.binary_socket import BinarySocket, Dial
from rtcmesh.relay.config import RelayClientConfig, RelayConfig
from rtcmesh.relay.errors import SocketClosed
from rtcmesh.relay.frames import (
    Challenge,
    Join,
    RelayFrame,
    Urgency,
    Welcome,
    decode_relay,
    encode_join,
    encode_send,
    key_of,
)
from rtcmesh.relay.link import RelayLink
from rtcmesh.relay.proof import sign_join
from rtcmesh.relay.service import RelayService
from rtcmesh.relay.testing import dial_stream, serve_streams
from rtcmesh.signaling.identity import PeerId
from rtcmesh.signaling.ticket import Ticket, TicketKey, issue

from .members import Member

PORT = 7100
KEY = TicketKey.from_secret(bytes(range(32)))


class Killed(Exception):
    """Ends a relay without a word."""


def ticket_for(
    number: int,
    *,
    room: str = "lobby",
    expires_at: float = 600.0,
    bytes_per_second: int | None = None,
    max_queue_bytes: int | None = None,
    key: TicketKey = KEY,
) -> str:
    ticket = Ticket(
        room=room,
        peer_id=Member(number=number).peer_id,
        expires_at=expires_at,
        bytes_per_second=bytes_per_second,
        max_queue_bytes=max_queue_bytes,
    )
    return issue(key, ticket)


class Recorder:
    """A `RelaySink` that keeps what it is told, and can be waited for."""

    def __init__(self) -> None:
        self.events: list[tuple[str, ...]] = []
        self.frames: list[tuple[PeerId, bytes]] = []
        self.refused: dict[tuple[PeerId, str], int] = {}
        self.on_up: Callable[[RelayLink], None] = lambda _: None
        self.on_frame: Callable[[PeerId, bytes], None] = lambda _, __: None
        self._changed = asyncio.Event()

    def relay_up(self, link: RelayLink) -> None:
        self._note("up")
        self.on_up(link)

    def relay_lost(self, link: RelayLink, reason: str) -> None:
        self._note("lost", reason)

    def frame_received(self, link: RelayLink, sender: PeerId, payload: bytes) -> None:
        self.frames.append((sender, payload))
        self.on_frame(sender, payload)
        self._changed.set()

    def peer_gone(self, link: RelayLink, peer_id: PeerId, reason: str) -> None:
        self._note("gone", peer_id, reason)

    def frames_refused(self, link: RelayLink, peer_id: PeerId, count: int, reason: str) -> None:
        self.refused[peer_id, reason] = self.refused.get((peer_id, reason), 0) + count
        self._changed.set()

    def relay_writable(self, link: RelayLink) -> None:
        self._note("writable")

    @property
    def payloads(self) -> list[bytes]:
        return [payload for _, payload in self.frames]

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def saw(self, *event: str, times: int = 1) -> None:
        await self.until(lambda: self.events.count(event) >= times)

    async def got(self, count: int) -> None:
        await self.until(lambda: len(self.frames) >= count)

    def _note(self, *event: str) -> None:
        self.events.append(event)
        self._changed.set()


class RawClient:
    """Speaks to a relay frame by frame, and may say anything."""

    def __init__(self, socket: BinarySocket, number: int) -> None:
        self.socket = socket
        self.member = Member(number=number)

    async def receive(self) -> RelayFrame:
        return decode_relay(await self.socket.receive())

    async def challenged(self) -> Challenge:
        challenge = await self.receive()
        assert isinstance(challenge, Challenge)
        return challenge

    async def join(self, *, number: int = 1, ticket: str | None = None) -> None:
        """Send a join for the next challenge, without waiting for an answer."""
        challenge = await self.challenged()
        ticket = ticket_for(self.member.number) if ticket is None else ticket
        proof = sign_join(self.member.identity, nonce=challenge.nonce, ticket=ticket, number=number)
        await self.socket.send(encode_join(Join(number, proof, ticket)))

    async def welcomed(self, *, number: int = 1, ticket: str | None = None) -> Welcome:
        await self.join(number=number, ticket=ticket)
        welcome = await self.receive()
        assert isinstance(welcome, Welcome)
        return welcome

    async def send(
        self, to: int, payload: bytes, urgency: Urgency = Urgency.INTERACTIVE, *, datagram: bool = False
    ) -> None:
        key = key_of(Member(number=to).peer_id)
        await self.socket.send(encode_send(key, payload, urgency, datagram=datagram))

    async def last_words(self) -> tuple[list[RelayFrame], int]:
        """Return what comes until the connection is closed, and the code of that."""
        frames: list[RelayFrame] = []
        while True:
            try:
                frames.append(await self.receive())
            except SocketClosed as closed:
                return frames, closed.code


class RelayLab:
    """One relay host and a host for each peer, named by its number."""

    def __init__(self, *, link: LinkConfig | None = None, config: RelayConfig | None = None) -> None:
        self.network = VirtualNetwork(link=LinkConfig(delay=0.01) if link is None else link)
        self.relay_host = self.network.add_host("relay")
        self.config = RelayConfig() if config is None else config
        self.url = f"tcp://{self.relay_host.address}:{PORT}"
        self.hosts: dict[int, Host] = {}
        self.starts = 0
        self.dials = 0

    @asynccontextmanager
    async def relay(self) -> AsyncGenerator[RelayService, None]:
        """Run a relay; `Killed` raised inside ends it and goes no further."""
        self.starts += 1
        service = RelayService(KEY, self.config, random=Random(-self.starts), clock=lambda: 0.0)
        with suppress(Killed):
            async with AsyncExitStack() as stack:
                with self.relay_host:
                    await stack.enter_async_context(serve_streams(service, self.relay_host.address, PORT))
                yield service

    def host(self, number: int) -> Host:
        if number not in self.hosts:
            self.hosts[number] = self.network.add_host(f"peer{number}")
        return self.hosts[number]

    def partition(self, number: int) -> None:
        self.network.partition(self.host(number), self.relay_host)

    def heal(self, number: int) -> None:
        self.network.heal(self.host(number), self.relay_host)

    def dialler(self, number: int) -> Dial:
        host = self.host(number)

        @asynccontextmanager
        async def dial(url: str) -> AsyncGenerator[BinarySocket, None]:
            self.dials += 1
            with host:
                async with dial_stream(url) as socket:
                    yield socket

        return dial

    def new_link(self, number: int, sink: Recorder, *, config: RelayClientConfig | None = None) -> RelayLink:
        return RelayLink(
            self.url,
            identity=Member(number=number).identity,
            sink=sink,
            config=config,
            dial=self.dialler(number),
            random=Random(number),
        )

    @asynccontextmanager
    async def link(
        self, number: int, *, ticket: str | None = None, config: RelayClientConfig | None = None
    ) -> AsyncGenerator[tuple[RelayLink, Recorder], None]:
        """Run an authorized link that is up."""
        sink = Recorder()
        link = self.new_link(number, sink, config=config)
        link.authorize(ticket_for(number) if ticket is None else ticket)
        async with running(link):
            await sink.saw("up")
            yield link, sink

    @asynccontextmanager
    async def raw(self, number: int) -> AsyncGenerator[RawClient, None]:
        async with self.dialler(number)(self.url) as socket:
            yield RawClient(socket, number)


@asynccontextmanager
async def running(link: RelayLink) -> AsyncGenerator[asyncio.Task[None], None]:
    task = asyncio.create_task(link.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()
