"""From waiting messages to the chunks of a packet (RFC 9260 sections 3.3.1, 6.9, 6.10; RFC 8260 section 2.1).

What costs most is not to copy bytes but to handle chunks one by one, so two shapes are made many at a time: the packets
that the middle of a large message fills, and the chunks of small messages that are alike.
"""

from __future__ import annotations

from collections.abc import Callable

from .alike_chunks import PADDING, encode_alike
from .chunks import ChunkType, Skip
from .data_chunks import DATA_HEADER, I_DATA_HEADER, WHOLE, B, E, U, data_header_bytes
from .out_stream import OutStream
from .sent import Limit, Sent
from .serial import MASK_16, MASK_32

_pack_data = DATA_HEADER.pack
_pack_i_data = I_DATA_HEADER.pack
_DATA = int(ChunkType.DATA)
_I_DATA = int(ChunkType.I_DATA)
LEAST_FRAGMENT, LEAST_FRAGMENT_AMONG_MANY = 64, 256
"""The remote end books more than the bytes of each part of a message: of those that mix few must be small."""


def full_fragments(
    stream: OutStream, tsn: int, room: int, most: int, *, interleaved: bool
) -> tuple[list[Sent], int]:
    """Return packets of one fragment each from the middle of a reliable message, and how many bytes they take of it.

    There are `most` of them at most, all of exactly `room` bytes, a multiple of four; none if no message is begun.
    """
    (flags, ppid, limit), data = stream.queue[0]
    offset, size = stream.offset, room - data_header_bytes(interleaved=interleaved)
    if limit is not None or not offset:
        return [], 0
    count = min(most, (len(data) - offset - 1) // size)
    stream_id, mid, fragment = stream.id, stream.mids[flags >> 2], stream.fragment
    packets: list[Sent] = []
    for number in range(tsn, tsn + count):
        if interleaved:
            header = _pack_i_data(
                _I_DATA, flags, room, number & MASK_32, stream_id, 0, mid & MASK_32, fragment
            )
            fragment += 1
        else:
            header = _pack_data(_DATA, flags, room, number & MASK_32, stream_id, mid & MASK_16, ppid)
        following = offset + size
        packets.append(Sent(number, number + 1, header + data[offset:following], room))
        offset = following
    if count > 0:
        stream.offset, stream.fragment, stream.last_tsn = offset, fragment, tsn + count - 1
    return packets, len(packets) * size


def alike_messages(
    stream: OutStream, tsn: int, room: int, most: int, *, interleaved: bool
) -> tuple[list[Sent], int]:
    """Return packets of whole reliable messages of one size, and how many bytes they take of the stream.

    There are `most` of them at most, each with as many as `room` has space for; none of a single message, nor where a
    quarter of a packet would be left, which a part of the next message could fill.
    """
    queue = stream.queue
    (flags, ppid, limit), data = queue[0]
    size = len(data)
    length = size + data_header_bytes(interleaved=interleaved)
    stride = (length + 3) & ~3
    each = room // stride
    if stream.offset or limit is not None or each < 2 or room - each * stride >= room >> 2:
        return [], 0
    count = min(stream.alike // each, most) * each
    if not count:
        return [], 0
    flags |= WHOLE
    number = stream.mids[flags >> 2]
    if interleaved:
        header = _pack_i_data(_I_DATA, flags, length, tsn & MASK_32, stream.id, 0, number & MASK_32, ppid)
    else:
        header = _pack_data(_DATA, flags, length, tsn & MASK_32, stream.id, number & MASK_16, ppid)
    messages = [queue.popleft()[1] for _ in range(count)]
    stream.took(count)
    chunks = encode_alike(header, messages, tsn, number, interleaved=interleaved)
    filled = each * stride
    packets = [
        Sent(first, first + each, chunks[begin : begin + filled], filled)
        for first, begin in zip(range(tsn, tsn + count, each), range(0, len(chunks), filled), strict=True)
    ]
    stream.mids[flags >> 2], stream.last_tsn = number + count, tsn + count - 1
    return packets, count * size


class Bundle:
    """The chunks of one packet while it is filled: all reliable, or all of the same limit and of one stream."""

    __slots__ = (
        "_first",
        "_interleaved",
        "_least",
        "_left",
        "_limit",
        "_room",
        "_skips",
        "_tsn",
        "full",
        "parts",
    )

    def __init__(self, tsn: int, room: int, *, interleaved: bool, least: int) -> None:
        self.parts: list[bytes] = []
        self.full = False
        """Whether nothing else may share the packet."""
        self._first = self._tsn = tsn
        self._room = self._left = room
        self._interleaved = interleaved
        self._least = least
        """How many bytes of a message that finds room in no packet are worth a chunk."""
        self._limit: Limit | None = None
        self._skips: list[Skip] | None = None

    def restrict(self, limit: Limit | None) -> None:
        """Take only messages of this limit, and of one stream; or only reliable ones. Nothing is in it yet."""
        self._limit, self._skips = limit, None if limit is None else []

    def packet(self) -> Sent | None:
        """Return what is in it; None: nothing."""
        if not self.parts:
            return None
        body = b"".join(self.parts)
        return Sent(self._first, self._tsn, body, len(body), self._limit, self._skips)

    def take(self, stream: OutStream, budget: int, may_begin: Callable[[int], bool]) -> int:  # noqa: PLR0912, PLR0915  (the hot loop)
        """Move messages from a stream until its budget is spent or the packet is full. Returns how many bytes.

        A message of which a part only finds room has to be granted already, or `may_begin`. If it may not, is the next
        one, and finds room in no packet, none are taken.
        """
        queue, stream_id, offset, mids = stream.queue, stream.id, stream.offset, stream.mids
        parts, left, tsn, limit, skips = self.parts, self._left, self._tsn, self._limit, self._skips
        interleaved = self._interleaved
        header = data_header_bytes(interleaved=interleaved)
        taken = messages = 0
        ends = False
        while queue and not ends and (taken < budget or (offset and not interleaved)):
            (flags, ppid, its_limit), data = queue[0]
            if its_limit is not limit and (limit is None or its_limit is None or not limit.equals(its_limit)):
                break
            size = len(data) - offset
            mid = mids[flags >> 2]
            if header + size <= left and not (offset and limit is not None and parts):
                queue.popleft()
                messages += 1
                mids[flags >> 2] = mid + 1
                if offset:
                    # Nothing shares a packet with a part of what may be abandoned because another part is lost.
                    piece = data[offset:]
                    flags |= E
                    offset = 0
                    fragment = stream.fragment
                    ends = limit is not None
                else:
                    piece = data
                    flags |= WHOLE
                    fragment = 0
            elif parts and (
                limit is not None
                or (left < self._room >> 2 if header + size <= self._room else left < self._least)
            ):
                # Rather a packet with a little space than small fragments.
                self.full = True
                break
            elif not offset and not stream.is_granted(messages) and not may_begin(size):
                self.full = header + size <= self._room  # the next packet holds all of it
                break
            else:
                size = (left - header) & ~3
                piece = data[offset : offset + size]
                if offset:
                    fragment = stream.fragment
                    stream.fragment = fragment + 1
                else:
                    flags |= B
                    fragment, stream.fragment = 0, 1
                offset += size
            length = header + size
            if interleaved:
                last = (ppid if flags & B else fragment) & MASK_32
                number = mid & MASK_32
                parts.append(_pack_i_data(_I_DATA, flags, length, tsn & MASK_32, stream_id, 0, number, last))
            else:
                parts.append(_pack_data(_DATA, flags, length, tsn & MASK_32, stream_id, mid & MASK_16, ppid))
            parts.append(piece)
            if skips is not None:
                skips.append(Skip(stream_id, mid, bool(flags & U)))
            tsn += 1
            taken += size
            left -= length
            if size & 3:
                parts.append(PADDING[size & 3])
                left &= ~3
        self._left, self._tsn = left, tsn
        stream.offset = offset
        stream.took(messages)
        if taken:
            stream.last_tsn = tsn - 1
        return taken
