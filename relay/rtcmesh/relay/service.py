"""The relay service: serves any binary socket, and knows nothing of what carries it."""

import asyncio
import logging
import time
from collections.abc import Callable
from random import Random, SystemRandom

from rtcmesh.signaling.ticket import TicketKey

from .binary_socket import BinarySocket
from .codes import CloseCode
from .config import RelayConfig
from .connection import Connection
from .exchange import Exchange
from .frames import NONCE_BYTES, encode_closed, encode_draining
from .heartbeat import Heartbeat
from .stats import RelayStats, SwitchStats
from .visit import Visit

_logger = logging.getLogger(__name__)


class RelayService:
    """Forwards frames between the holders of tickets until it is drained; what one of them does ends no other.

    `key` is the one that the signaling servers issue tickets with. `random` and `clock` replace the system's, so that
    a test can be repeated.
    """

    def __init__(
        self,
        key: TicketKey,
        config: RelayConfig | None = None,
        *,
        random: Random | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.config = RelayConfig() if config is None else config
        self.stats = RelayStats()
        self._key = key
        self._random = SystemRandom() if random is None else random
        self._clock = clock
        self._exchange = Exchange(self.config.limits)
        self._connections: dict[Connection, asyncio.Event] = {}
        """Each with what is set when it has ended; in the order of their coming, so that a run can be repeated."""
        self._draining = False

    @property
    def is_draining(self) -> bool:
        """Whether the relay takes no more peers."""
        return self._draining

    @property
    def frames(self) -> SwitchStats:
        """What became of the frames."""
        return self._exchange.stats

    @property
    def queued_bytes(self) -> int:
        """What waits for all receivers together."""
        return self._exchange.queued_bytes

    @property
    def rooms(self) -> int:
        """How many rooms have somebody connected."""
        return self._exchange.rooms

    @property
    def peers(self) -> int:
        """How many peers have joined and are connected."""
        return self._exchange.peers

    async def serve(self, socket: BinarySocket) -> None:
        """Serve one connection to its end. Never raises for what the other side does; cancelling drops it."""
        visit = Visit(
            key=self._key,
            exchange=self._exchange,
            config=self.config,
            stats=self.stats,
            nonce=self._random.randbytes(NONCE_BYTES),
            clock=self._clock,
        )
        connection = Connection(
            socket,
            Heartbeat(now=asyncio.get_running_loop().time(), interval=self.config.heartbeat),
            source=visit.next_frame,
            close_timeout=self.config.close_timeout,
            stall_timeout=self.config.stall_timeout,
            pace=visit.pace,
        )
        self._remember(connection)
        try:
            async with connection:
                await self._receive(visit, connection)
        finally:
            visit.leave(connection)
            self._forget(connection, visit.name)

    async def drain(self) -> None:
        """Tell every peer when to come back, and return when the connections of now have ended.

        What waits for them is still sent. That takes `close_timeout` at most. New connections are closed with
        `shutting_down`, and are not waited for. May be repeated.
        """
        self._draining = True
        leaving = dict(self._connections)
        code = CloseCode.SHUTTING_DOWN
        for connection in leaving:
            connection.say(encode_draining(self._random.uniform(0.0, self.config.drain_spread)))
            connection.close(code, encode_closed(code, code.meaning))
        for ended in leaving.values():
            await ended.wait()
        self._exchange.close()

    async def _receive(self, visit: Visit, connection: Connection) -> None:
        try:
            if self._draining:
                connection.fail(CloseCode.SHUTTING_DOWN)
            elif len(self._connections) > self.config.max_connections:
                connection.fail(CloseCode.RELAY_FULL)
            else:
                await visit.run(connection)
        except asyncio.CancelledError:
            connection.abort()
            raise

    def _remember(self, connection: Connection) -> None:
        self.stats.connections_total += 1
        self._connections[connection] = asyncio.Event()
        self.stats.connections = len(self._connections)

    def _forget(self, connection: Connection, name: str) -> None:
        self._connections.pop(connection).set()
        self.stats.connections = len(self._connections)
        if connection.ending is not None:
            code = CloseCode.find(connection.ending.code)
            reason = "other" if code is None else code.name.lower()
            self.stats.endings[reason] += 1
            _logger.info("the connection of %s ended: %s %r", name, reason, connection.ending.reason)
