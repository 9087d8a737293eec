"""The asyncio face of a virtual stream."""

import asyncio
import contextvars
from collections.abc import Callable
from typing import Protocol

from rtcmesh.netem.packet import Endpoint
from rtcmesh.netem.segment import Segment

from .stream import Stream, StreamState

HIGH_WATER_BYTES = 64 * 1024

StreamFactory = Callable[[], asyncio.Protocol]


class SegmentSink(Protocol):
    """Where a transport's segments go, and who wants to know that it is done."""

    def send_segment(self, transport: "StreamTransport", segment: Segment) -> None:
        """Send a segment to the other end."""
        ...

    def forget(self, transport: "StreamTransport") -> None:
        """Drop a connection of which nothing is left."""
        ...

    def closed(self, transport: "StreamTransport") -> None:
        """Note that a program is done with its connection, which may linger."""
        ...


class StreamTransport(asyncio.Transport):
    """A TCP connection of a virtual host.

    Bytes arrive whole and in order, or the connection is lost with the error. `close` still delivers what was written;
    `abort` does not. `write` never blocks: from 64 KiB beyond the other end's window on it pauses the protocol.
    """

    def __init__(
        self,
        sink: SegmentSink,
        loop: asyncio.AbstractEventLoop,
        ends: tuple[Endpoint, Endpoint],
        factory: StreamFactory,
        connected: "asyncio.Future[asyncio.Protocol] | None" = None,
    ) -> None:
        self.local, self.remote = ends
        super().__init__({"sockname": self.local.sockaddr, "peername": self.remote.sockaddr})
        self.stream = Stream(active=connected is not None, now=loop.time())
        self._sink = sink
        self._loop = loop
        self._factory = factory
        self._connected = connected
        self._protocol: asyncio.Protocol | None = None
        self._context = contextvars.copy_context()
        self._timer: asyncio.TimerHandle | None = None
        self._high, self._low = HIGH_WATER_BYTES, HIGH_WATER_BYTES // 4
        self._error: Exception | None = None
        self._is_delivering = False
        self._is_reading = True
        self._is_writing_paused = False
        self._has_delivered_eof = False
        self._is_closing = False
        self._is_lost = False

    def receive(self, segment: Segment) -> None:
        """Take in a segment from the network."""
        self.stream.receive(segment, self._loop.time())
        self.drain()

    def drain(self) -> None:
        """Carry out everything the stream wants done."""
        for segment in self.stream.segments_to_send():
            self._sink.send_segment(self, segment)
        self._set_timer()
        if not self._is_delivering and not self._is_lost and self._has_news:
            self._is_delivering = True
            self._loop.call_soon(self._deliver, context=self._context)
        if self.stream.state is StreamState.DEAD:
            self._sink.forget(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes; after `close`, and when the connection is lost, they are dropped."""
        if self._is_closing:
            return
        if self.stream.outflow.is_finished:
            raise RuntimeError("cannot write after write_eof")
        self.stream.write(bytes(data), self._loop.time())
        self.drain()
        self._pause_or_resume_writing()

    def write_eof(self) -> None:
        """End the outgoing stream; the other end sees EOF and may go on sending."""
        if not self._is_closing:
            self.stream.finish(self._loop.time())
            self.drain()

    def can_write_eof(self) -> bool:
        """Streams can be ended one way."""
        return True

    def close(self) -> None:
        """Deliver what was written, then end the connection; `connection_lost` follows once all is sent."""
        if not self._is_closing:
            self._is_closing = True
            self.stream.close(self._loop.time())
            self.drain()

    def abort(self) -> None:
        """End the connection at once; the other end sees a reset. Nothing happens to one that has ended."""
        if self.stream.state is StreamState.DEAD:
            return
        self._is_closing = True
        self.stream.abort()
        self.drain()

    def is_closing(self) -> bool:
        """Tell whether the connection is lost or about to be."""
        return self._is_closing or self.stream.state is StreamState.DEAD

    def pause_reading(self) -> None:
        """Hand over nothing until `resume_reading`; the other end is slowed down once the window is full."""
        self._is_reading = False

    def resume_reading(self) -> None:
        """Hand over bytes again."""
        self._is_reading = True
        self.drain()

    def is_reading(self) -> bool:
        """Tell whether bytes are handed over."""
        return self._is_reading and not self.is_closing()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set at how many unsent bytes the protocol is paused and resumed."""
        if high is None:
            high = HIGH_WATER_BYTES if low is None else 4 * low
        low = high // 4 if low is None else low
        if not high >= low >= 0:
            raise ValueError(f"high ({high}) must be at least low ({low}), and low at least 0")
        self._high, self._low = high, low
        self._pause_or_resume_writing()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the low and the high limit."""
        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait for room at the other end."""
        return self.stream.outflow.unsent_bytes

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand what comes from now on to another protocol. Raises TypeError for a `BufferedProtocol`."""
        if not isinstance(protocol, asyncio.Protocol):
            raise TypeError(f"virtual streams serve an asyncio.Protocol, not a {type(protocol).__name__}")
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol. Before the connection is open there is none: RuntimeError."""
        if self._protocol is None:
            raise RuntimeError("the connection is not open yet")
        return self._protocol

    @property
    def _has_news(self) -> bool:
        """Whether the protocol is to be told something; most segments tell the stream alone."""
        state, inflow = self.stream.state, self.stream.inflow
        if self._is_closing or state is StreamState.DEAD:
            return True
        if self._protocol is None:
            return state is StreamState.OPEN
        has_content = inflow.readable_bytes > 0 or (inflow.ended and not self._has_delivered_eof)
        is_room_news = self._is_writing_paused or self.get_write_buffer_size() > self._high
        return (self._is_reading and has_content) or is_room_news

    @property
    def _may_read(self) -> bool:
        return self._is_reading and not self._is_closing

    def _set_timer(self) -> None:
        deadline = self.stream.deadline()
        if self._timer is not None:
            if deadline is not None and self._timer.when() <= deadline:
                return
            self._timer.cancel()
        self._timer = None if deadline is None else self._loop.call_at(deadline, self._timeout)

    def _timeout(self) -> None:
        self._timer = None
        self.stream.handle_timeout(self._loop.time())
        self.drain()

    def _deliver(self) -> None:
        """Tell the protocol what happened, in the protocol's own context."""
        self._is_delivering = False
        try:
            self._connect_protocol()
            if self._protocol is not None:
                self._deliver_content(self._protocol)
            self._pause_or_resume_writing()
        except Exception as error:
            self._error = error
            self.abort()
            raise
        finally:
            self._lose_protocol()

    def _connect_protocol(self) -> None:
        if self._protocol is not None or self.stream.state is not StreamState.OPEN:
            return
        protocol = self._factory()
        self.set_protocol(protocol)
        protocol.connection_made(self)
        if self._connected is not None and not self._connected.done():
            self._connected.set_result(protocol)

    def _deliver_content(self, protocol: asyncio.Protocol) -> None:
        if self._may_read and (data := self.stream.read()):
            protocol.data_received(data)
            self.drain()
        if self._may_read and self.stream.inflow.ended and not self._has_delivered_eof:
            self._has_delivered_eof = True
            if not protocol.eof_received():
                self.close()

    def _pause_or_resume_writing(self) -> None:
        size = self.get_write_buffer_size()
        if self._protocol is None:
            return
        if size > self._high and not self._is_writing_paused:
            self._is_writing_paused = True
            self._protocol.pause_writing()
        elif size <= self._low and self._is_writing_paused:
            self._is_writing_paused = False
            self._protocol.resume_writing()

    def _lose_protocol(self) -> None:
        is_dead = self.stream.state is StreamState.DEAD
        if self._is_lost or not (is_dead or (self._is_closing and self.stream.outflow.is_flushed)):
            return
        self._is_lost = True
        self._sink.closed(self)
        error = self._error or self.stream.error
        if self._connected is not None and not self._connected.done():
            self._connected.set_exception(error or ConnectionAbortedError())
        if self._protocol is not None:
            self._protocol.connection_lost(error)
