"""A visit: one connection to the relay, from the challenge to its end."""

import asyncio
import logging
from collections.abc import Callable

from rtcmesh.signaling.identity import IdentityError, short
from rtcmesh.signaling.ticket import InvalidTicket, Ticket, TicketKey, verify

from .codes import CloseCode, GoneReason
from .config import MIN_BYTES_PER_SECOND, RelayConfig
from .connection import Connection
from .errors import OlderConnection, ProtocolError, SocketClosed
from .exchange import Exchange
from .frames import (
    MAX_PAYLOAD_BYTES,
    Join,
    Send,
    Welcome,
    decode_client,
    encode_challenge,
    encode_limit,
    encode_welcome,
    key_of,
)
from .pace import Pace
from .proof import verify_join
from .stats import RelayStats
from .switch import Seat

_logger = logging.getLogger(__name__)


class Visit:
    """Carries out what one peer asks. `nonce` must be fresh, `clock` tells the time of day in seconds."""

    def __init__(
        self,
        *,
        key: TicketKey,
        exchange: Exchange,
        config: RelayConfig,
        stats: RelayStats,
        nonce: bytes,
        clock: Callable[[], float],
    ) -> None:
        self._key = key
        self._exchange = exchange
        self._config = config
        self._stats = stats
        self._nonce = nonce
        self._clock = clock
        self._seat: Seat | None = None
        self._pace: Pace | None = None
        self._pace_timer: asyncio.TimerHandle | None = None
        self.name = "nobody"
        """Who is visiting, for the log."""

    def next_frame(self) -> bytes | None:
        """Return what the connection is to send next; see `Connection`."""
        return None if self._seat is None else self._exchange.take(self._seat)

    def pace(self, size: int) -> float:
        """Note what heartbeats have cost and return for how many seconds to read nothing; see `Connection`."""
        return 0.0 if self._pace is None else self._pace.take(size, asyncio.get_running_loop().time())

    async def run(self, connection: Connection) -> None:
        """Serve the visitor until the connection ends."""
        connection.say(encode_challenge(self._nonce))
        timer = asyncio.get_running_loop().call_later(
            self._config.join_timeout, self._expect_joined, connection
        )
        try:
            while True:
                frame = await connection.receive()
                self._handle(connection, frame)
                if self._pace is not None:
                    await self._slow_down(connection, self._pace, len(frame))
        except SocketClosed:
            pass
        except ProtocolError as error:
            connection.fail(CloseCode.PROTOCOL_VIOLATION, str(error))
        except Exception:
            _logger.exception("failed to serve %s", self.name)
            connection.fail(CloseCode.INTERNAL)
        finally:
            timer.cancel()
            if self._pace_timer is not None:
                self._pace_timer.cancel()

    def leave(self, connection: Connection) -> None:
        """Give up the place; called when nothing more will be sent."""
        if self._seat is not None:
            ending = connection.ending
            orderly = ending is not None and ending.code in (CloseCode.NORMAL, CloseCode.SHUTTING_DOWN)
            self._exchange.leave(self._seat, GoneReason.LEFT if orderly else GoneReason.LOST)

    def _handle(self, connection: Connection, frame: bytes) -> None:
        match decode_client(frame):
            case Send() as send if self._seat is not None:
                self._exchange.send(self._seat, send)
                if self._seat.is_swamped:
                    connection.fail(CloseCode.STALLED)
            case Join() as join if self._seat is None:
                self._join(connection, join)
            case message:
                raise ProtocolError(f"a {type(message).__name__} at the wrong moment")

    def _join(self, connection: Connection, join: Join) -> None:
        try:
            ticket = self._admit(join)
        except InvalidTicket as error:
            connection.fail(CloseCode.BAD_TICKET, str(error))
            return
        except IdentityError as error:
            connection.fail(CloseCode.BAD_PROOF, str(error))
            return
        self.name = f"{short(ticket.peer_id)} in {ticket.room!r}"
        try:
            self._seat = self._exchange.join(
                ticket.room,
                key_of(ticket.peer_id),
                join.number,
                max_queue_bytes=ticket.max_queue_bytes,
                wake=connection.wake,
                replace=lambda: connection.fail(CloseCode.REPLACED),
            )
        except OlderConnection as error:
            connection.fail(CloseCode.OLDER, str(error))
            return
        self._stats.joins += 1
        rate = self._config.bytes_per_second if ticket.bytes_per_second is None else ticket.bytes_per_second
        self._welcome(connection, max(rate, MIN_BYTES_PER_SECOND) if rate else 0)

    def _admit(self, join: Join) -> Ticket:
        ticket = verify(self._key, join.ticket, now=self._clock())
        verify_join(ticket.peer_id, join.proof, nonce=self._nonce, ticket=join.ticket, number=join.number)
        return ticket

    def _welcome(self, connection: Connection, rate: int) -> None:
        config = self._config
        if rate:
            now = asyncio.get_running_loop().time()
            self._pace = Pace(bytes_per_second=rate, burst_bytes=config.burst_bytes, now=now)
        welcome = Welcome(MAX_PAYLOAD_BYTES, config.limits.max_pair_bytes, rate, config.heartbeat)
        connection.say(encode_welcome(welcome))

    async def _slow_down(self, connection: Connection, pace: Pace, size: int) -> None:
        """Read nothing for a while if the connection has sent too much, and announce what changes."""
        pause = pace.take(size, asyncio.get_running_loop().time())
        self._announce(connection, pace)
        if pause:
            await connection.pause(pause)

    def _announce(self, connection: Connection, pace: Pace) -> None:
        for limit in pace.limits():
            self._stats.pauses += limit.bytes_per_second > 0
            connection.say(encode_limit(limit.bytes_per_second, limit.paused_for))
        deadline = pace.deadline()
        if deadline is not None and self._pace_timer is None and connection.ending is None:
            loop = asyncio.get_running_loop()
            self._pace_timer = loop.call_at(deadline, self._lift, connection, pace)

    def _lift(self, connection: Connection, pace: Pace) -> None:
        self._pace_timer = None
        pace.handle_timeout(asyncio.get_running_loop().time())
        self._announce(connection, pace)

    def _expect_joined(self, connection: Connection) -> None:
        if self._seat is None:
            connection.fail(CloseCode.JOIN_TIMEOUT)
