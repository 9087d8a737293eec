"""Messages that wait, and the packets made of them (RFC 9260 sections 6.1, 6.9, 6.10; RFC 8260 section 2.2).

Streams with something to send take turns, by deficit round robin with the priority of RFC 8831 section 6.4 for weight.
DATA does not allow another message between the fragments of one, I-DATA does: there a large message delays no other.
"""

from __future__ import annotations

from collections import deque
from typing import TypeAlias

from .chunks import ChunkType, Skip
from .config import SctpConfig
from .data_chunks import DATA_HEADER, I_DATA_HEADER, WHOLE, B, E, U
from .extensions import Extensions
from .sent import Limit, Sent
from .serial import MASK_16, MASK_32

QUANTUM_PER_PRIORITY = 8
"""Bytes per turn and unit of priority: 2,048 for a normal channel."""

LOW_WATER_BYTES = 16 * 1024
HIGH_WATER_BYTES = 64 * 1024

Waiting: TypeAlias = tuple[int, int, bytes, Limit | None]
"""A message: its flags (U or none), payload protocol, data, limit."""

_pack_data = DATA_HEADER.pack
_pack_i_data = I_DATA_HEADER.pack
_DATA = int(ChunkType.DATA)
_I_DATA = int(ChunkType.I_DATA)
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")
_LEAST_FRAGMENT = 64

MESSAGE_OVERHEAD_BYTES = 64
"""What a message that waits costs beside its data."""


class OutStream:
    """One outgoing stream: what waits on it."""

    __slots__ = (
        "active",
        "blocked",
        "buffered",
        "credit",
        "fragment",
        "high_water",
        "id",
        "last_tsn",
        "low_water",
        "mids",
        "offset",
        "quantum",
        "queue",
    )

    def __init__(self, stream_id: int, priority: int = 256) -> None:
        self.id = stream_id
        self.queue: deque[Waiting] = deque()
        self.offset = 0
        """How much of the first message in the queue is sent."""
        self.fragment = 0
        """How many fragments of it are sent."""
        self.mids = [0, 0]
        """The next number of ordered and of unordered messages."""
        self.buffered = 0
        self.low_water, self.high_water = LOW_WATER_BYTES, HIGH_WATER_BYTES
        self.blocked = False
        """Whether the high-water mark was reached and the low-water mark was not since."""
        self.active = False
        self.quantum = max(priority, 1) * QUANTUM_PER_PRIORITY
        self.credit = 0
        self.last_tsn = -1
        """The last TSN that was sent on it; -1: none."""


class Outbound:
    """Everything that waits for its first transmission. Bounded by `Association.send`, which refuses more."""

    def __init__(self) -> None:
        self.interleaved = False
        """Whether to send I-DATA: both ends support it."""
        self.may_abandon = True
        """Whether the remote end can pass over what is abandoned; otherwise every message is reliable."""
        self.buffered = 0
        """Bytes on all streams."""
        self.writable: list[int] = []
        """Streams that fell to their low-water mark, until they are taken."""
        self.expired = 0
        """Messages that were abandoned before any of them was sent."""
        self.active: deque[OutStream] = deque()
        """Streams with something to send, in the order of their turns."""

    def agreed(self, config: SctpConfig, extensions: Extensions) -> None:
        """Note what the remote end can do. Call it before anything is sent."""
        self.interleaved = config.interleaving and Extensions.INTERLEAVING in extensions
        self.may_abandon = Extensions.PARTIAL_RELIABILITY in extensions

    def add(self, stream: OutStream, message: Waiting) -> None:
        """Let a message wait."""
        stream.queue.append(message)
        size = len(message[2])
        stream.buffered += size
        self.buffered += size
        if not stream.active:
            stream.active = True
            stream.credit = stream.quantum
            self.active.append(stream)

    def drop(self, stream: OutStream) -> None:
        """Forget what waits on a stream."""
        self.buffered -= stream.buffered
        stream.queue.clear()
        stream.buffered = stream.offset = 0
        if stream.active:
            stream.active = False
            self.active.remove(stream)

    def next_packet(self, tsn: int, room: int, now: float) -> Sent | None:
        """Return chunks of at most `room` bytes, numbered from `tsn`, or None when nothing waits.

        They are of one or more streams and reliable, or of one stream and of the same limit.
        """
        first, active = tsn, self.active
        room = left = room & ~3
        if active[0].offset and (packet := self._full_fragment(active[0], tsn, room)) is not None:
            return packet
        parts: list[bytes] = []
        skips: list[Skip] | None = None
        limit: Limit | None = None
        full = False
        while active and not full:
            stream = active[0]
            before = stream.buffered
            if stream.credit <= 0 and (self.interleaved or not stream.offset):
                stream.credit = stream.quantum if len(active) == 1 else stream.credit + stream.quantum
                active.rotate(-1)
                continue
            its_limit = stream.queue[0][3]
            if its_limit is not None:
                if parts:
                    break
                if its_limit.abandoned or (its_limit.expires_at <= now and self.may_abandon):
                    gap = self._expire(stream, tsn, now)
                    self._end_turn(stream, before)
                    if gap is not None:
                        return gap
                    continue
                limit, skips, full = its_limit, [], True
            left, tsn, filled = self._fill(stream, parts, left, tsn, room, limit, skips)
            full = full or filled
            self._end_turn(stream, before)
        if not parts:
            return None
        return Sent(first, tsn, b"".join(parts), limit, skips)

    def _full_fragment(self, stream: OutStream, tsn: int, room: int) -> Sent | None:
        """Return a fragment from the middle of a reliable message that fills a packet: most of what bulk data is."""
        flags, ppid, data, limit = stream.queue[0]
        interleaved, offset = self.interleaved, stream.offset
        size = room - (20 if interleaved else 16)
        if limit is not None or len(data) - offset <= size or (interleaved and stream.credit <= 0):
            return None
        mid = stream.mids[flags >> 2]
        if interleaved:
            fragment = stream.fragment
            stream.fragment = fragment + 1
            header = _pack_i_data(_I_DATA, flags, room, tsn & MASK_32, stream.id, 0, mid & MASK_32, fragment)
        else:
            header = _pack_data(_DATA, flags, room, tsn & MASK_32, stream.id, mid & MASK_16, ppid)
        stream.offset = offset + size
        stream.last_tsn = tsn
        stream.credit -= size
        stream.buffered -= size
        self.buffered -= size
        if stream.blocked and stream.buffered <= stream.low_water:
            stream.blocked = False
            self.writable.append(stream.id)
        return Sent(tsn, tsn + 1, header + data[offset : offset + size], None, None)

    def _expire(self, stream: OutStream, tsn: int, now: float) -> Sent | None:
        """Drop what is too late (RFC 3758 section 3.5).

        When a part of it is sent already, and perhaps acknowledged, one more TSN stands for the rest. It is returned,
        to be passed over with FORWARD TSN: otherwise the remote end would wait for the rest for ever.
        """
        queue = stream.queue
        while queue:
            flags, _, data, limit = queue[0]
            if limit is None or not (limit.abandoned or (limit.expires_at <= now and self.may_abandon)):
                return None
            queue.popleft()
            stream.buffered -= len(data) - stream.offset
            if not limit.abandoned:
                limit.abandoned = True
                self.expired += 1
            if stream.offset:
                mid = stream.mids[flags >> 2]
                stream.mids[flags >> 2] = mid + 1
                stream.offset, stream.last_tsn = 0, tsn
                return Sent(tsn, tsn + 1, b"", limit, [Skip(stream.id, mid, bool(flags & U))])
        return None

    def _end_turn(self, stream: OutStream, before: int) -> None:
        taken = before - stream.buffered
        self.buffered -= taken
        stream.credit -= taken
        if stream.blocked and stream.buffered <= stream.low_water:
            stream.blocked = False
            self.writable.append(stream.id)
        if not stream.queue:
            stream.active = False
            self.active.popleft()

    def _fill(  # noqa: PLR0912, PLR0915, PLR0917  (the hot loop)
        self,
        stream: OutStream,
        parts: list[bytes],
        left: int,
        tsn: int,
        room: int,
        limit: Limit | None,
        skips: list[Skip] | None,
    ) -> tuple[int, int, bool]:
        """Move messages with this limit from a stream into a packet, until its turn is over or the packet is full.

        Returns the room that is left, the next TSN, and whether the packet is full.
        """
        queue, stream_id, offset, mids = stream.queue, stream.id, stream.offset, stream.mids
        interleaved = self.interleaved
        header = 20 if interleaved else 16
        credit = stream.credit
        taken = 0
        full = False
        while queue and (taken < credit or (offset and not interleaved)):
            flags, ppid, data, its_limit = queue[0]
            if its_limit is not limit and (limit is None or its_limit is None or not limit.equals(its_limit)):
                full = limit is not None
                break
            size = len(data) - offset
            mid = mids[flags >> 2]
            if header + size <= left and not (offset and limit is not None and parts):
                queue.popleft()
                mids[flags >> 2] = mid + 1
                if offset:
                    piece = data[offset:]
                    flags |= E
                    offset = 0
                    fragment = stream.fragment
                    full = limit is not None
                else:
                    piece = data
                    flags |= WHOLE
                    fragment = 0
            elif parts and (
                limit is not None or (left < room >> 2 if header + size <= room else left < _LEAST_FRAGMENT)
            ):
                # Rather a packet with a little space than small fragments.
                full = True
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
            if interleaved:
                last = ppid if flags & B else fragment
                parts.append(
                    _pack_i_data(
                        _I_DATA, flags, 20 + size, tsn & MASK_32, stream_id, 0, mid & MASK_32, last & MASK_32
                    )
                )
            else:
                parts.append(
                    _pack_data(_DATA, flags, 16 + size, tsn & MASK_32, stream_id, mid & MASK_16, ppid)
                )
            parts.append(piece)
            if skips is not None:
                skips.append(Skip(stream_id, mid, bool(flags & U)))
            tsn += 1
            taken += size
            left -= header + size
            if size & 3:
                parts.append(_PADDING[size & 3])
                left &= ~3
            if full:
                # Nothing shares a packet with a part of what may be abandoned because another part is lost.
                break
        stream.offset = offset
        stream.buffered -= taken
        if taken:
            stream.last_tsn = tsn - 1
        return left, tsn, full
