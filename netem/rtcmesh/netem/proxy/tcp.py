"""A TCP proxy that treats connections badly: for signaling, for Redis, for anything on a stream."""

from __future__ import annotations

import asyncio
import socket
import struct
from asyncio import StreamReader, StreamWriter
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from rtcmesh.netem.packet import Endpoint

from .toxics import Shaper, Toxics

READ_BYTES = 16 * 1024

LOOPBACK = "127.0.0.1"


@dataclass(slots=True)
class TcpCounters:
    """What became of connections and bytes."""

    accepted: int = 0
    refused: int = 0
    """The target did not take them; they were closed."""
    reset: int = 0
    """By `reset`."""
    limited: int = 0
    """By `Toxics.limit_bytes`."""
    lost: int = 0
    """By one of their ends, or the network between."""
    there_bytes: int = 0
    back_bytes: int = 0


class TcpProxy:
    """Listens on loopback and forwards connections to a target, under toxics that may be changed at any time.

    A peer that stops reading holds up its sender, over at most 256 KiB each way. Use it as an async context manager.
    """

    def __init__(
        self,
        target: Endpoint,
        *,
        there: Toxics | None = None,
        back: Toxics | None = None,
        sock: socket.socket | None = None,
    ) -> None:
        self.target = target
        self.counters = TcpCounters()
        self._there = there or Toxics()
        self._back = back or Toxics()
        self._socket = sock or bound_tcp_socket()
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], _Connection] = {}
        self._is_whole = asyncio.Event()
        self._is_whole.set()

    @property
    def endpoint(self) -> Endpoint:
        """Where it is."""
        address, port = self._socket.getsockname()[:2]
        return Endpoint(address, port)

    @property
    def buffered_bytes(self) -> int:
        """What all connections hold, both ways."""
        return sum(
            each.there.buffered_bytes + each.back.buffered_bytes for each in self._connections.values()
        )

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, sock=self._socket, limit=READ_BYTES)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is None:
            self._socket.close()
            return
        self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    def poison(self, *, there: Toxics | None = None, back: Toxics | None = None) -> None:
        """Treat what comes from now on like this, on connections that there are and on new ones; None: as before."""
        self._there, self._back = there or self._there, back or self._back
        for connection in self._connections.values():
            connection.there.toxics, connection.back.toxics = self._there, self._back

    def cut(self) -> None:
        """Let nothing pass, and tell nobody, until `heal`; new connections are accepted and hear nothing."""
        self._is_whole.clear()

    def heal(self) -> None:
        """Let pass what waits, and the rest."""
        self._is_whole.set()

    def reset(self) -> None:
        """End every connection with a reset, at both ends."""
        for task, connection in self._connections.items():
            self.counters.reset += 1
            connection.reset()
            task.cancel()

    def half_close(self) -> None:
        """Tell the target of every connection that no more will come, and drop what does."""
        for connection in self._connections.values():
            connection.there.end(asyncio.get_running_loop().time())
            connection.wake()

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "asyncio serves connections in tasks"
        self.counters.accepted += 1
        connection = _Connection(Shaper(self._there), Shaper(self._back), self._is_whole)
        self._connections[task] = connection
        try:
            await self._forward(connection, reader, writer)
        except asyncio.CancelledError:
            pass  # by us alone; asyncio would log it
        finally:
            del self._connections[task]
            connection.close()
            self.counters.there_bytes += connection.there.passed_bytes
            self.counters.back_bytes += connection.back.passed_bytes

    async def _forward(self, connection: _Connection, reader: StreamReader, writer: StreamWriter) -> None:
        connection.writers.append(writer)
        await self._is_whole.wait()
        try:
            far_reader, far_writer = await asyncio.open_connection(
                self.target.address, self.target.port, limit=READ_BYTES
            )
        except OSError:
            self.counters.refused += 1
            return
        connection.writers.append(far_writer)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(connection.carry(connection.there, reader, far_writer))
                tasks.create_task(connection.carry(connection.back, far_reader, writer))
        except* _LimitReached:
            self.counters.limited += 1
        except* OSError:
            self.counters.lost += 1


class _LimitReached(Exception):
    """So many bytes have passed that the connection is closed."""


class _Connection:
    """One connection, both ways."""

    def __init__(self, there: Shaper, back: Shaper, is_whole: asyncio.Event) -> None:
        self.there = there
        self.back = back
        self.writers: list[StreamWriter] = []
        self._is_whole = is_whole
        self._changed = asyncio.Event()

    def wake(self) -> None:
        """Look at the shapers again."""
        self._changed.set()

    def reset(self) -> None:
        """Have both ends see a reset."""
        for writer in self.writers:
            sock: socket.socket | None = writer.get_extra_info("socket")
            if sock is not None:
                with suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    def close(self) -> None:
        """Close both ends."""
        for writer in self.writers:
            writer.close()

    async def carry(self, shaper: Shaper, reader: StreamReader, writer: StreamWriter) -> None:
        """Carry one direction to its end; reading stops while there is no room."""
        loop = asyncio.get_running_loop()
        reading: asyncio.Task[bytes] | None = None
        try:
            while not shaper.is_at_end:
                if reading is None and shaper.has_room:
                    reading = asyncio.create_task(reader.read(READ_BYTES))
                await self._until(shaper.deadline(), reading)
                if reading is not None and reading.done():
                    data, reading = reading.result(), None
                    if data:
                        shaper.put(data, loop.time())
                    else:
                        shaper.end(loop.time())
                await self._is_whole.wait()
                if due := shaper.take(loop.time()):
                    writer.write(due)
                    await writer.drain()
            if shaper.is_exhausted:
                raise _LimitReached
            if writer.can_write_eof() and not writer.is_closing():
                writer.write_eof()
        finally:
            if reading is not None:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

    async def _until(self, deadline: float | None, reading: asyncio.Task[bytes] | None) -> None:
        """Wait until the deadline, until there is something to read, or until somebody changed something."""
        changed = asyncio.create_task(self._changed.wait())
        waits: set[asyncio.Task[bytes] | asyncio.Task[bool]] = {changed}
        if reading is not None:
            waits.add(reading)
        timeout = None if deadline is None else max(0.0, deadline - asyncio.get_running_loop().time())
        try:
            await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()
            await asyncio.gather(changed, return_exceptions=True)
        self._changed.clear()


def bound_tcp_socket(address: str = LOOPBACK, port: int = 0) -> socket.socket:
    """Return a listening TCP socket for a proxy. Raises OSError."""
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)  # noqa: FBT003
        sock.bind((address, port))
        sock.listen()
    except OSError:
        sock.close()
        raise
    return sock
