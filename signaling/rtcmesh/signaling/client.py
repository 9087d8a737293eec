"""The client link: one membership in a room, kept through lost connections and restarted servers."""

import asyncio
import logging
import os
from asyncio import Future
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from typing import Self

from .aiohttp_socket import parse_url
from .backoff import Backoff
from .codes import NackCode, RefusalCode
from .config import ClientConfig
from .connection import Connection
from .errors import (
    Closed,
    JoinRefused,
    PresenceTooLarge,
    ProtocolError,
    SignalingUnreachable,
    SignalRefused,
)
from .event_queue import EventQueue
from .events import LinkEvent, LinkLost, LinkResumed
from .fallback import FallbackDial
from .identity import Identity, PeerId
from .membership import Membership
from .messages import (
    MAX_SERVER_MESSAGE_BYTES,
    MAX_TOKEN_BYTES,
    Ack,
    Challenge,
    Draining,
    IceServersRenewed,
    Leave,
    Nack,
    PeerMessage,
    Presence,
    RelayTicketRenewed,
    RoomEvent,
    ServerMessage,
    Welcome,
    is_room_name,
    presence_bytes,
)
from .prekey import Prekey
from .session import Ending, Role, Session
from .text_socket import Dial, DialFailed, SocketClosed, TextSocket

_logger = logging.getLogger(__name__)


class SignalingLink:
    """A membership in a room; `open` makes one.

    Iterate over it for the events of the room and of the link itself. At most `max_queued_events` wait; while the
    application does not pull, the link stops reading, signals are not acknowledged, and a server that runs out of
    patience drops the connection, which the link then resumes. No event is lost or repeated without a
    `LinkResumed` that says so.
    """

    def __init__(
        self,
        urls: tuple[str, ...],
        membership: Membership,
        *,
        config: ClientConfig,
        dial: Dial,
        random: Random,
    ) -> None:
        """Prepare a link; use `open` instead."""
        self._urls = urls
        self._membership = membership
        self._config = config
        self._dial = dial
        self._backoff = Backoff(random, base=config.backoff_base, maximum=config.backoff_maximum)
        self._events: EventQueue[LinkEvent] = EventQueue(config.max_queued_events)
        self._answers: dict[int, Future[None]] = {}
        self._joined: Connection | None = None
        self._draining: Draining | None = None
        self._hurried = asyncio.Event()
        # The server in use comes first; one that does not let us in goes to the end.
        self._servers = deque(urls)
        self._first_welcome: Future[Welcome] = asyncio.get_running_loop().create_future()
        self._last_failure: Exception | None = None
        self._end: Exception | None = None
        self._task = asyncio.create_task(self._run())

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        url: str | Sequence[str],
        *,
        room: str,
        identity: Identity,
        prekey: Prekey,
        presence: Presence | None = None,
        token: str | None = None,
        config: ClientConfig | None = None,
        dial: Dial | None = None,
        random: Random | None = None,
        use_relays: bool = True,
    ) -> AsyncGenerator[Self, None]:
        """Join the room and return after the first welcome; leave it at the end of the block.

        `url` may be several, of servers that share their rooms: whichever answers is used, and when it fails the
        membership is resumed on another. They are tried in their order, from a random one on.

        Raises `JoinRefused`, `SignalingUnreachable` after `connect_timeout`, and at once `InvalidPresence` and, for a
        URL that cannot be one or for none, `ValueError`. `dial` replaces the network, `random` the source of the
        jitter between attempts.
        """
        if not is_room_name(room):
            raise JoinRefused(RefusalCode.BAD_ROOM)
        if token is not None and len(token.encode()) > MAX_TOKEN_BYTES:
            raise JoinRefused(RefusalCode.MESSAGE_TOO_LARGE, "the token is longer than the limit")
        urls = (url,) if isinstance(url, str) else tuple(url)
        if not urls:
            raise ValueError("a signaling link needs the URL of at least one server")
        if dial is None:
            for each in urls:
                parse_url(each)
        if presence is not None:
            presence_bytes(presence)
        config = ClientConfig() if config is None else config
        membership = Membership(
            room=room,
            identity=identity,
            prekey=prekey,
            presence=presence,
            token=token,
            use_relays=use_relays,
            window_bytes=config.max_queue_bytes // 2,
        )
        random = Random(os.urandom(32)) if random is None else random
        first = random.randrange(len(urls)) if len(urls) > 1 else 0
        link = cls(
            urls[first:] + urls[:first],
            membership,
            config=config,
            dial=_fallback_dial(config) if dial is None else dial,
            random=random,
        )
        try:
            await link._wait_for_welcome()
            yield link
        finally:
            await link.aclose()

    @property
    def welcome(self) -> Welcome:
        """The first welcome: the other members as they were then, and the ICE servers."""
        return self._first_welcome.result()

    @property
    def relays(self) -> tuple[str, ...]:
        """Where this peer may be at home, as the server said last; nowhere without `use_relays`."""
        return self._membership.relays

    @property
    def home_relay(self) -> str | None:
        """Where this peer is at home: the server's first choice, or what `set_relay` said."""
        return self._membership.home_relay

    async def set_relay(self, relay: str) -> None:
        """Be at home at another of the `relays`; returns when it is sent, or kept for the next connection."""
        self._check_open()
        message = self._membership.set_relay(relay)
        if self._joined is not None:
            self._joined.send(message)
            await self._joined.flushed()

    def hurry(self) -> None:
        """End the pause before the next attempt, if there is one."""
        self._hurried.set()

    def check(self, within: float) -> None:
        """Ping now, and connect anew unless something is heard within so many seconds."""
        if self._joined is None:
            self.hurry()
        else:
            self._joined.check(within)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> LinkEvent:
        """Return the next event. Ends after `aclose`; raises `JoinRefused` when the server refuses for good.

        Cancelling loses no event.
        """
        return await self._events.get()

    async def signal(self, to: PeerId, sealed: bytes) -> None:
        """Send a sealed signal to a member and return when the room has it; waits across reconnects.

        Signals to one member arrive in the order of the calls, each once. Raises `SignalRefused`, which means it is
        not delivered, except that after `epoch_changed` nobody knows; and `Closed`. When cancelled, it may or may
        not be delivered, never twice.
        """
        self._check_open()
        if len(sealed) > min(self._membership.limits.max_signal_bytes, self._config.max_queue_bytes // 2):
            raise SignalRefused(NackCode.TOO_LARGE)
        outbox = self._membership.outbox
        ticket = outbox.submit(to, sealed)
        answer = self._answers[ticket] = asyncio.get_running_loop().create_future()
        self._send_signals()
        try:
            await answer
        except asyncio.CancelledError:
            outbox.withdraw(ticket)
            raise
        finally:
            self._answers.pop(ticket, None)

    async def set_presence(self, presence: Presence) -> None:
        """Replace what the others see of this member; returns when it is sent, or kept for the next connection.

        Only the last of several presences is sure to be seen. Raises `InvalidPresence`, `PresenceTooLarge`,
        `Closed`. When cancelled, the presence is replaced all the same.
        """
        self._check_open()
        size_bytes, limit_bytes = presence_bytes(presence), self._membership.limits.max_presence_bytes
        if size_bytes > limit_bytes:
            raise PresenceTooLarge(size_bytes=size_bytes, limit_bytes=limit_bytes)
        message = self._membership.set_presence(presence)
        if self._joined is not None:
            self._joined.send(message)
            await self._joined.flushed()

    async def aclose(self) -> None:
        """Leave the room and release everything, within `close_timeout`. Idempotent; cancelling it aborts."""
        if self._joined is None:
            self._task.cancel()
        elif self._end is None:
            self._joined.send(Leave())
        self._finish(Closed())
        try:
            await asyncio.wait({self._task}, timeout=self._config.close_timeout)
        finally:
            self._task.cancel()
            await asyncio.wait({self._task})
        if not self._task.cancelled():
            self._task.result()

    async def _wait_for_welcome(self) -> None:
        timeout = self._config.connect_timeout
        try:
            async with asyncio.timeout(timeout):
                await self._first_welcome
        except TimeoutError:
            raise SignalingUnreachable(" or ".join(self._urls), timeout) from self._last_failure

    async def _run(self) -> None:
        """Keep a connection until the link ends; the one task of the link."""
        try:
            while self._end is None:
                at_least = await self._attempt()
                delay = self._backoff.next_delay(self._now(), at_least=at_least)
                if self._end is None:
                    await self._rest(delay)
        except Exception as error:
            self._finish(error)
            raise

    async def _rest(self, delay: float) -> None:
        self._hurried.clear()
        try:
            async with asyncio.timeout(delay):
                await self._hurried.wait()
        except TimeoutError:
            pass

    async def _attempt(self) -> float:
        """Open a connection, use it to its end, and return the seconds to stay away at least."""
        url = self._servers[0]
        self._draining = None
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(self._config.dial_timeout):
                    socket = await stack.enter_async_context(self._dial(url))
                connection = await stack.enter_async_context(self._new_connection(socket))
                await self._converse(connection)
        except (DialFailed, TimeoutError) as error:
            self._last_failure = error
            self._servers.rotate(-1)
            return 0.0
        was_joined, self._joined = self._joined is not None, None
        assert connection.ending is not None
        return await self._note_ending(connection.ending, was_joined=was_joined)

    async def _note_ending(self, ending: Ending, *, was_joined: bool) -> float:
        refused, used = ending.refused, self._servers[0]
        if refused is None:
            self._last_failure = SocketClosed(ending.code, ending.reason)
        else:
            self._last_failure = JoinRefused(refused.code, refused.message)
            if refused.code.final:
                self._finish(self._last_failure)
        if was_joined:
            code = RefusalCode.from_close_code(ending.code)
            await self._events.put(LinkLost("connection lost" if code is None else code.meaning))
        if not was_joined or (refused is not None and refused.code is RefusalCode.UNAVAILABLE):
            self._servers.rotate(-1)
        if self._draining is not None:
            others = [url for url in self._urls if url != used]
            self._servers = deque(dict.fromkeys([*self._draining.alternatives, *others, *self._urls]))
            return self._draining.reconnect_in
        return 0.0 if refused is None else refused.retry_after or 0.0

    async def _converse(self, connection: Connection) -> None:
        try:
            async for message in connection:
                await self._handle(connection, message)
        except ProtocolError as error:
            connection.fail(RefusalCode.PROTOCOL_VIOLATION, str(error))

    async def _handle(self, connection: Connection, message: ServerMessage | PeerMessage) -> None:
        match message:
            case Challenge():
                _logger.debug("joining", extra={"connection": message.connection})
                connection.send(self._membership.join(message))
            case Welcome():
                await self._begin(connection, message)
            case Ack() | Nack():
                self._settle(message)
            case Draining():
                self._draining = message
            case IceServersRenewed() | RelayTicketRenewed():
                await self._publish(connection, message)
            case _:
                assert isinstance(message, RoomEvent)
                self._membership.advance(message)
                await self._publish(connection, message)

    async def _begin(self, connection: Connection, welcome: Welcome) -> None:
        for ticket in self._membership.welcomed(welcome):
            self._answer(ticket, SignalRefused(NackCode.EPOCH_CHANGED))
        self._backoff.connected(self._now())
        for message in self._membership.messages_after_welcome():
            connection.send(message)
        self._joined = connection
        self._send_signals()
        if not self._first_welcome.done():
            self._first_welcome.set_result(welcome)
        else:
            await self._publish(connection, LinkResumed(welcome.resumed, welcome))

    async def _publish(self, connection: Connection, event: LinkEvent) -> None:
        if self._events.is_full:
            with connection.paused():
                await self._events.put(event)
        else:
            await self._events.put(event)

    def _settle(self, message: Ack | Nack) -> None:
        ticket = self._membership.outbox.settle(message)
        self._answer(ticket, SignalRefused(message.code) if isinstance(message, Nack) else None)
        self._send_signals()

    def _answer(self, ticket: int, error: SignalRefused | None) -> None:
        answer = self._answers.get(ticket)
        if answer is not None and not answer.done():
            if error is None:
                answer.set_result(None)
            else:
                answer.set_exception(error)

    def _send_signals(self) -> None:
        if self._joined is not None:
            for signal in self._membership.outbox.signals_to_send():
                self._joined.send(signal)

    def _new_connection(self, socket: TextSocket) -> Connection:
        session = Session(
            Role.PEER,
            now=self._now(),
            join_timeout=self._config.dial_timeout,
            max_message_bytes=MAX_SERVER_MESSAGE_BYTES,
        )
        return Connection(
            socket,
            session,
            max_queue_bytes=self._config.max_queue_bytes,
            close_timeout=self._config.close_timeout,
        )

    def _finish(self, error: Exception) -> None:
        """End the link, once: everybody who waits learns why."""
        if self._end is not None:
            return
        self._end = error
        self._events.end(None if isinstance(error, Closed) else error)
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(error)
        if isinstance(error, Closed):
            self._first_welcome.cancel()
        elif not self._first_welcome.done():
            self._first_welcome.set_exception(error)

    def _check_open(self) -> None:
        if self._end is not None:
            raise self._end

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _fallback_dial(config: ClientConfig) -> Dial:
    return FallbackDial(patience=config.websocket_patience, retry_after=config.websocket_retry_after)
