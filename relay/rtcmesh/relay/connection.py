"""One connection: a reader that its owner pulls, one writer that pulls what is to be sent, and the heartbeat."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from .binary_socket import BinarySocket
from .codes import CloseCode
from .errors import ProtocolError, SocketClosed
from .frames import FrameType, Ping, Pong, decode_client, encode_closed, encode_ping, encode_pong, type_of
from .heartbeat import Beat, Heartbeat

FRAMES_PER_TURN = 16
"""So many frames of one connection are handled before everybody else has a turn."""

HEARTBEAT_BYTES = 512
"""What a ping or a pong counts for in the pace of a connection: it is short, and has to be dealt with all the same."""

_HEARTBEATS = (FrameType.PING, FrameType.PONG)
_Source = Callable[[], bytes | None]


@dataclass(frozen=True, slots=True)
class Ending:
    """How a connection ended."""

    code: int
    reason: str
    by_us: bool


class Connection:
    """Sends what `say` was given, then what `source` gives whenever it is asked after `wake`.

    The source is asked for one frame at a time, when the socket has room for it, so it decides late what goes first.
    Of frames given to `say` only the newest of a type waits. After the end the other side has `close_timeout` seconds
    to take the last frames and to close; then the socket is aborted. A socket that takes nothing for `stall_timeout`
    ends the connection. When the block is left the socket is released and no task remains.

    `pace` is told what heartbeats count for, and returns for how many seconds to read nothing then.
    """

    def __init__(
        self,
        socket: BinarySocket,
        heartbeat: Heartbeat,
        *,
        source: _Source,
        close_timeout: float,
        stall_timeout: float = float("inf"),
        pace: Callable[[int], float] | None = None,
    ) -> None:
        self.ending: Ending | None = None
        """How it ended, or None while it has not."""
        self.heartbeat = heartbeat
        self._socket = socket
        self._source = source
        self._close_timeout = close_timeout
        self._stall_timeout = stall_timeout
        self._pace = pace
        self._loop = asyncio.get_running_loop()
        self._said: dict[int, bytes] = {}
        self._wake = asyncio.Event()
        self._ended = asyncio.Event()
        self._sending_since: float | None = None
        self._last_words: deque[bytes] = deque()
        self._received = 0
        self._timer: asyncio.TimerHandle | None = None
        self._abort_timer: asyncio.TimerHandle | None = None
        self._writer: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._writer = asyncio.create_task(self._write())
        self._schedule()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close and wait until the writer is gone. A cancellation meanwhile aborts at once."""
        assert self._writer is not None
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

    async def receive(self) -> bytes:
        """Return the next frame that is no heartbeat; raise `SocketClosed` at the end. Cancelling loses none."""
        while self.ending is None:
            self._received += 1
            if self._received % FRAMES_PER_TURN == 0:
                await asyncio.sleep(0)
            try:
                frame = await self._socket.receive()
            except SocketClosed as closed:
                self._end(Ending(closed.code, closed.reason, by_us=False))
                break
            except ProtocolError as error:
                self.fail(CloseCode.PROTOCOL_VIOLATION, str(error))
                break
            if self.ending is None:
                self.heartbeat.heard(self._loop.time())
                if type_of(frame) not in _HEARTBEATS:
                    return frame
                self._beat(frame)
                await self._pay_for_beat()
        assert self.ending is not None
        raise SocketClosed(self.ending.code, self.ending.reason)

    def say(self, frame: bytes) -> None:
        """Send a frame before all others; an unsent one of the same type is replaced."""
        self._said[frame[0]] = frame
        self._wake.set()

    def wake(self) -> None:
        """Ask the source again."""
        self._wake.set()

    def fail(self, code: CloseCode, text: str = "") -> None:
        """End the connection and say why; what the source has is not sent any more."""
        if self.ending is None:
            self._source = _nothing
            self._last_words.append(encode_closed(code, text or code.meaning))
            self._end(Ending(code, text or code.meaning, by_us=True))

    def close(self, code: CloseCode = CloseCode.NORMAL, last_words: bytes | None = None) -> None:
        """End the connection in an orderly way, after what the source has."""
        if self.ending is None:
            if last_words is not None:
                self._last_words.append(last_words)
            self._end(Ending(code, "", by_us=True))

    def abort(self) -> None:
        """End the connection now; the other side is told nothing, and what is unsent is dropped."""
        self._end(Ending(CloseCode.GOING_AWAY, "", by_us=True))
        self._socket.abort()

    def ping(self) -> None:
        """Ask the other side for a sign of life, and measure how long that takes."""
        self.say(encode_ping(self.heartbeat.ping(self._loop.time())))
        self._schedule()

    def check(self, within: float) -> None:
        """Ping, and end the connection as lost unless something is heard within so many seconds."""
        self.heartbeat.check(within, self._loop.time())
        self.ping()

    async def pause(self, seconds: float) -> None:
        """Read nothing for so long, or until the end, and do not hold it against the other side."""
        self.heartbeat.pause()
        try:
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        except TimeoutError:
            self.heartbeat.resume(self._loop.time())
            self._schedule()

    async def _pay_for_beat(self) -> None:
        pause = 0.0 if self._pace is None else self._pace(HEARTBEAT_BYTES)
        if pause > 0 and self.ending is None:
            await self.pause(pause)

    def _beat(self, frame: bytes) -> None:
        try:
            match decode_client(frame):
                case Ping(number):
                    self.say(encode_pong(number))
                case Pong(number):
                    self.heartbeat.pong(number, self._loop.time())
                case _:
                    raise AssertionError("a heartbeat is a ping or a pong")
        except ProtocolError as error:
            self.fail(CloseCode.PROTOCOL_VIOLATION, str(error))

    def _end(self, ending: Ending) -> None:
        if self.ending is None:
            self.ending = ending
            self._abort_timer = self._loop.call_later(self._close_timeout, self._socket.abort)
            self._ended.set()
            self._wake.set()

    def _schedule(self) -> None:
        # A timer that is too early costs one look at the heartbeat; moving it with every frame would cost more.
        deadline = self.heartbeat.deadline()
        if self.ending is None and (self._timer is None or deadline < self._timer.when()):
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(deadline, self._expire)

    def _expire(self) -> None:
        self._timer = None
        now = self._loop.time()
        if self._sending_since is not None and now - self._sending_since >= self._stall_timeout:
            self.fail(CloseCode.STALLED)
        match self.heartbeat.handle_timeout(now):
            case Beat.PING:
                self.say(encode_ping(self.heartbeat.ping(now)))
            case Beat.LOST:
                self.fail(CloseCode.HEARTBEAT_TIMEOUT)
            case Beat.NOTHING:
                pass
        self._schedule()

    async def _write(self) -> None:
        try:
            await self._send_all()
            assert self.ending is not None
            ending = self.ending
            await self._socket.close(ending.code if ending.by_us else CloseCode.NORMAL, ending.reason)
        except SocketClosed as closed:
            self._end(Ending(closed.code, closed.reason, by_us=False))
        finally:
            self._end(Ending(CloseCode.ABNORMAL, "", by_us=False))
            self._socket.abort()

    async def _send_all(self) -> None:
        sent = 0
        while True:
            frame = self._next()
            if frame is not None:
                self._sending_since = self._loop.time()
                await self._socket.send(frame)
                self._sending_since = None
                self.heartbeat.sent(self._loop.time())
                sent += 1
                if sent % FRAMES_PER_TURN == 0:
                    await asyncio.sleep(0)
            elif self.ending is not None:
                return
            else:
                self._wake.clear()
                await self._wake.wait()

    def _next(self) -> bytes | None:
        if self._said:
            return self._said.pop(next(iter(self._said)))
        frame = self._source()
        if frame is None and self._last_words:
            return self._last_words.popleft()
        return frame


def _nothing() -> None:
    return None
