"""The door of an HTTP server: what a TCP connection must do before the server itself hears of it."""

import asyncio
import re
from asyncio import Transport
from collections import Counter
from collections.abc import Callable
from typing import cast

from .config import DoorLimits
from .limits.address import UNKNOWN, Address, address_of, is_within
from .limits.crowd import Crowd

_REQUEST_LINE = re.compile(rb"[A-Z]{3,16} [!-~]+ HTTP/1\.[01]\r?\n")
_REQUEST_START = re.compile(rb"[A-Z]{1,16}( [!-~]*( [HTP/1.0]{0,8}\r?)?)?")
_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Door:
    """Stands before a protocol factory: a connection goes through to `inside` with its first whole request head.

    A connection that says nothing, or something else than HTTP, costs a few hundred bytes for `head_timeout` at most.
    When too many wait so, the one that has waited longest gives way. All sockets are counted, and those of each
    address too, except for trusted proxies, behind which everybody has the same one. `turned_away` counts those that
    did not get in, by reason.
    """

    def __init__(
        self, inside: Callable[[], asyncio.Protocol], limits: DoorLimits, turned_away: Counter[str]
    ) -> None:
        self._inside = inside
        self._limits = limits
        self._turned_away = turned_away
        self._crowd = Crowd(max_at_once=limits.max_sockets_per_address, rate=limits.sockets_per_address)
        self._waiting: dict[_Doorstep, None] = {}
        self._sockets = 0

    @property
    def sockets(self) -> int:
        """How many TCP connections are open."""
        return self._sockets

    def step(self, address: Address) -> asyncio.Protocol:
        """Return the protocol of a connection that has entered."""
        return _Doorstep(self, address)

    def close(self) -> None:
        """Drop all that wait."""
        for waiting in list(self._waiting):
            waiting.drop()

    def enter(self, host: str) -> Address | None:
        """Let a connection from this host in; None: it is turned away."""
        address = UNKNOWN if is_within(host, self._limits.trusted_proxies) else address_of(host)
        if self._sockets >= self._limits.max_sockets:
            self.turn_away("sockets_full")
            return None
        if address != UNKNOWN:
            crowded = self._crowd.enter(address, asyncio.get_running_loop().time())
            if crowded is not None:
                self.turn_away(crowded.value)
                return None
        self._sockets += 1
        return address

    def wait(self, doorstep: "_Doorstep") -> None:
        """Let a connection wait for its head, in place of another if need be."""
        if len(self._waiting) >= self._limits.max_waiting:
            self.turn_away("crowded_out")
            next(iter(self._waiting)).drop()
        self._waiting[doorstep] = None

    def go_through(self, doorstep: "_Doorstep") -> asyncio.Protocol:
        """Return the protocol inside."""
        self._waiting.pop(doorstep, None)
        return self._inside()

    def leave(self, doorstep: "_Doorstep", address: Address) -> None:
        """Note that a connection that had entered has ended."""
        self._waiting.pop(doorstep, None)
        self._sockets -= 1
        if address != UNKNOWN:
            self._crowd.leave(address)

    def turn_away(self, reason: str) -> None:
        """Count a connection that does not get in."""
        self._turned_away[reason] += 1

    @property
    def limits(self) -> DoorLimits:
        """What is enforced."""
        return self._limits


def call_when_lost(transport: asyncio.BaseTransport, callback: Callable[[], None]) -> None:
    """Call once a connection that came through a door is lost, also while nothing is written to it."""
    protocol = transport.get_protocol()
    if isinstance(protocol, _Doorstep):
        protocol.call_when_lost(callback)


def hand_over(transport: asyncio.BaseTransport, successor: asyncio.Protocol) -> None:
    """Let another protocol have a connection that came through a door; whoever had it sees it as lost.

    It must have let go of the transport, or it would close it.
    """
    protocol = transport.get_protocol()
    assert isinstance(protocol, _Doorstep)
    protocol.hand_over(successor)


class _Doorstep(asyncio.Protocol):
    """One connection: waits for the head, then passes everything on."""

    __slots__ = (
        "_address",
        "_door",
        "_head",
        "_inside",
        "_lost",
        "_timer",
        "_transport",
    )

    def __init__(self, door: Door, address: Address) -> None:
        self._door = door
        self._address = address
        self._head = b""
        self._inside: asyncio.Protocol | None = None
        self._transport: Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._lost: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("Transport", transport)
        self._door.wait(self)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._door.limits.head_timeout, self._expire)

    def data_received(self, data: bytes) -> None:
        if self._inside is not None:
            self._inside.data_received(data)
        elif self._timer is not None:
            self._head += data
            self._look()

    def eof_received(self) -> bool | None:
        return None if self._inside is None else self._inside.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._door.leave(self, self._address)
        if self._inside is not None:
            self._inside.connection_lost(exc)
        if self._lost is not None:
            self._lost()

    def call_when_lost(self, callback: Callable[[], None]) -> None:
        """See the function of this name."""
        self._lost = callback

    def hand_over(self, successor: asyncio.Protocol) -> None:
        """See the function of this name."""
        assert self._transport is not None
        predecessor, self._inside = self._inside, successor
        if predecessor is not None:
            predecessor.connection_lost(None)
        successor.connection_made(self._transport)

    def pause_writing(self) -> None:
        if self._inside is not None:
            self._inside.pause_writing()

    def resume_writing(self) -> None:
        if self._inside is not None:
            self._inside.resume_writing()

    def drop(self) -> None:
        """End the connection without a word."""
        self._stop_waiting()
        assert self._transport is not None
        self._transport.abort()

    def _look(self) -> None:
        line_end = self._head.find(b"\n")
        if line_end >= 0:
            is_http = _REQUEST_LINE.match(self._head) is not None
        else:
            is_http = _REQUEST_START.fullmatch(self._head) is not None
        if not is_http:
            self._refuse("not_http", _BAD_REQUEST)
        elif b"\r\n\r\n" in self._head:
            self._go_through()
        elif len(self._head) > self._door.limits.max_head_bytes:
            self._refuse("head_too_large", _TOO_LARGE)

    def _go_through(self) -> None:
        assert self._transport is not None
        self._stop_waiting()
        self._inside = self._door.go_through(self)
        self._inside.connection_made(self._transport)
        head, self._head = self._head, b""
        self._inside.data_received(head)

    def _refuse(self, reason: str, answer: bytes) -> None:
        assert self._transport is not None
        self._door.turn_away(reason)
        self._stop_waiting()
        self._head = b""
        self._transport.write(answer)
        self._transport.close()

    def _expire(self) -> None:
        self._door.turn_away("head_timeout")
        self.drop()

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
