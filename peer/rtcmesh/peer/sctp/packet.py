"""The packet: common header and checksum (RFC 9260 sections 3.1, 6.8).

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-------------------------------+-------------------------------+
    |          source port          |       destination port        |
    +-------------------------------+-------------------------------+
    |                       verification tag                        |
    +---------------------------------------------------------------+
    |      checksum: CRC32c over the packet with zeros in here      |
    +---------------------------------------------------------------+
    |                      chunk 1, chunk 2 ...                     |
    +---------------------------------------------------------------+

The checksum is by far the most work per byte, so it comes from a C extension, and the part of it that covers the header
is computed once per association.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct
from typing import cast

import google_crc32c

HEADER_BYTES = 12

_PREFIX = Struct("!HHL")
_CHECKSUM = Struct("<L")  # the byte order of RFC 9260 appendix A
_NO_CHECKSUM = bytes(4)

_extend = cast("Callable[[int, bytes], int]", google_crc32c.extend)  # pyright: ignore[reportUnknownMemberType]
_pack_checksum = _CHECKSUM.pack
_unpack_checksum = _CHECKSUM.unpack_from


class Envelope:
    """What all packets of one direction have in common: the ports and the verification tag."""

    __slots__ = ("_seed", "prefix", "tag", "unchecked", "zero_checksum")

    def __init__(
        self, source_port: int, destination_port: int, tag: int, *, zero_checksum: bool = False
    ) -> None:
        self.tag = tag
        self.zero_checksum = zero_checksum
        """Whether packets may go without a checksum (RFC 9653); one that has it must have the right one."""
        self.prefix = _PREFIX.pack(source_port, destination_port, tag)
        """What such a packet begins with."""
        self.unchecked = self.prefix + _NO_CHECKSUM
        """What it begins with if it has no checksum."""
        self._seed = _extend(0, self.unchecked)

    def seal(self, chunks: bytes) -> bytes:
        """Return the packet that carries these chunks."""
        if self.zero_checksum:
            return self.unchecked + chunks
        return b"".join((self.prefix, _pack_checksum(_extend(self._seed, chunks)), chunks))

    def seal_all(self, bodies: Sequence[bytes]) -> list[bytes]:
        """Return the packets that carry these chunks, each its own."""
        if self.zero_checksum:
            unchecked = self.unchecked
            return [unchecked + chunks for chunks in bodies]
        return [self.seal(chunks) for chunks in bodies]

    def fits(self, packet: bytes) -> bool:
        """Return whether the packet has these ports, this tag, and the right checksum, or none where it needs none."""
        if self.zero_checksum and packet.startswith(self.unchecked):
            return True
        if not packet.startswith(self.prefix) or len(packet) < HEADER_BYTES:
            return False
        checksum: int = _unpack_checksum(packet, 8)[0]
        return checksum == _extend(self._seed, packet[HEADER_BYTES:])


def tag_of(
    packet: bytes, source_port: int, destination_port: int, *, zero_checksum: bool = False
) -> int | None:
    """Return the verification tag of a packet between these ports whose checksum is right, or None.

    An INIT, which is alone in its packet and has no tag, needs a checksum always (RFC 9653 section 5.3).
    """
    if len(packet) < HEADER_BYTES:
        return None
    source, destination, tag = _PREFIX.unpack_from(packet)
    if (source, destination) != (source_port, destination_port):
        return None
    envelope = Envelope(source, destination, tag, zero_checksum=zero_checksum and tag != 0)
    return tag if envelope.fits(packet) else None
