"""An asyncio event loop on virtual time."""

import asyncio
import itertools
import selectors
import socket
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import Context
from typing import Any, Protocol, Self, TypeVar, TypeVarTuple, Unpack

from rtcmesh.netem.errors import Deadlock, NotVirtualTime, NoVirtualNetwork, VirtualTimeExceeded
from rtcmesh.netem.packet import SocketAddress

from .timers import Timer, TimerQueue
from .waits import describe_waits

DEFAULT_LIMIT = 3600.0
"""Seconds of virtual time after which a run is ended."""

Ts = TypeVarTuple("Ts")
T = TypeVar("T")
ProtocolFactory = Callable[[], Any]


class NetworkStack(Protocol):
    """What a virtual event loop asks of the network under it."""

    def open_datagram_endpoint(
        self, factory: ProtocolFactory, local_addr: SocketAddress | None, remote_addr: SocketAddress | None
    ) -> tuple[asyncio.DatagramTransport, Any]:
        """Open a UDP socket on the current host."""
        ...

    async def connect(
        self, factory: ProtocolFactory, host: str, port: int, local_addr: SocketAddress | None
    ) -> tuple[asyncio.Transport, Any]:
        """Connect a stream from the current host."""
        ...

    def listen(self, factory: ProtocolFactory, host: str | None, port: int) -> asyncio.AbstractServer:
        """Accept streams on the current host."""
        ...

    def resolve(self, name: str) -> str:
        """Return the address that a name means to the current host. Raises `socket.gaierror`."""
        ...

    def look_up(self, name: str) -> str:
        """Return the address of a host by its name. Raises `socket.gaierror`."""
        ...


TURNS_WITHOUT_POLL = 64
"""How many turns of a loop that watches nothing but its own wake-up pipe pass before it looks there for signals."""


class _Selector(selectors.DefaultSelector):
    """Polls real descriptors, and asks the loop what to do instead of waiting for them."""

    def __init__(self, idle: Callable[[bool], bool]) -> None:
        super().__init__()
        self._idle = idle
        self._turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        # A thread that writes to the pipe has put its callback where the loop finds it.
        self._turns += 1
        ready = super().select(0) if self.is_watching or self._turns % TURNS_WITHOUT_POLL == 0 else []
        if self._idle(bool(ready) or timeout == 0):
            return ready
        return super().select(None)

    @property
    def is_watching(self) -> bool:
        """Whether there is a descriptor besides the loop's own wake-up pipe."""
        return len(self.get_map()) > 1


class _Task(asyncio.Task[Any]):
    """A task whose hash is its number: asyncio keeps tasks in sets, and their order must not depend on addresses."""

    _number: int

    def __new__(cls, *_: Any, **options: Any) -> Self:  # noqa: ANN401
        task = super().__new__(cls)
        task._number = options["loop"].next_task_number()
        return task

    def __hash__(self) -> int:
        return self._number


def _make_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:  # noqa: ANN401
    assert isinstance(loop, VirtualEventLoop)
    return _Task(coroutine, loop=loop, **options)


class VirtualEventLoop(asyncio.SelectorEventLoop):
    """Runs asyncio programs in no time: when nothing is ready, the clock jumps to the next timer.

    The clock starts at 0. Timers of equal time run in the order in which they were set. While jobs run in executors the
    loop waits for them for real and the clock stands still. When nothing can wake any task `Deadlock` ends the run;
    when the clock passes `limit`, `VirtualTimeExceeded` does. Sockets are those of the attached network.
    """

    _ready: deque[asyncio.Handle]

    def __init__(self, *, seed: int = 0, limit: float = DEFAULT_LIMIT) -> None:
        self.seed = seed
        """The default seed of networks on this loop."""
        self._limit = limit
        self._now = 0.0
        self._timers = TimerQueue()
        self._jobs = 0
        self.instant_jobs: set[Callable[..., object]] = set()
        """Functions that are run at once instead of in an executor, whose threads have no order that would repeat."""
        self._stack: NetworkStack | None = None
        self._virtual_selector = _Selector(self._idle)
        super().__init__(self._virtual_selector)
        self._task_numbers = itertools.count()
        self.set_task_factory(_make_task)

    def next_task_number(self) -> int:
        """Return the number of the next task of this loop."""
        return next(self._task_numbers)

    def attach(self, stack: NetworkStack) -> None:
        """Put a network under this loop. Raises RuntimeError when it has one."""
        if self._stack is not None:
            raise RuntimeError("this loop already has a virtual network")
        self._stack = stack

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._now

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call `callback` when the clock reaches `when`."""
        if self.is_closed():
            raise RuntimeError("Event loop is closed")
        timer = Timer(when, callback, args, self, context=context, queue=self._timers)
        self._timers.push(timer)
        return timer

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call `callback` after `delay` seconds of virtual time."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> "asyncio.Future[T]":
        """Run a job in a thread or process; the clock stands still until it is done."""
        if func in self.instant_jobs:
            return self._run_at_once(func, *args)
        future = super().run_in_executor(executor, func, *args)
        self._jobs += 1
        future.add_done_callback(self._job_done)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait for the threads of the default executor, without limit."""
        self._jobs += 1
        try:
            await super().shutdown_default_executor()
        finally:
            self._jobs -= 1

    async def create_datagram_endpoint(  # type: ignore[override]
        self,
        protocol_factory: ProtocolFactory,
        local_addr: SocketAddress | None = None,
        remote_addr: SocketAddress | None = None,
    ) -> tuple[asyncio.DatagramTransport, Any]:
        """Open a UDP socket on the current host."""
        return self.network.open_datagram_endpoint(protocol_factory, local_addr, remote_addr)

    async def create_connection(  # type: ignore[override]
        self,
        protocol_factory: ProtocolFactory,
        host: str,
        port: int,
        *,
        ssl: None = None,
        local_addr: SocketAddress | None = None,
    ) -> tuple[asyncio.Transport, Any]:
        """Connect a stream from the current host. Raises ConnectionRefusedError, TimeoutError and other OSErrors."""
        _refuse_tls(ssl)
        return await self.network.connect(protocol_factory, host, port, local_addr)

    async def create_server(  # type: ignore[override]
        self, protocol_factory: ProtocolFactory, host: str | None = None, port: int = 0, *, ssl: None = None
    ) -> asyncio.AbstractServer:
        """Accept streams on the current host."""
        _refuse_tls(ssl)
        return self.network.listen(protocol_factory, host, port)

    async def getaddrinfo(  # type: ignore[override]
        self,
        host: str,
        port: int,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002
        proto: int = 0,
        flags: int = 0,
    ) -> list[tuple[int, int, int, str, SocketAddress]]:
        """Resolve names of virtual hosts."""
        address = self.network.resolve(host)
        if ":" in address:
            return [(socket.AF_INET6, type or socket.SOCK_STREAM, proto, "", (address, port, 0, 0))]
        return [(socket.AF_INET, type or socket.SOCK_STREAM, proto, "", (address, port))]

    @property
    def network(self) -> NetworkStack:
        """The attached network. Raises `NoVirtualNetwork`."""
        if self._stack is None:
            raise NoVirtualNetwork
        return self._stack

    def _run_at_once(self, func: Callable[[Unpack[Ts]], T], *args: *Ts) -> "asyncio.Future[T]":
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001, whatever it is belongs to whoever awaits the job
            future.set_exception(error)
        return future

    def _job_done(self, _: object) -> None:
        self._jobs -= 1

    def _idle(self, has_work: bool) -> bool:  # noqa: FBT001
        """Make what is due ready, jumping when there is nothing else to do; False when a real event must come."""
        self._run_due()
        if self._ready or has_work:
            return True
        if self._jobs:
            return False
        deadline = self._timers.deadline()
        if self._ready:
            return True  # a signal came just now, and its handler has cancelled what waited
        if deadline is None:
            if self._virtual_selector.is_watching:
                return False
            raise Deadlock(describe_waits(asyncio.all_tasks(self)))
        if deadline > self._limit:
            raise VirtualTimeExceeded(self._limit)
        self._now = deadline
        self._run_due()
        return True

    def _run_due(self) -> None:
        self._ready.extend(self._timers.due(self._now))  # as asyncio does with its own timers


def running_virtual_loop() -> VirtualEventLoop:
    """Return the running loop. Raises `NotVirtualTime` when it is another one."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualEventLoop):
        raise NotVirtualTime
    return loop


def _refuse_tls(ssl: object) -> None:
    if ssl:
        raise NotImplementedError("streams of the virtual network carry no TLS")
