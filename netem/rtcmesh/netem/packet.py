"""What travels: packets between endpoints."""

import enum
import functools
import ipaddress
from random import Random
from typing import Any, NamedTuple

from .segment import Segment

SocketAddress = tuple[Any, ...]
"""A host and a port as the socket module has them, with two more values for IPv6."""


class Kind(enum.Enum):
    """The transport protocol of a packet, with the size of its header in bytes."""

    UDP = 8
    TCP = 20

    # Tables are keyed by it, and looked into for every packet; members are compared by identity anyway.
    __hash__ = object.__hash__


class Endpoint(NamedTuple):
    """An IP address and a port."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    @property
    def sockaddr(self) -> tuple[str, int] | tuple[str, int, int, int]:
        """The address as the socket module writes it: a pair for IPv4, four values for IPv6."""
        return (self.address, self.port, 0, 0) if ":" in self.address else (self.address, self.port)


class Contents(NamedTuple):
    """What is inside a UDP or TCP packet."""

    kind: Kind
    source: Endpoint
    destination: Endpoint
    payload: bytes


class Packet(NamedTuple):
    """One IP packet; `sequence` is unique in its network and breaks ties between equal arrival times.

    Gateways change the endpoints of a packet on its way; `origin` still names the host that sent it.
    """

    sequence: int
    kind: Kind
    source: Endpoint
    destination: Endpoint
    payload: bytes | Segment
    origin: str = ""

    @property
    def size(self) -> int:
        """The length in bytes with the IP and the UDP or TCP header."""
        payload = self.payload if isinstance(self.payload, bytes) else self.payload.data
        return len(payload) + self.kind.value + (40 if ":" in self.destination.address else 20)

    def contents(self) -> Contents:
        """Return what is inside."""
        payload = self.payload if isinstance(self.payload, bytes) else self.payload.data
        return Contents(self.kind, self.source, self.destination, payload)

    def damaged(self, random: Random) -> "Packet":
        """Return a copy with one bit of the payload changed; one without payload stays as it is."""
        if isinstance(self.payload, bytes):
            return self._replace(payload=with_flipped_bit(self.payload, random))
        return self._replace(payload=self.payload._replace(data=with_flipped_bit(self.payload.data, random)))


def with_flipped_bit(data: bytes, random: Random) -> bytes:
    """Return a copy with one bit changed; nothing stays nothing."""
    if not data:
        return data
    bit = random.randrange(len(data) * 8)
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@functools.lru_cache(maxsize=4096)
def ip_version(address: str) -> int:
    """Return 4 or 6, or raise ValueError when `address` is no IP address."""
    return ipaddress.ip_address(address).version
