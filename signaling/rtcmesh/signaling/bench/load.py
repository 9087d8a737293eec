"""Peers that put load on a signaling server: as little as a peer can be, so that the server is what is measured."""

import asyncio
import struct
import time
from base64 import b64encode
from binascii import a2b_base64, b2a_base64
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from rtcmesh.signaling.aiohttp_socket import SIGNALING_PATH
from rtcmesh.signaling.errors import ProtocolError
from rtcmesh.signaling.identity import Identity, PeerId
from rtcmesh.signaling.messages import (
    SUBPROTOCOL,
    Challenge,
    Join,
    Leave,
    Ping,
    SetPresence,
    Welcome,
    decode_server,
    encode,
)
from rtcmesh.signaling.prekey import LocalPrekey, sign_join

from .load_socket import LoadSocket, load_socket

SIGNAL_WINDOW = 16
"""How many signals of a peer are on the way at most."""

SEALED_BYTES = 400
"""The size of a signal: that of a small session description, compressed and sealed."""

_STAMP = struct.Struct("!dx")
"""When a signal was sent, at its beginning; a multiple of three bytes, for base64."""

_STAMP_CHARACTERS = 12
_REST = b64encode(bytes(SEALED_BYTES - _STAMP.size))
_SEALED = b'"sealed":"'

_ACK = b'{"type":"ack"'
_SIGNAL = b'{"type":"signal"'


EncodeSignal = Callable[[str, int, bytes], bytes]
"""Makes a signal of the receiver, its id and what is sealed."""


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

    def signal(self, to: str) -> None:
        """Send a signal that says when it was sent, unless too many are on the way."""
        ...

    def talk(self, to: Sequence[str], random: Random) -> None:
        """Signal to one after the other from now on, as fast as the server takes it; to nobody: stop."""
        ...

    def set_presence(self, number: int) -> None:
        """Change the presence, which everybody in the room gets."""
        ...


class Chatter:
    """Keeps the signals of one peer on the way: at most `SIGNAL_WINDOW` that were not answered."""

    def __init__(self, send: Callable[..., None], encode_signal: EncodeSignal) -> None:
        self._send = send
        self._encode = encode_signal
        self._next_id = 1
        self._under_way = 0
        self._to: Sequence[str] = ()
        self._random = Random(0)

    def signal(self, to: str) -> None:
        """See `Peer.signal`."""
        if self._under_way < SIGNAL_WINDOW:
            self._send(self._next_signal(to))

    def talk(self, to: Sequence[str], random: Random) -> None:
        """See `Peer.talk`."""
        self._to, self._random = to, random
        self.answered(0)

    def answered(self, count: int) -> None:
        """Note answers, and send as many signals."""
        self._under_way -= count
        free = SIGNAL_WINDOW - self._under_way
        if self._to and free > 0:
            self._send(*[self._next_signal(self._random.choice(self._to)) for _ in range(free)])

    def _next_signal(self, to: str) -> bytes:
        stamp = b2a_base64(_STAMP.pack(time.perf_counter()), newline=False)
        signal = self._encode(to, self._next_id, stamp + _REST)
        self._next_id += 1
        self._under_way += 1
        return signal


def age_of(message: bytes) -> float:
    """Return how many seconds ago a signal was sent."""
    at = message.index(_SEALED) + len(_SEALED)
    return float(time.perf_counter() - _STAMP.unpack(a2b_base64(message[at : at + _STAMP_CHARACTERS]))[0])


class TalkingPeer:
    """What every peer has, whatever its protocol: a socket while it is a member, and signals on the way."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._socket: LoadSocket | None = None
        self._chatter: Chatter | None = None

    def signal(self, to: str) -> None:
        """See `Peer.signal`."""
        if self._chatter is not None:
            self._chatter.signal(to)

    def talk(self, to: Sequence[str], random: Random) -> None:
        """See `Peer.talk`."""
        if self._chatter is not None:
            self._chatter.talk(to, random)

    @contextmanager
    def _member_on(
        self, socket: LoadSocket, started_at: float, encode_signal: EncodeSignal, *, reads: bool
    ) -> Generator[None, None, None]:
        """Note the join that began then, and be a member on this socket for the block."""
        self._tally.joins.append(time.perf_counter() - started_at)
        self._socket, self._chatter = socket, Chatter(socket.send, encode_signal)
        if reads:
            socket.listen(self._take)
        else:
            socket.stop_reading()
        try:
            yield
        finally:
            self._socket = self._chatter = None

    def _take(self, messages: list[bytes]) -> None:
        answers = sum(map(self._is_answer, messages))
        if answers and self._chatter is not None:
            self._chatter.answered(answers)

    def _is_answer(self, message: bytes) -> bool:
        """Count what came. Returns whether it answers a signal of this peer."""
        raise NotImplementedError


class LoadPeer(TalkingPeer):
    """One member; what comes is looked at no closer than it must be."""

    def __init__(self, url: str, room: str, tally: Tally, *, local_host: str | None = None) -> None:
        super().__init__(tally)
        self.identity = Identity.create()
        self._url = url
        self._room = room
        self._local_host = local_host
        self._prekey = LocalPrekey.create(self.identity, room).public

    @property
    def peer_id(self) -> PeerId:
        """Its id."""
        return self.identity.peer_id

    async def ended(self) -> None:
        """Wait until its connection has ended."""
        if self._socket is not None:
            await self._socket.ended.wait()

    def companion(self) -> "LoadPeer":
        """Return another peer for the same room."""
        return LoadPeer(self._url, self._room, self._tally)

    @asynccontextmanager
    async def joined(self, *, reads: bool = True) -> AsyncGenerator[None, None]:
        """Be a member; one that does not read takes nothing from its socket after the welcome."""
        started_at = time.perf_counter()
        async with load_socket(
            self._url, SIGNALING_PATH, subprotocol=SUBPROTOCOL, local_host=self._local_host
        ) as socket:
            welcome = await self._introduce(socket)
            with self._member_on(socket, started_at, _encode_signal, reads=reads):
                async with running(_beat(socket, welcome.heartbeat if reads else None)):
                    yield
                self._tally.lost += socket.ended.is_set()
                socket.send(encode(Leave()))

    def set_presence(self, number: int) -> None:
        """See `Peer.set_presence`."""
        if self._socket is not None:
            self._socket.send(encode(SetPresence(presence={"n": number})))

    def _join(self, challenge: Challenge) -> Join:
        proof = sign_join(self.identity, nonce=challenge.nonce, room=self._room, prekey=self._prekey)
        return Join(room=self._room, peer_id=self.peer_id, prekey=self._prekey, proof=proof)

    async def _introduce(self, socket: LoadSocket) -> Welcome:
        challenge = decode_server(await socket.receive())
        if not isinstance(challenge, Challenge):
            raise ProtocolError(f"the server said {challenge}")
        socket.send(encode(self._join(challenge)))
        welcome = decode_server(await socket.receive())
        if not isinstance(welcome, Welcome):
            raise ProtocolError(f"the server said {welcome}")
        return welcome

    def _is_answer(self, message: bytes) -> bool:
        if message.startswith(_ACK):
            return True
        if message.startswith(_SIGNAL):
            self._tally.deliveries.append(age_of(message))
        elif not message.startswith(b'{"type":"pong"'):
            self._tally.events += 1
        return False


def _encode_signal(to: str, id_: int, sealed: bytes) -> bytes:
    return b'{"type":"signal","to":"%s","id":%d,"sealed":"%s"}' % (to.encode(), id_, sealed)


async def _beat(socket: LoadSocket, heartbeat: float | None) -> None:
    while heartbeat is not None:
        await asyncio.sleep(heartbeat)
        socket.send(encode(Ping()))


@asynccontextmanager
async def running(work: Coroutine[None, None, None]) -> AsyncGenerator[None, None]:
    """Do something beside the block, and stop at its end."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
