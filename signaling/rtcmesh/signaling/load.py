"""Peers that put load on a signaling server: as little as a peer can be, so that the server is what is measured."""

import asyncio
import struct
import time
from collections.abc import AsyncGenerator, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from .aiohttp_socket import dial_websocket
from .errors import ProtocolError
from .identity import Identity, PeerId
from .messages import (
    Ack,
    Challenge,
    Join,
    Leave,
    Ping,
    SendSignal,
    SetPresence,
    Signal,
    Welcome,
    decode_server,
    encode,
)
from .prekey import LocalPrekey, sign_join
from .text_socket import Dial, SocketClosed, TextSocket

SIGNAL_WINDOW = 16
"""How many signals of a peer are on the way at most."""

SEALED_BYTES = 400
"""The size of a signal: that of a small session description, compressed and sealed."""

STAMP = struct.Struct("!d")
"""When a signal was sent, at its beginning."""

_EVENTS = (b'{"type":"presence_changed"', b'{"type":"peer_joined"', b'{"type":"peer_left"')


@dataclass
class Tally:
    """What all peers saw."""

    joins: list[float] = field(default_factory=list[float])
    """Seconds from the dial to the welcome."""
    deliveries: list[float] = field(default_factory=list[float])
    """Seconds from sending a signal to its arrival."""
    events: int = 0
    """Events of rooms that arrived."""
    lost: int = 0
    """Connections that ended without being asked to."""


class Peer(Protocol):
    """A member of a room, whatever the server."""

    @property
    def peer_id(self) -> str:
        """Its id, as the server names it; known once it has joined."""
        ...

    def companion(self) -> "Peer":
        """Return another peer for the same room."""
        ...

    def joined(self, *, reads: bool = True) -> AbstractAsyncContextManager[None]:
        """Be a member; one that does not read takes nothing from its socket after the welcome."""
        ...

    async def signal(self, to: str) -> None:
        """Send a signal that says when it was sent; waits while too many are on the way."""
        ...

    async def set_presence(self, number: int) -> None:
        """Change the presence, which everybody in the room gets."""
        ...


class LoadPeer:
    """One member; `run` reads what comes. The socket, the room and the identity are its whole state."""

    def __init__(self, url: str, room: str, tally: Tally, *, dial: Dial = dial_websocket) -> None:
        self._dial = dial
        self.identity = Identity.create()
        self._url = url
        self._room = room
        self._tally = tally
        self._prekey = LocalPrekey.create(self.identity, room).public
        self._next_id = 1
        self._under_way = 0
        self._acknowledged = asyncio.Event()
        self._socket: TextSocket | None = None

    @property
    def peer_id(self) -> PeerId:
        """Its id."""
        return self.identity.peer_id

    def companion(self) -> "LoadPeer":
        """Return another peer for the same room."""
        return LoadPeer(self._url, self._room, self._tally)

    @asynccontextmanager
    async def joined(self, *, reads: bool = True) -> AsyncGenerator[None, None]:
        """Be a member; one that does not read takes nothing from its socket after the welcome."""
        started_at = time.perf_counter()
        async with AsyncExitStack() as stack:
            socket = await stack.enter_async_context(self._dial(self._url))
            welcome = await self._introduce(socket)
            self._tally.joins.append(time.perf_counter() - started_at)
            self._socket = socket
            self._next_id, self._under_way = 1, 0
            if reads:
                await stack.enter_async_context(running(self._read(socket, welcome.heartbeat)))
            try:
                yield
                await socket.send(encode(Leave()))
            except SocketClosed:
                self._tally.lost += 1
            finally:
                self._socket = None

    async def signal(self, to: str) -> None:
        """Send a signal that says when it was sent; waits while too many are on the way."""
        while self._under_way >= SIGNAL_WINDOW:
            self._acknowledged.clear()
            await self._acknowledged.wait()
        sealed = STAMP.pack(time.perf_counter()).ljust(SEALED_BYTES, b"\0")
        signal = SendSignal(to=PeerId(to), id=self._next_id, sealed=sealed)
        self._next_id += 1
        self._under_way += 1
        if self._socket is not None:
            await self._socket.send(encode(signal))

    async def set_presence(self, number: int) -> None:
        """Change the presence, which everybody in the room gets."""
        if self._socket is not None:
            await self._socket.send(encode(SetPresence(presence={"n": number})))

    def _join(self, challenge: Challenge) -> Join:
        proof = sign_join(self.identity, nonce=challenge.nonce, room=self._room, prekey=self._prekey)
        return Join(room=self._room, peer_id=self.peer_id, prekey=self._prekey, proof=proof)

    async def _introduce(self, socket: TextSocket) -> Welcome:
        challenge = decode_server(await socket.receive())
        if not isinstance(challenge, Challenge):
            raise ProtocolError(f"the server said {challenge}")
        await socket.send(encode(self._join(challenge)))
        welcome = decode_server(await socket.receive())
        if not isinstance(welcome, Welcome):
            raise ProtocolError(f"the server said {welcome}")
        return welcome

    async def _read(self, socket: TextSocket, heartbeat: float) -> None:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(running(_beat(socket, heartbeat)))
            try:
                while True:
                    self._take(await socket.receive())
            except SocketClosed:
                self._under_way = 0
                self._acknowledged.set()

    def _take(self, frame: bytes) -> None:
        if frame.startswith(_EVENTS):
            self._tally.events += 1
            return
        match decode_server(frame):
            case Signal() as signal:
                self._tally.deliveries.append(time.perf_counter() - STAMP.unpack_from(signal.sealed)[0])
            case Ack():
                self._under_way -= 1
                self._acknowledged.set()
            case _:
                pass


async def _beat(socket: TextSocket, heartbeat: float) -> None:
    while True:
        await asyncio.sleep(heartbeat)
        try:
            await socket.send(encode(Ping()))
        except SocketClosed:
            return


@asynccontextmanager
async def running(work: Coroutine[None, None, None]) -> AsyncGenerator[None, None]:
    """Do something beside the block, and stop at its end."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
