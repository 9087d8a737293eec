"""The signaling service: serves any text socket, and knows nothing of what carries it."""

import asyncio
import logging
import time
from collections.abc import Callable
from math import ceil
from random import Random, SystemRandom

from .codes import RefusalCode
from .config import ServiceConfig
from .connection import Connection
from .errors import JoinRefused
from .limits.address import UNKNOWN, Address
from .limits.traffic import Flow, Overload, Traffic
from .messages import Draining
from .registry import Registry
from .session import Role, Session
from .stats import RegistryStats, ServiceStats
from .text_socket import TextSocket
from .visit import Visit, refused_for_a_while

DRAIN_INTERVAL = 0.5
"""Seconds from one batch of peers that are sent away to the next."""

_logger = logging.getLogger(__name__)


class SignalingService:
    """Serves connections until it is drained; what one of them sends or suffers ends no other.

    `random` and `clock` replace the system's, so that a test can be repeated.
    """

    def __init__(
        self,
        registry: Registry,
        config: ServiceConfig | None = None,
        *,
        random: Random | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.stats = ServiceStats()
        self._registry = registry
        self._config = ServiceConfig() if config is None else config
        self._random = SystemRandom() if random is None else random
        self._clock = clock
        # In the order of their coming, so that a run can be repeated.
        self._connections: dict[Connection, None] = {}
        self._ended = asyncio.Event()
        self._draining = False
        self._closed = False
        self._traffic = Traffic(
            self._config.traffic,
            self.stats.limits,
            now=asyncio.get_running_loop().time(),
            servers=lambda: registry.servers,
        )

    @property
    def registry_stats(self) -> RegistryStats:
        """How the place where rooms live fares."""
        return self._registry.stats

    @property
    def is_draining(self) -> bool:
        """Whether the service stops: new peers should go elsewhere."""
        return self._draining

    async def serve(self, socket: TextSocket, address: Address = UNKNOWN) -> None:
        """Serve one connection from an address to its end; nothing is limited by address when it is not known.

        Never raises for what the other side does; cancelling drops it.
        """
        entry = self._enter(address)
        if isinstance(entry, JoinRefused):
            await self._turn_away(socket, entry)
            return
        connection = self._connect(socket, entry.receive)
        visit = Visit(
            connection,
            registry=self._registry,
            config=self._config,
            stats=self.stats,
            flow=entry,
            random=self._random,
            clock=self._clock,
        )
        self._remember(connection)
        try:
            async with connection:
                connection.slow_down(entry.wait)
                await visit.run()
        finally:
            entry.close(asyncio.get_running_loop().time())
            self._forget(connection)
            self._note_ending(connection, visit.trace)

    async def _turn_away(self, socket: TextSocket, refusal: JoinRefused) -> None:
        connection = self._connect(socket)
        try:
            async with connection:
                connection.fail(refusal.code, refusal.message, refusal.retry_after)
        finally:
            self._note_ending(connection, {})

    async def drain(self) -> None:
        """Send every peer away with a moment to come back at and the alternatives, and return when all have gone.

        A member's place in its room is kept for the resume window. Those who come meanwhile are refused with
        `shutting_down`, and are not waited for. It takes `drain_notice`, `drain_window` and at most `close_timeout`.
        May be repeated; whoever repeats it waits for the same end.
        """
        if not self._draining:
            self._draining = True
            await self._send_away()
        leaving = list(self._connections)
        while leaving:
            if leaving[-1] not in self._connections:
                leaving.pop()
                continue
            self._ended.clear()
            await self._ended.wait()

    async def _send_away(self) -> None:
        await asyncio.sleep(self._config.drain_notice)
        self._closed = True
        remaining = list(self._connections)
        batches = max(1, ceil(self._config.drain_window / DRAIN_INTERVAL))
        spread = self._config.drain_spread if batches == 1 else DRAIN_INTERVAL
        for number in range(batches):
            size = ceil(len(remaining) / (batches - number))
            batch, remaining = remaining[:size], remaining[size:]
            for connection in batch:
                reconnect_in = self._random.uniform(0.0, spread)
                connection.send(Draining(reconnect_in=reconnect_in, alternatives=self._config.alternatives))
                connection.fail(RefusalCode.SHUTTING_DOWN, retry_after=reconnect_in)
            if batch:
                _logger.info("sent peers away", extra={"peers": len(batch), "remaining": len(remaining)})
            if remaining:
                await asyncio.sleep(DRAIN_INTERVAL)

    def _enter(self, address: Address) -> Flow | JoinRefused:
        if self._closed:
            return JoinRefused(RefusalCode.SHUTTING_DOWN, retry_after=self._config.retry_after)
        if len(self._connections) >= self._config.max_connections:
            return JoinRefused(RefusalCode.SERVER_FULL, retry_after=self._config.retry_after)
        entry = self._traffic.enter(address, asyncio.get_running_loop().time())
        if isinstance(entry, Overload):
            return refused_for_a_while(entry, self._random)
        return entry

    def _connect(self, socket: TextSocket, pace: Callable[[int, float], float] | None = None) -> Connection:
        session = Session(
            Role.SERVER,
            now=asyncio.get_running_loop().time(),
            join_timeout=self._config.join_timeout,
            max_message_bytes=self._config.max_message_bytes,
        )
        return Connection(
            socket,
            session,
            max_queue_bytes=self._config.max_queue_bytes,
            close_timeout=self._config.close_timeout,
            pace=pace,
        )

    def _remember(self, connection: Connection) -> None:
        self.stats.connections_accepted += 1
        self._connections[connection] = None
        self.stats.connections = len(self._connections)

    def _forget(self, connection: Connection) -> None:
        del self._connections[connection]
        self._ended.set()
        self.stats.connections = len(self._connections)

    def _note_ending(self, connection: Connection, trace: dict[str, object]) -> None:
        if connection.ending is not None:
            reason = self.stats.count_ending(connection.ending)
            refused = connection.ending.refused
            detail = "" if refused is None else refused.message
            _logger.info("connection ended", extra={**trace, "reason": reason, "detail": detail})
