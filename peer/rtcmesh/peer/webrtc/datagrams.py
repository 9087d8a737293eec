"""Runs of datagrams: what one system call carries when the kernel segments and coalesces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

MAX_RUN_DATAGRAMS = 64
"""How many datagrams the kernel takes in one call (UDP_MAX_SEGMENTS)."""

MAX_RUN_BYTES = 65_000
"""How many bytes it takes: 65,535 less the headers of IP and UDP, and some air."""


@dataclass(slots=True)
class Datagrams:
    """One datagram or more of the same size, the last one perhaps shorter, back to back in one buffer.

    A received buffer is lent: it holds other bytes once the call that passes it has returned.
    """

    data: bytes | memoryview
    size_bytes: int
    """The size of each datagram but the last; at least 1."""

    def split(self) -> Iterator[bytes]:
        """Return each datagram by itself, a copy."""
        for start in range(0, len(self.data), self.size_bytes):
            yield bytes(self.data[start : start + self.size_bytes])

    @property
    def count(self) -> int:
        """How many datagrams these are."""
        return -(-len(self.data) // self.size_bytes)
