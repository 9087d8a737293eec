"""A UDP socket for asyncio that moves many datagrams with each system call.

The kernel of Linux cuts one buffer into datagrams of equal size when it sends (`UDP_SEGMENT`), and joins those that
arrive together (`UDP_GRO`); most of what a datagram costs is the call. Where the kernel, the route or the system has
neither, datagrams go one by one, and nobody needs to know.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import struct
import sys
import threading
from collections import deque
from typing import Any

from .datagrams import Datagrams

logger = logging.getLogger(__name__)

BUFFER_BYTES = 4 * 1024 * 1024
"""What the kernel is asked to hold for a socket in each direction; it grants what its limits allow."""

MAX_QUEUED_BYTES = 1024 * 1024
"""What waits here while the kernel's buffer is full. What comes beyond that is dropped, as a router would."""

MAX_READS = 16
"""How many reads follow one another before other sockets and timers get their turn."""

# From linux/udp.h, linux/in.h and asm-generic/socket.h; the socket module does not name them.
_UDP_SEGMENT = 103
_UDP_GRO = 104
_IP_MTU_DISCOVER = 10
_IPV6_MTU_DISCOVER = 23
_PMTUDISC_PROBE = 3
_SO_SNDBUFFORCE = 32
_SO_RCVBUFFORCE = 33

_READ_BYTES = 65_536
_ANCILLARY_BYTES = socket.CMSG_SPACE(struct.calcsize("=i")) if hasattr(socket, "CMSG_SPACE") else 0

# What the kernel answers when it, or the device on the route, does not segment; EMSGSIZE when a segment is too large.
_NO_SEGMENTATION = frozenset({errno.EIO, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOPROTOOPT})

Address = tuple[str, int]


class DatagramsProtocol(asyncio.DatagramProtocol):
    """What a `DatagramSocket` reports to, and other datagram transports as well."""

    def datagrams_received(self, datagrams: Datagrams, addr: Address) -> None:
        """Take datagrams from one address. The buffer is lent until this returns."""
        for datagram in datagrams.split():
            self.datagram_received(datagram, addr)


class _Scratch(threading.local):
    """What all sockets of a thread receive into: each lends it out and has it back before another one reads."""

    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(_READ_BYTES))


_scratch = _Scratch()


class DatagramSocket(asyncio.DatagramTransport):
    """A bound UDP socket. Datagrams are sent at once, or wait in order, bounded, while the kernel takes no more."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket, protocol: DatagramsProtocol
    ) -> None:
        super().__init__({"sockname": sock.getsockname(), "socket": sock})
        self.dropped = 0
        """How many datagrams were dropped because too many waited."""
        self._loop = loop
        self._sock = sock
        self._protocol = protocol
        self._buffer = _scratch.buffer
        self._queue: deque[tuple[Datagrams, Address]] = deque()
        self._queued_bytes = 0
        self._closing = False
        self._segments = sys.platform == "linux"
        _prepare(sock)
        self._coalesces = _enable_coalescing(sock)
        protocol.connection_made(self)
        loop.add_reader(sock, self._read)

    @classmethod
    def bind(
        cls, loop: asyncio.AbstractEventLoop, address: str, protocol: DatagramsProtocol
    ) -> DatagramSocket:
        """Bind a socket to an address and any port. Raises OSError."""
        family, kind, number, _, sockaddr = socket.getaddrinfo(
            address, 0, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST
        )[0]
        sock = socket.socket(family, kind, number)
        try:
            sock.setblocking(False)  # noqa: FBT003
            sock.bind(sockaddr)
            return cls(loop, sock, protocol)
        except BaseException:
            sock.close()
            raise

    def sendto(self, data: bytes | bytearray | memoryview, addr: Any = None) -> None:  # noqa: ANN401
        """Send one datagram to `addr`."""
        self.send(Datagrams(bytes(data), len(data) or 1), addr)

    def send(self, datagrams: Datagrams, addr: Address) -> None:
        """Send a run of datagrams to `addr`."""
        if self._closing:
            return
        if not self._queue and self._send_now(datagrams, addr):
            return
        if self._queued_bytes + len(datagrams.data) > MAX_QUEUED_BYTES:
            self.dropped += datagrams.count
            return
        if not self._queue:
            self._loop.add_writer(self._sock, self._send_queued)
        self._queue.append((datagrams, addr))
        self._queued_bytes += len(datagrams.data)

    def is_closing(self) -> bool:
        """Tell whether the socket is closed."""
        return self._closing

    def close(self) -> None:
        """Close the socket; what waits is dropped. `connection_lost` follows in the next round of the loop."""
        if self._closing:
            return
        self._closing = True
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._queue.clear()
        self._sock.close()
        self._loop.call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        """Close the socket."""
        self.close()

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol."""
        return self._protocol

    def __del__(self) -> None:
        self._sock.close()

    # Sending

    def _send_now(self, datagrams: Datagrams, addr: Address) -> bool:
        """Hand datagrams to the kernel; tell whether that is over, one way or another."""
        try:
            if len(datagrams.data) <= datagrams.size_bytes:
                self._sock.sendto(datagrams.data, addr)
                return True
            if self._segments:
                control = (socket.IPPROTO_UDP, _UDP_SEGMENT, struct.pack("=H", datagrams.size_bytes))
                self._sock.sendmsg([datagrams.data], [control], 0, addr)
                return True
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            if len(datagrams.data) <= datagrams.size_bytes:
                self._refused(error)
                return True
            if error.errno in _NO_SEGMENTATION:
                logger.info("datagrams are sent one by one: %s", error)
                self._segments = False
        self._send_singly(datagrams, addr)
        return True

    def _send_singly(self, datagrams: Datagrams, addr: Address) -> None:
        for datagram in datagrams.split():
            self.send(Datagrams(datagram, len(datagram)), addr)

    def _send_queued(self) -> None:
        while self._queue:
            datagrams, addr = self._queue[0]
            if not self._send_now(datagrams, addr):
                return
            self._queue.popleft()
            self._queued_bytes -= len(datagrams.data)
        self._loop.remove_writer(self._sock)

    def _refused(self, error: OSError) -> None:
        """Report what the kernel says about one datagram; a probe of the path's MTU that is too large is normal."""
        if error.errno != errno.EMSGSIZE:
            self._loop.call_soon(self._protocol.error_received, error)

    # Receiving

    def _read(self) -> None:
        for _ in range(MAX_READS):
            try:
                received = self._receive()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self._protocol.error_received(error)
                return
            datagrams, addr = received
            if datagrams.data:
                self._protocol.datagrams_received(datagrams, addr)
            if self._closing:
                return

    def _receive(self) -> tuple[Datagrams, Address]:
        if not self._coalesces:
            size, addr = self._sock.recvfrom_into(self._buffer)
            return Datagrams(self._buffer[:size], max(size, 1)), (addr[0], addr[1])
        size, ancillary, _, addr = self._sock.recvmsg_into([self._buffer], _ANCILLARY_BYTES)
        each = size
        for level, kind, value in ancillary:
            if level == socket.IPPROTO_UDP and kind == _UDP_GRO:
                each = struct.unpack_from("=i", value)[0]
        return Datagrams(self._buffer[:size], max(each, 1)), (addr[0], addr[1])


def supports_batches(loop: asyncio.AbstractEventLoop) -> bool:
    """Tell whether a loop can watch a socket of ours.

    A loop that makes its endpoints itself, as a virtual network's does, keeps making them; so does one that has no
    selector.
    """
    return (
        isinstance(loop, asyncio.SelectorEventLoop)
        and type(loop).create_datagram_endpoint is asyncio.SelectorEventLoop.create_datagram_endpoint
    )


def _prepare(sock: socket.socket) -> None:
    """Ask for large buffers, and for datagrams that are never fragmented on their way (RFC 8899 section 3)."""
    for option, force in ((socket.SO_RCVBUF, _SO_RCVBUFFORCE), (socket.SO_SNDBUF, _SO_SNDBUFFORCE)):
        try:
            if sys.platform != "linux":
                raise PermissionError
            sock.setsockopt(socket.SOL_SOCKET, force, BUFFER_BYTES)  # beyond the limit, for the superuser
        except OSError:
            with contextlib.suppress(OSError):  # some systems refuse what they do not grant in full
                sock.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
    if sys.platform == "linux":
        if sock.family is socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_PROBE)


def _enable_coalescing(sock: socket.socket) -> bool:
    if sys.platform != "linux":
        return False
    try:
        sock.setsockopt(socket.IPPROTO_UDP, _UDP_GRO, 1)
    except OSError:
        return False
    return True
