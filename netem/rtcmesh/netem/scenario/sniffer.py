"""Sees the packets of a host in a namespace, as tcpdump does there: with a packet socket, which takes root."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import threading
from collections.abc import Callable

from rtcmesh.netem.real import LaboratoryUnavailable, Namespace
from rtcmesh.netem.real.syscalls import CLONE_NEWNET, setns

from .stage import Watch

_ETH_P_ALL = 0x0003
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_OUTGOING = 4
_LOOPBACK = "lo"

BUFFER_BYTES = 4 * 1024 * 1024
"""What the kernel holds while we are busy; packets beyond that are counted as not captured."""

READ_BATCH = 64
"""How many packets are read before others have their turn."""

MAX_PACKET_BYTES = 65_535


class Sniffer:
    """Shows every packet that a host sends or receives to the meter and the capture of a run."""

    def __init__(self, host: str, namespace: Namespace, watch: Watch, clock: Callable[[], float]) -> None:
        self._host = host
        self._watch = watch
        self._clock = clock
        self._socket = _socket_in(namespace)
        self._socket.setblocking(False)  # noqa: FBT003
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._read)

    def close(self) -> None:
        """Look no more, and count what was missed."""
        self._loop.remove_reader(self._socket)
        self._read()
        statistics = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        if self._watch.capture is not None:
            self._watch.capture.left_out += struct.unpack("II", statistics)[1]
        self._socket.close()

    def _read(self) -> None:
        for _ in range(READ_BATCH):
            try:
                data, (device, _, kind, *_) = self._socket.recvfrom(MAX_PACKET_BYTES)
            except BlockingIOError:
                return
            except OSError:  # the device went down, as it does when an uplink is switched
                continue
            if device != _LOOPBACK:
                self._show(data, is_outgoing=kind == _OUTGOING)

    def _show(self, data: bytes, *, is_outgoing: bool) -> None:
        at = self._clock()
        self._watch.meter.seen(self._host, len(data), at, is_outgoing=is_outgoing)
        if self._watch.capture is not None:
            self._watch.capture.add(self._host, at, data)


def _socket_in(namespace: Namespace) -> socket.socket:
    """Open a packet socket inside, in a thread that enters the namespace and leaves it by ending."""
    opened: list[socket.socket | OSError] = []

    def open_inside() -> None:
        try:
            setns(namespace.fd, CLONE_NEWNET)
            opened.append(socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL)))
        except OSError as error:
            opened.append(error)

    thread = threading.Thread(target=open_inside)
    thread.start()
    thread.join()
    if isinstance(opened[0], OSError):
        raise LaboratoryUnavailable(f"packets cannot be looked at: {opened[0]}") from opened[0]
    return opened[0]


def may_sniff() -> bool:
    """Whether this user may look at packets in namespaces."""
    return os.geteuid() == 0
