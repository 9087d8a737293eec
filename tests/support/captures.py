"""Captures of SCTP packets as they are above DTLS: pcapng, which Wireshark opens, and no more of it than they need.

    section header   0x0A0D0D0A   byte order, version; option 1 (comment): the origin, `name: value` a line
    interface        1            link type 248: a packet begins with the SCTP header (little-endian all of it)
    packet           6            microseconds, length, the packet; option 2 (flags): 1 for received, 2 for sent

Each block is its type, its length, its content and its length again; blocks and options are padded to four bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from struct import Struct
from typing import NamedTuple

SECTION, INTERFACE, PACKET = 0x0A0D0D0A, 1, 6
LINKTYPE_SCTP = 248

_WORD = Struct("<L")
_OPTION = Struct("<HH")
_BLOCK = Struct("<LL")
_SECTION = Struct("<LHHq")
_INTERFACE = Struct("<HHL")
_PACKET = Struct("<LLLLL")
_MAGIC = 0x1A2B3C4D
_COMMENT, _FLAGS = 1, 2
_RECEIVED, _SENT = 1, 2


class Packet(NamedTuple):
    """One packet, as the end saw it that recorded it."""

    at: float
    """Seconds from the first one."""
    received: bool
    data: bytes


class Capture(NamedTuple):
    """A conversation with another stack, and where it comes from."""

    origin: Mapping[str, str]
    packets: Sequence[Packet]

    @property
    def received(self) -> list[bytes]:
        """What the other stack has sent."""
        return [packet.data for packet in self.packets if packet.received]


def write(path: Path, capture: Capture) -> None:
    """Write a capture to a file."""
    comment = "\n".join(f"{name}: {value}" for name, value in capture.origin.items()).encode()
    blocks = [
        _block(SECTION, _SECTION.pack(_MAGIC, 1, 0, -1) + _option(_COMMENT, comment)),
        _block(INTERFACE, _INTERFACE.pack(LINKTYPE_SCTP, 0, 0)),
    ]
    for at, received, data in capture.packets:
        high, low = divmod(round(at * 1e6), 1 << 32)
        flags = _option(_FLAGS, _WORD.pack(_RECEIVED if received else _SENT))
        header = _PACKET.pack(0, high, low, len(data), len(data))
        blocks.append(_block(PACKET, header + _padded(data) + flags))
    path.write_bytes(b"".join(blocks))


def read(path: Path) -> Capture:
    """Read what `write` has written."""
    content = path.read_bytes()
    origin: dict[str, str] = {}
    packets: list[Packet] = []
    offset = 0
    while offset < len(content):
        kind, length = _BLOCK.unpack_from(content, offset)
        assert _WORD.unpack_from(content, offset + length - 4) == (length,), f"a broken block at {offset}"
        body = content[offset + _BLOCK.size : offset + length - 4]
        if kind == SECTION:
            comment = _options(body[_SECTION.size :])[_COMMENT].decode()
            origin = dict(line.split(": ", 1) for line in comment.splitlines())
        elif kind == INTERFACE:
            assert _INTERFACE.unpack_from(body)[0] == LINKTYPE_SCTP
        else:
            assert kind == PACKET, kind
            packets.append(_read_packet(body))
        offset += length
    return Capture(origin, packets)


def _read_packet(body: bytes) -> Packet:
    _, high, low, size, _ = _PACKET.unpack_from(body)
    end = _PACKET.size + size
    (flags,) = _WORD.unpack(_options(body[(end + 3) & ~3 :])[_FLAGS])
    return Packet((high << 32 | low) / 1e6, flags == _RECEIVED, body[_PACKET.size : end])


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _option(code: int, value: bytes) -> bytes:
    """Return an option, and the end of options: no block here has two."""
    return _OPTION.pack(code, len(value)) + _padded(value) + _OPTION.pack(0, 0)


def _options(data: bytes) -> dict[int, bytes]:
    options: dict[int, bytes] = {}
    offset = 0
    while offset < len(data):
        code, length = _OPTION.unpack_from(data, offset)
        options[code] = data[offset + 4 : offset + 4 + length]
        offset += (4 + length + 3) & ~3
    return options


def _block(kind: int, body: bytes) -> bytes:
    length = len(body) + 12
    return _BLOCK.pack(kind, length) + body + _WORD.pack(length)
