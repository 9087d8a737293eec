"""One session on one socket: a reader that its owner pulls, one writer, one bounded queue between."""

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from .codes import CloseCode, RefusalCode
from .errors import ProtocolError
from .messages import FRAME_OVERHEAD_BYTES, PeerMessage, ServerMessage
from .session import Ending, Session, State
from .text_socket import SocketClosed, TextSocket

STALL = 1.0
"""A timer that is later than this many seconds shows that this process stood still."""

BATCH_BYTES = 65_536
"""How much is handed to the socket together, unless one frame is larger."""

BURST = 8
"""How many messages of one connection are handled before the others have a turn."""


class Connection:
    """Iterate over it to receive; the iteration ends with the session, and `ending` then says how.

    `send` never waits: what the transport does not take at once waits in a queue of at most `max_queue_bytes`,
    overhead included, and a connection whose queue would overflow is cut off with `slow_consumer`. Once the session
    has ended, the other side has `close_timeout` seconds to take what is queued and to close; then the socket is
    aborted. When the block is left the socket is released and no task remains.

    `pace` is told the size of each frame and the time, and returns for how many seconds to read nothing then.
    """

    def __init__(
        self,
        socket: TextSocket,
        session: Session,
        *,
        max_queue_bytes: int,
        close_timeout: float,
        pace: Callable[[int, float], float] | None = None,
    ) -> None:
        self._socket = socket
        self._session = session
        self._max_queue_bytes = max_queue_bytes
        self._close_timeout = close_timeout
        self._pace = pace
        self._pause = 0.0
        self._handled = 0
        self._scheduled_in: State | None = None
        self._loop = asyncio.get_running_loop()
        # Lists and futures where deques and events would do, because each of those costs an idle connection 760 bytes.
        self._queue: list[bytes] = []
        self._queued_bytes = 0
        self._has_news = False
        self._wake: asyncio.Future[None] | None = None
        self._is_flushed = False
        self._flush_waiters: list[asyncio.Future[None]] = []
        self._inbox: list[ServerMessage | PeerMessage] = []
        self._timer: asyncio.TimerHandle | None = None
        self._abort_timer: asyncio.TimerHandle | None = None
        self._writer: asyncio.Task[None] | None = None

    @property
    def ending(self) -> Ending | None:
        """How the session ended, or None while it has not."""
        return self._session.ending

    async def __aenter__(self) -> Self:
        self._writer = asyncio.create_task(self._write())
        self._drain()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close and wait until the writer is gone. An error or a cancellation aborts at once."""
        assert self._writer is not None
        if error is not None:
            self.abort()
        self.close()
        try:
            await asyncio.wait({self._writer})
        finally:
            self.abort()
            await asyncio.wait({self._writer})
            for timer in (self._timer, self._abort_timer):
                if timer is not None:
                    timer.cancel()
        self._writer.result()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ServerMessage | PeerMessage:
        """Return the next message. Cancelling loses none.

        After a few of them the others have a turn: a burst that has arrived whole must not keep the loop to itself.
        """
        self._handled += 1
        if self._handled >= BURST:
            self._handled = 0
            await asyncio.sleep(0)
        while not self._inbox:
            await self._rest()
            if self._session.ending is not None:
                raise StopAsyncIteration
            try:
                frame = await self._socket.receive()
            except SocketClosed as closed:
                self._session.receive_close(closed.code, closed.reason)
            except ProtocolError as error:
                self._session.fail(RefusalCode.PROTOCOL_VIOLATION, self._loop.time(), str(error))
            else:
                self._session.receive_frame(frame, self._loop.time())
                if self._pace is not None:
                    self.slow_down(self._pace(len(frame), self._loop.time()))
            self._drain()
        return self._inbox.pop(0)

    def send(self, message: ServerMessage | PeerMessage, frame: bytes | None = None) -> None:
        """Queue a message; nothing happens after the end."""
        self._session.send(message, self._loop.time(), frame)
        self._drain()

    def fail(self, code: RefusalCode, message: str = "", retry_after: float | None = None) -> None:
        """End the session with a refusal."""
        self._session.fail(code, self._loop.time(), message, retry_after)
        self._drain()

    def close(self, code: CloseCode = CloseCode.NORMAL) -> None:
        """End the session in an orderly way."""
        self._session.close(code)
        self._drain()

    def abort(self) -> None:
        """End the session now; the other side is told nothing, and what is queued is dropped."""
        self._session.close(CloseCode.GOING_AWAY)
        self._drain()
        self._socket.abort()

    def slow_down(self, seconds: float) -> None:
        """Read nothing for so long before the next message, unless the session ends meanwhile."""
        self._pause = max(self._pause, seconds)

    def give_way(self) -> None:
        """Let the others have a turn before the next message: this one was expensive."""
        self._handled = BURST

    def check(self, within: float) -> None:
        """Ping now, and take the other side for lost unless something is heard within so many seconds."""
        self._session.check(self._loop.time(), within)
        self._scheduled_in = None
        self._drain()

    async def flushed(self) -> None:
        """Wait until the transport has taken everything that is queued now, or the connection is over."""
        if not self._is_flushed:
            waiter = self._loop.create_future()
            self._flush_waiters.append(waiter)
            await waiter

    @contextmanager
    def paused(self) -> Generator[None, None, None]:
        """Do not hold its silence against the other side while this side does not read."""
        self._session.pause_receiving()
        try:
            yield
        finally:
            self._session.resume_receiving(self._loop.time())
            self._scheduled_in = None
            self._drain()

    async def _rest(self) -> None:
        if self._pause > 0 and self._session.ending is None:
            assert self._writer is not None
            with self.paused():
                await asyncio.wait({self._writer}, timeout=self._pause)
        self._pause = 0.0

    def _drain(self) -> None:
        """Carry out what the session wants; called after each input, with no await between."""
        frames = self._session.frames_to_send()
        if frames:
            self._enqueue(frames)
        messages = self._session.messages()
        if messages:
            self._inbox.extend(messages)
        # Within a state deadlines only move away, except by a check. A timer that is too early costs one look at the
        # session; moving it with every message would cost more.
        if self._session.state is not self._scheduled_in:
            self._scheduled_in = self._session.state
            self._schedule()

    def _enqueue(self, frames: list[bytes]) -> None:
        cost = sum(map(_cost, frames))
        if self._queued_bytes + cost > self._max_queue_bytes:
            self._queued_bytes -= sum(map(_cost, self._queue))
            self._queue.clear()
            self._session.fail(RefusalCode.SLOW_CONSUMER, self._loop.time())
            frames = self._session.frames_to_send()
            cost = sum(map(_cost, frames))
        self._queue.extend(frames)
        self._queued_bytes += cost
        self._is_flushed = False
        self._wake_writer()

    def _schedule(self) -> None:
        if self._session.ending is not None:
            self._wake_writer()
            if self._abort_timer is None:
                self._abort_timer = self._loop.call_later(self._close_timeout, self._socket.abort)
        deadline = self._session.deadline()
        if deadline is not None and (self._timer is None or deadline < self._timer.when()):
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(deadline, self._expire)

    def _expire(self) -> None:
        assert self._timer is not None
        now, due = self._loop.time(), self._timer.when()
        self._timer = None
        if now - due > STALL and self._session.is_receiving:
            # This process stood still; what the other side sent meanwhile lies unread in the socket.
            self._session.resume_receiving(now)
        self._session.handle_timeout(now)
        self._scheduled_in = None
        self._drain()

    async def _write(self) -> None:
        try:
            ending = await self._send_queue()
            await self._socket.close(ending.code if ending.by_us else CloseCode.NORMAL, ending.reason)
        except SocketClosed as closed:
            self._session.receive_close(closed.code, closed.reason)
        finally:
            self._session.receive_close(CloseCode.ABNORMAL, "")
            self._socket.abort()
            self._note_flushed()

    async def _send_queue(self) -> Ending:
        while True:
            while self._queue:
                await self._send_batch()
            if self._session.ending is not None:
                return self._session.ending
            self._note_flushed()
            if not self._has_news:
                self._wake = self._loop.create_future()
                await self._wake
                self._wake = None
            self._has_news = False

    async def _send_batch(self) -> None:
        """Send what has come together since the last turn of the loop, all at once."""
        count, size_bytes = 0, 0
        for frame in self._queue:
            size_bytes += len(frame)
            if count and size_bytes > BATCH_BYTES:
                break
            count += 1
        frames = self._queue[:count]
        del self._queue[:count]
        await self._socket.send(*frames)
        self._queued_bytes -= sum(map(_cost, frames))

    def _wake_writer(self) -> None:
        self._has_news = True
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def _note_flushed(self) -> None:
        self._is_flushed = True
        waiters, self._flush_waiters = self._flush_waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


def _cost(frame: bytes) -> int:
    return len(frame) + FRAME_OVERHEAD_BYTES
