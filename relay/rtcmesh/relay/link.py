"""The client link: one connection to a relay, kept until its owner has enough of it."""

import asyncio
import os
import time
from contextlib import AsyncExitStack
from random import Random
from typing import Protocol

from rtcmesh.signaling.backoff import Backoff
from rtcmesh.signaling.identity import Identity, PeerId

from .aiohttp_socket import dial_websocket
from .backlog import Backlog
from .binary_socket import Dial
from .codes import CloseCode
from .config import MAX_HEARTBEAT, MIN_BYTES_PER_SECOND, MIN_HEARTBEAT, RelayClientConfig
from .connection import Connection
from .errors import DialFailed, ProtocolError, SocketClosed
from .frames import (
    MAX_PAYLOAD_BYTES,
    Challenge,
    Closed,
    Draining,
    Join,
    Limit,
    Nack,
    PeerGone,
    Recv,
    RelayFrame,
    Urgency,
    Welcome,
    decode_relay,
    encode_join,
    encode_send,
    key_of,
    peer_id_of,
)
from .heartbeat import Heartbeat
from .proof import sign_join

MAX_STAY_AWAY = 60.0
"""No relay keeps a link away for longer than this many seconds: what waits for it is kept for twice as long."""

MAX_PAUSE = 30.0
"""No relay makes a link pause for longer than this many seconds at once."""

_BEFORE_JOIN: tuple[type[RelayFrame], ...] = (Challenge,)
_AFTER_JOIN: tuple[type[RelayFrame], ...] = (Welcome, Recv, PeerGone, Nack, Limit)


class RelaySink(Protocol):
    """What a link tells its owner, on its loop, and never from within a call of the link."""

    def relay_up(self, link: "RelayLink") -> None:
        """Frames are accepted: a join was sent, and they follow it. Comes again after each reconnect."""
        ...

    def relay_lost(self, link: "RelayLink", reason: str) -> None:
        """The connection of the last `relay_up` is gone, or closed at the end of `run`.

        Whether what it was given arrived is unknown.
        """
        ...

    def frame_received(self, link: "RelayLink", sender: PeerId, payload: bytes) -> None:
        """A peer sent this. The relay may have made it up: only a seal proves the sender."""
        ...

    def peer_gone(self, link: "RelayLink", peer_id: PeerId, reason: str) -> None:
        """Nothing sent to this peer arrives until it is back."""
        ...

    def frames_refused(self, link: "RelayLink", peer_id: PeerId, count: int, reason: str) -> None:
        """So many frames to this peer, none of them datagrams, were not forwarded."""
        ...

    def relay_writable(self, link: "RelayLink") -> None:
        """`buffered_amount` has fallen to `LOW_WATER_BYTES` after it was above."""
        ...


class RelayLink:
    """Keeps a connection while `run` runs; `send` gives it frames while it `is_up`.

    `url` is a relay's base URL, or a whole one with its path; `dial` replaces the network, `random` the source of the
    jitter between attempts.
    """

    def __init__(
        self,
        url: str,
        *,
        identity: Identity,
        sink: RelaySink,
        config: RelayClientConfig | None = None,
        dial: Dial | None = None,
        random: Random | None = None,
    ) -> None:
        self.url = url
        self._identity = identity
        self._sink = sink
        self._config = RelayClientConfig() if config is None else config
        self._dial = dial_websocket if dial is None else dial
        random = Random(os.urandom(32)) if random is None else random
        self._backoff = Backoff(random, base=self._config.backoff_base, maximum=self._config.backoff_maximum)
        self._backlog = Backlog(self._config.max_queue_bytes)
        self._ticket: str | None = None
        self._ticket_in_use: str | None = None
        self._refused_ticket: str | None = None
        self._authorized = asyncio.Event()
        self._hurried = asyncio.Event()
        self._number = 0
        self._connection: Connection | None = None
        self._nonce: bytes | None = None
        self._is_up = False
        self._closed: Closed | None = None
        self._reconnect_in = 0.0
        self._pacer: asyncio.TimerHandle | None = None
        self._answer_timer: asyncio.TimerHandle | None = None

    @property
    def is_up(self) -> bool:
        """Whether `send` takes frames."""
        return self._is_up

    @property
    def buffered_amount(self) -> int:
        """The bytes that wait here and were not handed to the socket."""
        return self._backlog.queued_bytes

    @property
    def limited(self) -> bool:
        """Whether the relay asked for a slower pace, which the link keeps until it is lifted."""
        return self._backlog.is_limited

    @property
    def rtt(self) -> float | None:
        """Seconds to the relay and back as last measured on this connection."""
        return None if self._connection is None else self._connection.heartbeat.rtt

    async def run(self) -> None:
        """Keep a connection until cancelled, which closes it within `close_timeout`, after what is buffered.

        A second cancellation meanwhile aborts.
        """
        while True:
            at_least = await self._attempt()
            delay = self._backoff.next_delay(asyncio.get_running_loop().time(), at_least=at_least)
            if self._ticket == self._refused_ticket:
                await self._wait_for_ticket()
            else:
                await self._rest(delay)

    def authorize(self, ticket: str) -> None:
        """Use this ticket from the next join on; one that waits for it joins now."""
        self._ticket = ticket
        self._authorized.set()
        if self._nonce is not None:
            asyncio.get_running_loop().call_soon(self._join)

    def hurry(self) -> None:
        """End the pause before the next attempt, if there is one."""
        self._hurried.set()

    def check(self, within: float) -> None:
        """Ping now, and reconnect unless something is heard within so many seconds; ends a pause between attempts."""
        if self._connection is None:
            self.hurry()
        else:
            self._connection.check(within)

    def send(self, to: PeerId, payload: bytes, urgency: Urgency, *, datagram: bool = False) -> bool:
        """Queue a frame behind those as urgent, before all others; False if it was not taken.

        That is so when the link is not up, or when `max_queue_bytes` are waiting. Raises `ValueError` for more than
        `MAX_PAYLOAD_BYTES`.
        """
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise ValueError(f"a payload of {len(payload)} bytes; {MAX_PAYLOAD_BYTES} fit in a frame")
        if not self._is_up:
            return False
        taken = self._backlog.put(encode_send(key_of(to), payload, urgency, datagram=datagram), urgency)
        if taken and self._connection is not None:
            self._connection.wake()
        return taken

    async def _attempt(self) -> float:
        """Open a connection, use it to its end, and return the seconds to stay away at least."""
        self._reconnect_in, self._closed = 0.0, None
        loop = asyncio.get_running_loop()
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(self._config.dial_timeout):
                    socket = await stack.enter_async_context(self._dial(self.url))
                heartbeat = Heartbeat(now=loop.time(), interval=self._config.heartbeat, measuring=True)
                connection = Connection(
                    socket, heartbeat, source=self._next_frame, close_timeout=self._config.close_timeout
                )
                await stack.enter_async_context(connection)
                self._connection = connection
                self._expect_answer(connection)
                await self._converse(connection)
        except (DialFailed, TimeoutError):
            pass
        finally:
            self._disconnected()
        return self._reconnect_in

    async def _converse(self, connection: Connection) -> None:
        try:
            while True:
                self._handle(connection, decode_relay(await connection.receive()))
        except ProtocolError as error:
            connection.fail(CloseCode.PROTOCOL_VIOLATION, str(error))
        except SocketClosed:
            pass

    def _handle(self, connection: Connection, frame: RelayFrame) -> None:
        if type(frame) in (_BEFORE_JOIN if self._is_up else _AFTER_JOIN):
            raise ProtocolError(f"a {type(frame).__name__} at the wrong moment")
        match frame:
            case Recv():
                self._sink.frame_received(self, peer_id_of(frame.source), frame.payload)
            case Challenge(nonce):
                self._expect_nothing()
                self._nonce = nonce
                self._join()
            case Welcome():
                self._expect_nothing()
                self._backoff.connected(asyncio.get_running_loop().time())
                connection.heartbeat.interval = min(max(frame.heartbeat, MIN_HEARTBEAT), MAX_HEARTBEAT)
                connection.ping()
            case PeerGone(key, reason, frames):
                peer_id, name = peer_id_of(key), reason.name.lower()
                if frames:
                    self._sink.frames_refused(self, peer_id, frames, name)
                self._sink.peer_gone(self, peer_id, name)
            case Nack(key, reason, frames):
                self._sink.frames_refused(self, peer_id_of(key), frames, reason.name.lower())
            case Limit(rate, paused_for):
                # No relay of ours asks for less.
                limit = Limit(max(rate, MIN_BYTES_PER_SECOND) if rate else 0, min(paused_for, MAX_PAUSE))
                self._backlog.limit(limit, asyncio.get_running_loop().time())
                connection.wake()
            case Draining(reconnect_in):
                self._reconnect_in = min(reconnect_in, MAX_STAY_AWAY)
            case Closed():
                self._closed = frame
            case _:
                raise AssertionError("the connection answers heartbeats")

    def _join(self) -> None:
        """Answer the challenge, if there is one to answer and a ticket to do it with."""
        nonce, connection, ticket = self._nonce, self._connection, self._ticket
        if nonce is None or connection is None or ticket is None or ticket == self._refused_ticket:
            return
        self._nonce, self._ticket_in_use = None, ticket
        # Greater than that of every earlier connection of this identity, in this process or before it.
        self._number = max(self._number + 1, time.time_ns())
        proof = sign_join(self._identity, nonce=nonce, ticket=ticket, number=self._number)
        connection.say(encode_join(Join(self._number, proof, ticket)))
        self._expect_answer(connection)
        self._is_up = True
        self._sink.relay_up(self)

    def _next_frame(self) -> bytes | None:
        """Give the connection what may be sent now."""
        loop = asyncio.get_running_loop()
        frame = self._backlog.take(loop.time())
        if frame is None:
            deadline = self._backlog.deadline()
            if deadline is not None and self._connection is not None:
                if self._pacer is not None:
                    self._pacer.cancel()
                self._pacer = loop.call_at(deadline, self._connection.wake)
        elif self._backlog.became_writable():
            loop.call_soon(self._tell_writable)
        return frame

    def _expect_answer(self, connection: Connection) -> None:
        """Leave a relay that does not go on with the handshake, though it may live."""
        loop, timeout = asyncio.get_running_loop(), self._config.dial_timeout
        self._answer_timer = loop.call_later(timeout, connection.fail, CloseCode.JOIN_TIMEOUT)

    def _expect_nothing(self) -> None:
        if self._answer_timer is not None:
            self._answer_timer.cancel()

    def _tell_writable(self) -> None:
        if self._is_up:
            self._sink.relay_writable(self)

    def _disconnected(self) -> None:
        self._expect_nothing()
        if self._pacer is not None:
            self._pacer.cancel()
        number: int = CloseCode.ABNORMAL
        if self._closed is not None:
            number = self._closed.code
        elif self._connection is not None and self._connection.ending is not None:
            number = self._connection.ending.code
        self._connection = self._nonce = None
        self._backlog.clear()
        if self._is_up:
            self._is_up = False
            code = CloseCode.find(number)
            if code is not None and code.needs_ticket:
                self._refused_ticket = self._ticket_in_use
            self._sink.relay_lost(self, f"closed with code {number}" if code is None else code.meaning)

    async def _wait_for_ticket(self) -> None:
        while self._ticket == self._refused_ticket:
            self._authorized.clear()
            await self._authorized.wait()

    async def _rest(self, delay: float) -> None:
        self._hurried.clear()
        try:
            async with asyncio.timeout(delay):
                await self._hurried.wait()
        except TimeoutError:
            pass
