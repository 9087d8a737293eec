"""A relay that speaks the protocol, lets everybody in, and then does with the frames what its mood is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from random import Random

from rtcmesh.peer.testing import VirtualRoom
from rtcmesh.peer.testing.virtual_room import PORT
from rtcmesh.relay.binary_socket import BinarySocket
from rtcmesh.relay.errors import RelayError
from rtcmesh.relay.frames import (
    MAX_PAYLOAD_BYTES,
    NONCE_BYTES,
    Join,
    PeerKey,
    Ping,
    Send,
    Urgency,
    Welcome,
    decode_client,
    encode_challenge,
    encode_pong,
    encode_recv,
    encode_welcome,
    key_of,
)
from rtcmesh.relay.testing import StreamSocket
from rtcmesh.signaling.ticket import TicketKey, verify


@dataclass(frozen=True, kw_only=True)
class Mood:
    """How a relay lies. Chances are per frame, delays are seconds; the default is honest."""

    drop: float = 0.0
    repeat: float = 0.0
    jitter: float = 0.0
    late: float = 0.0
    """The chance that a frame is held for minutes."""
    swap_destination: float = 0.0
    swap_source: float = 0.0
    corrupt: float = 0.0
    control_only: bool = False
    refuses: bool = False
    """Never sends a challenge, so that nobody can join; heartbeats are answered."""
    ignores_joins: bool = False
    dead: bool = False
    """Never sends anything."""
    says: tuple[bytes, ...] = ()
    """Sent to the sender of every frame: lies about a peer, with `ABOUT` in place of the destination's key."""
    greets_with: tuple[bytes, ...] = ()
    """Sent after every join."""
    hangs_up: bool = False
    """Closes each connection with its first frame."""


HONEST = Mood()
ABOUT = PeerKey(b"about this peer, whose key it is")


class LyingRelay:
    """One relay for one room; `mood` may change at any time."""

    def __init__(self, key: TicketKey, mood: Mood, seed: int = 0) -> None:
        self.mood = mood
        self.forwarded = 0
        self.joins = 0
        self._key = key
        self._random = Random(seed)
        self._outboxes: dict[PeerKey, asyncio.Queue[bytes]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def instead_of_relay(self, room: VirtualRoom) -> AsyncGenerator[None]:
        """Take the place of the room's own relay for the length of the block."""
        await room.kill_relay()
        with room.relay_host:
            server = await asyncio.start_server(self._accept, room.relay_host.address, PORT)
        try:
            yield
        finally:
            server.close()
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await room.start_relay()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(StreamSocket(reader, writer)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, socket: BinarySocket) -> None:
        outbox: asyncio.Queue[bytes] = asyncio.Queue()
        writing = asyncio.create_task(_write(socket, outbox))
        source: PeerKey | None = None
        if not (self.mood.refuses or self.mood.dead):
            outbox.put_nowait(encode_challenge(bytes(NONCE_BYTES)))
        try:
            while True:
                match decode_client(await socket.receive()):
                    case Join() as join:
                        source = self._join(join, outbox)
                    case Ping(number) if not self.mood.dead:
                        outbox.put_nowait(encode_pong(number))
                    case Send() as send if source is not None:
                        if self.mood.hangs_up:
                            break
                        self._forward(source, send, outbox)
                    case _:
                        pass
        except RelayError:
            pass
        finally:
            if source is not None and self._outboxes.get(source) is outbox:
                del self._outboxes[source]
            writing.cancel()
            await asyncio.wait([writing])
            socket.abort()

    def _join(self, join: Join, outbox: asyncio.Queue[bytes]) -> PeerKey:
        source = key_of(verify(self._key, join.ticket, now=0.0).peer_id)
        self.joins += 1
        if not self.mood.ignores_joins:
            self._outboxes[source] = outbox
            outbox.put_nowait(encode_welcome(Welcome(MAX_PAYLOAD_BYTES, 1 << 20, 0, 10.0)))
            for frame in self.mood.greets_with:
                outbox.put_nowait(frame)
        return source

    def _forward(self, source: PeerKey, send: Send, outbox: asyncio.Queue[bytes]) -> None:
        mood, chance = self.mood, self._random.random
        for lie in mood.says:
            outbox.put_nowait(lie.replace(ABOUT, send.destination))
        if mood.dead or mood.ignores_joins or (mood.control_only and send.urgency is not Urgency.CONTROL):
            return
        destination, payload = send.destination, bytes(send.payload)
        others = [key for key in self._outboxes if key not in {source, destination}]
        if others and chance() < mood.swap_destination:
            destination = self._random.choice(others)
        if others and chance() < mood.swap_source:
            source = self._random.choice(others)
        if chance() < mood.corrupt:
            payload = bytes(byte ^ (self._random.random() < 0.01) for byte in payload)
        for delay in self._fate():
            frame = encode_recv(source, payload, send.urgency, datagram=send.datagram)
            asyncio.get_running_loop().call_later(delay, self._put, destination, frame)

    def _fate(self) -> Iterator[float]:
        """Say how often a frame is forwarded, and after how long each time."""
        mood, chance = self.mood, self._random.random
        if chance() < mood.drop:
            return
        for _ in range(1 + (chance() < mood.repeat)):
            yield self._random.uniform(60, 300) if chance() < mood.late else chance() * mood.jitter

    def _put(self, destination: PeerKey, frame: bytes) -> None:
        if (outbox := self._outboxes.get(destination)) is not None:
            self.forwarded += 1
            outbox.put_nowait(frame)


async def _write(socket: BinarySocket, outbox: asyncio.Queue[bytes]) -> None:
    with suppress(RelayError):
        while True:
            await socket.send(await outbox.get())
