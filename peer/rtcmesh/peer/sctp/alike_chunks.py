"""The chunks of whole messages of one size that follow one another on a stream, made and read all at once.

Small messages come like this. What they cost is not to copy bytes but to handle chunks one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from struct import Struct, pack

from .data_chunks import data_header_bytes
from .serial import MASK_32

PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")
"""What fills a chunk up to a multiple of four bytes, by the last two bits of its length."""

_LOW_BYTES = bytearray(range(256))  # assigned to other bytes faster than from bytes
_TSN_ENDS, _SSN_ENDS, _MID_ENDS = 8, 12, 16


def encode_alike(
    header: bytes, messages: Sequence[bytes], tsn: int, number: int, *, interleaved: bool
) -> bytes:
    """Return chunks of one message each. `header` is that of the first, which has this TSN and this SSN or MID."""
    padding = PADDING[len(messages[0]) & 3]
    chunks = bytearray().join((header, (padding + header).join(messages), padding))
    stride, count = len(chunks) // len(messages), len(messages)
    _count_up(chunks, _TSN_ENDS, stride, tsn, count, 4)
    if interleaved:
        _count_up(chunks, _MID_ENDS, stride, number, count, 4)
    else:
        _count_up(chunks, _SSN_ENDS, stride, number, count, 2)
    return bytes(chunks)


def decode_alike(chunks: bytes, length: int, tsn: int, number: int, *, interleaved: bool) -> Sequence[bytes]:
    """Return the messages in chunks of this length as far as they are alike; only the first header has been read.

    They are when they are what `encode_alike` makes of what they should carry.
    """
    stride = (length + 3) & ~3
    header = chunks[: data_header_bytes(interleaved=interleaved)]
    messages = _payloads(length - len(header), len(chunks) // stride, len(header)).unpack(chunks)
    foreseen = encode_alike(header, messages, tsn, number, interleaved=interleaved)
    if foreseen == chunks:
        return messages
    for index in range(len(messages)):
        if foreseen[index * stride : (index + 1) * stride] != chunks[index * stride : (index + 1) * stride]:
            return messages[:index]
    return messages


@lru_cache(maxsize=64)
def _payloads(size: int, count: int, header: int) -> Struct:
    """Return the layout of so many chunks by their payloads alone. It is of a packet, so it is small."""
    return Struct(f"{header}x{size}s{-size % 4}x" * count)


def _count_up(chunks: bytearray, end: int, stride: int, first: int, count: int, width: int) -> None:  # noqa: PLR0917
    """Number chunks: at first all have the number of the first one.

    `end` is where the number ends in a chunk and `width` how many bytes it has. Among few only the last one changes.
    """
    low = first & 0xFF
    if low + count <= len(_LOW_BYTES):
        chunks[end - 1 :: stride] = _LOW_BYTES[low : low + count]
        return
    first &= MASK_32
    following = first + count
    wrapped = max(0, following - MASK_32 - 1)
    numbers = bytearray(pack(f"!{count}L", *range(first, following - wrapped), *range(wrapped)))
    for byte in range(1, width + 1):
        chunks[end - byte :: stride] = numbers[4 - byte :: 4]
