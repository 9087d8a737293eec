"""Accepting TCP connections at a pace that leaves the loop to those who are connected."""

import asyncio
import logging
import socket
from asyncio import TimerHandle
from typing import cast

from .door import Door
from .limits.bucket import Bucket

BACKLOG = 1024
"""Connections that the system keeps for us until they are accepted."""

TURNED_AWAY_AT_ONCE = 4
"""Connections that are turned away before the others have a turn; of those that are let in, one is enough work."""

COST_OF_TURNING_AWAY = 0.2
"""What it counts for in the rate: so much cheaper it is, and those behind it in the backlog wait for it."""

EXHAUSTED_PAUSE = 0.1
"""Seconds to accept nothing when the process has no descriptor left."""

_logger = logging.getLogger(__name__)


class Acceptor:
    """Accepts what the door lets in, no faster than its limits say: whoever comes faster waits in the backlog.

    A connection that is turned away costs two system calls, and no transport; it counts for less, so that a flood
    from one address does not keep everybody else waiting.
    """

    def __init__(self, listening: socket.socket, door: Door) -> None:
        self._listening = listening
        self._door = door
        self._loop = asyncio.get_running_loop()
        rate = door.limits.sockets
        self._bucket = None if rate is None else Bucket(rate, now=self._loop.time())
        self._pause: TimerHandle | None = None
        self._arriving: set[asyncio.Task[None]] = set()
        self._resume()

    async def aclose(self) -> None:
        """Accept nothing more, and release the socket."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._listening)
        self._listening.close()
        if self._arriving:
            await asyncio.wait(self._arriving)

    def _resume(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listening, self._accept)

    def _rest(self, seconds: float) -> None:
        self._loop.remove_reader(self._listening)
        self._pause = self._loop.call_later(seconds, self._resume)

    def _accept(self) -> None:
        for _ in range(TURNED_AWAY_AT_ONCE):
            try:
                connection, peer = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                _logger.exception("cannot accept connections")
                self._rest(EXHAUSTED_PAUSE)
                return
            is_in = self._let_in(connection, str(cast("tuple[object, ...]", peer)[0]))
            cost = 1.0 if is_in else COST_OF_TURNING_AWAY
            wait = 0.0 if self._bucket is None else self._bucket.take(cost, self._loop.time())
            if wait > 0:
                self._rest(wait)
            if is_in or wait > 0:
                return

    def _let_in(self, connection: socket.socket, host: str) -> bool:
        address = self._door.enter(host)
        if address is None:
            connection.close()
            return False
        connection.setblocking(False)  # noqa: FBT003
        task = self._loop.create_task(self._open(connection, self._door.step(address)))
        self._arriving.add(task)
        task.add_done_callback(self._arriving.discard)
        return True

    async def _open(self, connection: socket.socket, step: asyncio.Protocol) -> None:
        await self._loop.connect_accepted_socket(lambda: step, connection)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; raise `OSError` if the address cannot be had."""
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
    listening = socket.create_server((host, port), family=family, backlog=BACKLOG)
    listening.setblocking(False)  # noqa: FBT003
    return listening
