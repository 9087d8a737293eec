"""What a link asks of a packet."""

from random import Random
from typing import Protocol, Self

from rtcmesh.netem.packet import Contents


class Carriable(Protocol):
    """A packet of any backend. Only its size is asked of every one."""

    @property
    def size(self) -> int:
        """The length in bytes of the whole IP packet."""
        ...

    def contents(self) -> Contents | None:
        """Read the headers; None for what is neither UDP nor TCP, or has none, as a later fragment."""
        ...

    def damaged(self, random: Random) -> Self:
        """Return a copy with one bit of the payload changed that every checksum agrees with."""
        ...
