"""Makes WebRTC on aioice and OpenSSL, and unmodified aiortc, run on a virtual network."""

import asyncio
import contextlib
import importlib
import socket
from collections.abc import Generator
from types import SimpleNamespace

import aioice.ice
import aioice.turn
from OpenSSL import SSL

from rtcmesh.netem.packet import ip_version

from .host import current_host
from .loop import running_virtual_loop
from .randomness import replaced

INITIAL_DTLS_TIMEOUT = 1.0
MAX_DTLS_TIMEOUT = 60.0
MAX_DATAGRAM_BYTES = 65_535


@contextlib.contextmanager
def virtual_webrtc() -> Generator[None]:
    """Let aioice and OpenSSL's DTLS see the virtual network of the running loop: addresses, names and clock."""
    loop = running_virtual_loop()

    def look_up(name: str) -> str:
        return loop.network.look_up(name)

    loop.instant_jobs.add(look_up)  # aioice looks names up in a thread
    sockets = SimpleNamespace(**{**vars(socket), "gethostbyname": look_up})
    with (
        replaced(aioice.ice, get_host_addresses=_host_addresses, socket=sockets),
        replaced(aioice.turn, time=SimpleNamespace(time=loop.time)),
        replaced(SSL, Connection=_Connection),
    ):
        yield


@contextlib.contextmanager
def virtual_aiortc() -> Generator[None]:
    """Let unmodified aiortc see them as well."""
    clock = SimpleNamespace(time=running_virtual_loop().time)
    with virtual_webrtc(), replaced(importlib.import_module("aiortc.rtcsctptransport"), time=clock):
        yield


class _Connection(SSL.Connection):
    """A DTLS connection whose retransmission timer runs on virtual time.

    OpenSSL reads the real clock, on which nothing expires while virtual seconds pass. So this keeps the datagrams
    of the last flight and sends the same bytes again when the virtual timer of RFC 6347 section 4.2.4 expires. A
    receiver that had them drops them as replayed records, and would not notice that its own last flight was lost;
    the server, whose flight ends the handshake and has no timer, therefore answers a repeated datagram by
    repeating that flight. Where real seconds do pass, because the machine is busy, OpenSSL's own timer would repeat a
    flight in the midst of a handshake: it is made to, and what it repeats is dropped.
    """

    def __init__(self, context: SSL.Context) -> None:
        super().__init__(context)
        self._is_server = False
        self._is_done = False
        self._heard: set[bytes] = set()
        self._flight = b""
        self._is_flight_answered = False
        self._is_repeating = False
        self._timeout = INITIAL_DTLS_TIMEOUT
        self._deadline = 0.0

    def set_accept_state(self) -> None:
        self._is_server = True
        super().set_accept_state()

    def do_handshake(self) -> None:
        if super().DTLSv1_handle_timeout():
            with contextlib.suppress(SSL.WantReadError):
                while super().bio_read(MAX_DATAGRAM_BYTES):
                    pass
        super().do_handshake()
        self._is_done = True

    def bio_write(self, buf: bytes | bytearray | memoryview) -> int:
        datagram = bytes(buf)
        if not self._is_done:
            self._heard.add(datagram)
            self._is_flight_answered = True
        elif self._is_server and datagram in self._heard:
            self._is_repeating = True
        return super().bio_write(datagram)

    def bio_read(self, bufsiz: int) -> bytes:
        if self._is_repeating:
            self._is_repeating = False
            return self._flight
        data = super().bio_read(bufsiz)
        if not self._is_done:
            self._keep(data)
        return data

    def DTLSv1_get_timeout(self) -> float | None:  # type: ignore[override]  # noqa: N802
        is_waiting = super().DTLSv1_get_timeout() is not None
        return max(0.0, self._deadline - _now()) if is_waiting else None

    def DTLSv1_handle_timeout(self) -> bool:  # noqa: N802
        if _now() < self._deadline:
            return False
        self._timeout = min(2 * self._timeout, MAX_DTLS_TIMEOUT)
        self._deadline = _now() + self._timeout
        self._is_repeating = True
        return True

    def _keep(self, data: bytes) -> None:
        if self._is_flight_answered:
            self._is_flight_answered = False
            self._flight = b""
            self._timeout = INITIAL_DTLS_TIMEOUT
        self._flight += data
        self._deadline = _now() + self._timeout


def _now() -> float:
    return asyncio.get_running_loop().time()


def _host_addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:  # noqa: FBT001
    wanted = {4: use_ipv4, 6: use_ipv6}
    return [address for address in current_host().addresses if wanted[ip_version(address)]]
