"""A visit: one connection to the service, from the challenge to its end."""

import asyncio
import logging
from collections.abc import Callable
from random import Random

import msgspec

from .codes import RefusalCode
from .config import ServiceConfig
from .connection import Connection
from .errors import JoinRefused
from .identity import IdentityError, PeerId, short
from .limits.traffic import Flow, Overload
from .messages import (
    MAX_TOKEN_BYTES,
    Ack,
    Challenge,
    Join,
    Leave,
    Limits,
    Nack,
    PeerMessage,
    RelayTicketRenewed,
    SendSignal,
    ServerMessage,
    SetPresence,
    SetRelay,
    Signal,
    Welcome,
    is_room_name,
)
from .prekey import verify_join
from .registry import Attachment, Registry
from .room import Admission
from .room_stream import StreamEntry
from .stats import ServiceStats
from .ticket import Ticket, issue

NONCE_BYTES = 32
CONNECTION_ID_BYTES = 8

_logger = logging.getLogger(__name__)


class Visit:
    """Carries out what one peer asks, and is the sink of its events."""

    def __init__(
        self,
        connection: Connection,
        *,
        registry: Registry,
        config: ServiceConfig,
        stats: ServiceStats,
        flow: Flow,
        random: Random,
        clock: Callable[[], float],
    ) -> None:
        self._connection = connection
        self._registry = registry
        self._config = config
        self._stats = stats
        self._flow = flow
        self._random = random
        self._nonce = random.randbytes(NONCE_BYTES)
        self._server_time = clock()
        self._clock = clock
        self._attachment: Attachment | None = None
        self._member: tuple[str, PeerId] | None = None
        self._newest_answered = 0
        self._renewal: asyncio.TimerHandle | None = None
        self.trace: dict[str, object] = {"connection": random.randbytes(CONNECTION_ID_BYTES).hex()}
        """What every line of the log about this visit carries: the same id from the challenge to the last signal."""

    async def run(self) -> None:
        """Serve the visitor until the connection ends; a member that did not leave is suspended then."""
        self._connection.send(self._challenge())
        try:
            async for message in self._connection:
                await self._handle(message)
        except JoinRefused as refusal:
            self._refuse(refusal.code, refusal.message, refusal.retry_after)
        except Exception:
            _logger.exception("failed to serve a connection", extra=self.trace)
            self._connection.fail(RefusalCode.INTERNAL)
        finally:
            if self._renewal is not None:
                self._renewal.cancel()
            if self._attachment is not None:
                self._attachment.suspend()

    def welcome(self, admission: Admission) -> None:
        """See `Sink.welcome`."""
        self._stats.joins["resumed" if admission.resumed else "snapshot"] += 1
        welcome = Welcome(
            epoch=admission.epoch,
            offset=admission.offset,
            resumed=admission.resumed,
            members=admission.members,
            ice_servers=self._config.ice_servers,
            resume_token=admission.resume_token,
            heartbeat=self._config.heartbeat,
            relays=self._config.relays,
            relay_ticket=self._new_ticket(),
        )
        _logger.info("joined", extra={**self.trace, "resumed": admission.resumed, "offset": admission.offset})
        self._connection.send(welcome)
        for entry in admission.replay:
            self.deliver(entry)

    def deliver(self, entry: StreamEntry) -> None:
        """See `Sink.deliver`."""
        if isinstance(entry.event, Signal) and _logger.isEnabledFor(logging.DEBUG):
            signal = {
                "from": short(entry.event.sender),
                "signal": entry.event.id,
                "offset": entry.event.offset,
            }
            _logger.debug("signal delivered", extra={**self.trace, **signal})
        self._connection.send(entry.event, entry.frame)

    def answer(self, answer: Ack | Nack) -> None:
        """See `Sink.answer`."""
        outcome = "accepted" if isinstance(answer, Ack) else answer.code.value
        self._stats.signals["repeated" if answer.id <= self._newest_answered else outcome] += 1
        if _logger.isEnabledFor(logging.DEBUG):
            _logger.debug("signal answered", extra={**self.trace, "signal": answer.id, "result": outcome})
        self._newest_answered = max(self._newest_answered, answer.id)
        self._connection.send(answer)

    def end(self, code: RefusalCode | None, message: str = "") -> None:
        """See `Sink.end`."""
        if code is None:
            self._connection.abort()
        else:
            self._refuse(code, message)

    async def _handle(self, message: ServerMessage | PeerMessage) -> None:
        match message:
            case Join():
                self._attachment = await self._admit(message)
            case SendSignal():
                self._attached().signal(message)
            case SetPresence():
                self._attached().set_presence(message.presence)
                self._note_event()
            case SetRelay():
                self._attached().set_relay(self._checked_relay(message.relay))
                self._note_event()
            case Leave():
                self._attached().leave()
                self._connection.close()
            case _:
                raise AssertionError(f"the session let a {type(message).__name__} through")

    async def _admit(self, join: Join) -> Attachment:
        if not is_room_name(join.room):
            raise JoinRefused(RefusalCode.BAD_ROOM)
        if join.token is not None and len(join.token.encode()) > MAX_TOKEN_BYTES:
            raise JoinRefused(RefusalCode.MESSAGE_TOO_LARGE, "the token is longer than the limit")
        try:
            verify_join(join.peer_id, join.proof, nonce=self._nonce, room=join.room, prekey=join.prekey)
        except IdentityError as error:
            raise JoinRefused(RefusalCode.BAD_PROOF, str(error)) from error
        self.trace |= {"peer": short(join.peer_id), "room": join.room}
        self._member = (join.room, join.peer_id)
        wait = self._flow.join(join.room, self._now())
        if isinstance(wait, Overload):
            raise refused_for_a_while(wait, self._random)
        await asyncio.sleep(wait)
        checked = msgspec.structs.replace(join, relay=self._checked_relay(join.relay))
        return await self._registry.attach(checked, self)

    def _refuse(self, code: RefusalCode, message: str, retry_after: float | None = None) -> None:
        """End the connection; where all the room's peers may be meeting the same end, spread their return."""
        if code in (RefusalCode.SERVER_FULL, RefusalCode.UNAVAILABLE, RefusalCode.EPOCH_CHANGED):
            retry_after = self._random.uniform(0, self._config.retry_after)
        self._connection.fail(code, message, retry_after)

    def _note_event(self) -> None:
        """Let the peer pay for what the whole room was told."""
        self._connection.slow_down(self._flow.tell_room(self._now()))
        self._connection.give_way()

    def _checked_relay(self, relay: str | None) -> str | None:
        """Return a home relay, or None for one that this server does not announce."""
        return relay if relay in self._config.relays else None

    def _attached(self) -> Attachment:
        # The session lets nothing of a member through before its welcome was sent.
        assert self._attachment is not None
        return self._attachment

    def _challenge(self) -> Challenge:
        room, messages = self._config.room, self._config.traffic.messages
        limits = Limits(
            max_message_bytes=self._config.max_message_bytes,
            max_signal_bytes=room.max_signal_bytes,
            max_presence_bytes=room.max_presence_bytes,
            max_unacknowledged_signals=room.max_unacknowledged_signals,
            join_timeout=self._config.join_timeout,
            messages_per_second=0.0 if messages is None else messages.per_second,
            message_burst=0.0 if messages is None else messages.burst,
        )
        return Challenge(
            nonce=self._nonce,
            server_time=self._server_time,
            limits=limits,
            relays=self._config.relays,
            connection=str(self.trace["connection"]),
        )

    def _new_ticket(self) -> str | None:
        """Return a ticket for the member, and see to its renewal."""
        key = self._config.ticket_key
        if key is None or self._member is None:
            return None
        room, peer_id = self._member
        lifetime = self._config.ticket_lifetime
        self._renewal = asyncio.get_running_loop().call_later(lifetime / 2, self._renew_ticket)
        ticket = Ticket(
            room=room,
            peer_id=peer_id,
            expires_at=self._clock() + lifetime,
            bytes_per_second=self._config.ticket_bytes_per_second,
        )
        return issue(key, ticket)

    def _renew_ticket(self) -> None:
        ticket = self._new_ticket()
        if ticket is not None:
            self._connection.send(RelayTicketRenewed(ticket=ticket))

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def refused_for_a_while(overload: Overload, random: Random) -> JoinRefused:
    """Return the refusal of one who is to come back; the times are spread, or all would come back together."""
    retry_after = overload.retry_after * random.uniform(1, 2)
    return JoinRefused(RefusalCode.RATE_LIMITED, overload.limit.value, retry_after)
