"""The signaling service: serves any text socket, and knows nothing of what carries it."""

import asyncio
import logging
import time
from collections.abc import Callable
from random import Random, SystemRandom

from .codes import RefusalCode
from .config import ServiceConfig
from .connection import Connection
from .messages import Draining
from .registry import Registry
from .session import Role, Session
from .stats import ServiceStats
from .text_socket import TextSocket
from .visit import Visit

NONCE_BYTES = 32

_logger = logging.getLogger(__name__)


class SignalingService:
    """Serves connections until it is drained; what one of them sends or suffers ends no other. Rates are not limited.

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
        self._connections: dict[Connection, asyncio.Event] = {}
        """Each with what is set when it has ended; in the order of their coming, so that a run can be repeated."""
        self._draining = False

    @property
    def is_draining(self) -> bool:
        """Whether the service takes no more peers."""
        return self._draining

    async def serve(self, socket: TextSocket) -> None:
        """Serve one connection to its end. Never raises for what the other side does; cancelling drops it."""
        connection = Connection(
            socket,
            self._new_session(),
            max_queue_bytes=self._config.max_queue_bytes,
            close_timeout=self._config.close_timeout,
        )
        visit = Visit(
            connection,
            registry=self._registry,
            config=self._config,
            stats=self.stats,
            nonce=self._random.randbytes(NONCE_BYTES),
            clock=self._clock,
        )
        self._remember(connection)
        try:
            async with connection:
                refusal = self._refusal()
                if refusal is None:
                    self.stats.connections_accepted += 1
                    await visit.run()
                else:
                    connection.fail(refusal, retry_after=self._config.retry_after)
        finally:
            self._forget(connection, visit.name)

    async def drain(self) -> None:
        """Tell every peer when and where to come back, and return when the connections of now have ended.

        That takes `close_timeout` at most. New connections are refused with `shutting_down`, and are not waited for.
        May be repeated.
        """
        self._draining = True
        leaving = dict(self._connections)
        for connection in leaving:
            reconnect_in = self._random.uniform(0.0, self._config.drain_spread)
            connection.send(Draining(reconnect_in=reconnect_in, alternatives=self._config.alternatives))
            connection.fail(RefusalCode.SHUTTING_DOWN, retry_after=reconnect_in)
        for ended in leaving.values():
            await ended.wait()

    def _new_session(self) -> Session:
        return Session(
            Role.SERVER,
            now=asyncio.get_running_loop().time(),
            join_timeout=self._config.join_timeout,
            max_message_bytes=self._config.max_message_bytes,
        )

    def _refusal(self) -> RefusalCode | None:
        if self._draining:
            return RefusalCode.SHUTTING_DOWN
        return RefusalCode.SERVER_FULL if len(self._connections) > self._config.max_connections else None

    def _remember(self, connection: Connection) -> None:
        self._connections[connection] = asyncio.Event()
        self.stats.connections = len(self._connections)

    def _forget(self, connection: Connection, name: str) -> None:
        self._connections.pop(connection).set()
        self.stats.connections = len(self._connections)
        if connection.ending is not None:
            reason = self.stats.count_ending(connection.ending)
            refused = connection.ending.refused
            detail = "" if refused is None else refused.message
            _logger.info("the connection of %s ended: %s %r", name, reason, detail)
