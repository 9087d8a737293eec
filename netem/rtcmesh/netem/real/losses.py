"""Packets that links took out, on their way from the process of the links to its owner.

    0      2      3          7                 15
    +------+------+----------+-----------------+----------
    | link | fate |  untold  |  time, float64  | packet ...
    +------+------+----------+-----------------+----------

A datagram each, in order. The links do not wait when there are more than the owner reads: what could not be told is
counted, and the next one tells the count.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple, Self

from rtcmesh.netem.link import Fate

READ_BATCH = 64
"""How many are read before others have their turn."""

_HEAD = struct.Struct("!HBId")
_FATES = tuple(Fate)
_MOST_BYTES = _HEAD.size + 65_535


class Loss(NamedTuple):
    """A packet that does not arrive."""

    link: int
    fate: Fate
    untold: int
    """How many before it could not be told."""
    at: float
    """On the clock of `time.monotonic`."""
    packet: bytes


class LossTeller:
    """The end of the links."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(False)  # noqa: FBT003
        self._untold = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def tell(self, link: int, fate: Fate, at: float, packet: bytes) -> None:
        """Tell of a packet, or count it where that would take time."""
        try:
            self._socket.send(_HEAD.pack(link, _FATES.index(fate), self._untold, at) + packet)
        except OSError:  # full, or nobody listens any more
            self._untold += 1
        else:
            self._untold = 0


def told_losses(source: socket.socket) -> Iterator[Loss]:
    """Read what has been told, a batch at most, from the owner's end, which does not block."""
    for _ in range(READ_BATCH):
        try:
            told = source.recv(_MOST_BYTES)
        except BlockingIOError:
            return
        if not told:  # the links are gone
            return
        link, fate, untold, at = _HEAD.unpack_from(told)
        yield Loss(link, _FATES[fate], untold, at, told[_HEAD.size :])
