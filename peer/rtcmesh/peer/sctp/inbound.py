"""User data that arrives: from chunks to messages, within the window (RFC 9260 section 6.2)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import islice
from struct import Struct

from .acknowledgement import MAX_AHEAD, Receipts
from .chunks import ChunkType, ForwardTsn
from .config import SctpConfig
from .data_chunks import DATA_HEADER, I_DATA_HEADER, IMMEDIATE, WHOLE, U, data_header_bytes
from .errors import ProtocolError
from .packet import HEADER_BYTES
from .parameters import Cause
from .reassembly import CHUNK_OVERHEAD_BYTES, Message, Reassembly
from .serial import MASK_16, MASK_32, unwrap

_unpack = DATA_HEADER.unpack_from
_unpack_i = I_DATA_HEADER.unpack_from


_RUN_HEADER = Struct("!12sQQL")
"""The header of a packet; kind, flags, length and TSN; stream and MID; FSN."""
_unpack_run = _RUN_HEADER.unpack_from

_first_of_data = Struct("!QL").unpack_from
_first_of_i_data = Struct("!QQ").unpack_from


@lru_cache(maxsize=64)
def _layout(length: int, *, interleaved: bool) -> Struct:
    """Return the layout of chunks of this length by what changes between those that follow one another.

    A number that begins with kind, flags and length and ends with the TSN grows by one; so does one that begins with
    the stream and ends with the SSN or MID. Then come the payload protocol and the data.
    """
    size = length - data_header_bytes(interleaved=interleaved)
    return Struct(f"!Q{'Q' if interleaved else 'L'}L{size}s{-length % 4}x")


def _are_alike(packet: bytes, first: int, second: int) -> bool:
    """Return whether two chunks are of the same kind, flags, length and stream."""
    return (
        packet[first : first + 4] == packet[second : second + 4]
        and packet[first + 8 : first + 10] == packet[second + 8 : second + 10]
    )


class Inbound:
    """The receiving half of an association.

    What it holds is bounded by twice the window, however small the chunks and whatever the remote end makes of the
    window that it is told; what does not fit is not acknowledged.
    """

    def __init__(self, initial_tsn: int, config: SctpConfig, *, interleaved: bool) -> None:
        self.receipts = Receipts(initial_tsn - 1)
        self.reassembly = Reassembly(config.max_message_bytes)
        self.messages: list[Message] = []
        """Whole messages in the order of delivery, until they are taken."""
        self.dropped = 0
        """Chunks that the window had no room for."""
        self._interleaved = interleaved
        self._kind = int(ChunkType.I_DATA if interleaved else ChunkType.DATA)
        self._header = data_header_bytes(interleaved=interleaved)
        self._mask = MASK_32 if interleaved else MASK_16
        self._window = config.receive_window_bytes
        self._advertised = self._window
        self._unread_bytes = 0

    # Chunks

    def receive_data(self, packet: bytes, offset: int, end: int) -> int:  # noqa: C901, PLR0912, PLR0915  (the hot loop)
        """Take the DATA or I-DATA chunks that begin at `offset`. Returns where the first other chunk begins.

        Raises `ProtocolError`; the association is then over.
        """
        receipts, reassembly, messages = self.receipts, self.reassembly, self.messages
        streams = reassembly.streams
        expected_kind, interleaved, header, mask = self._kind, self._interleaved, self._header, self._mask
        room = self._room
        while offset < end:
            if packet[offset] != expected_kind:
                break
            if offset + header >= end:
                raise ProtocolError(Cause.NO_USER_DATA, "a chunk without user data")
            if interleaved:
                _, flags, length, wire_tsn, stream_id, _, number, ppid = _unpack_i(packet, offset)
            else:
                _, flags, length, wire_tsn, stream_id, number, ppid = _unpack(packet, offset)
            if length <= header or offset + length > end:
                raise ProtocolError(Cause.NO_USER_DATA, f"a data chunk of {length} bytes")
            cumulative = receipts.cumulative
            is_next = wire_tsn == (cumulative + 1) & MASK_32 and not receipts.ranges
            following = (offset + length + 3) & ~3
            if (
                is_next
                and flags == WHOLE
                and following + length <= end
                and packet[following + 3] == packet[offset + 3]  # size and stream: the first that differ ...
                and packet[following + 9] == packet[offset + 9]  # ... if they are not alike
                and _are_alike(packet, offset, following)
                and (count := self._take_alike(packet, offset, end, room))
            ):
                offset += count * (following - offset)
                room -= count * (length + CHUNK_OVERHEAD_BYTES)
                continue
            data = packet[offset + header : offset + length]
            offset = following
            room -= length + CHUNK_OVERHEAD_BYTES
            if room < 0:
                self.dropped += 1
                continue
            if is_next:
                receipts.cumulative = tsn = cumulative + 1
            else:
                tsn = unwrap(wire_tsn, cumulative)
                if not receipts.add(tsn):
                    continue
            if flags & IMMEDIATE:
                receipts.due = True
            if flags & WHOLE != WHOLE:
                if interleaved:
                    messages += reassembly.add_i_fragment(flags, stream_id, number, ppid, data)
                else:
                    messages += reassembly.add_fragment(tsn, flags, stream_id, number, ppid, data)
            elif flags & U:
                messages.append((stream_id, ppid, data))
            else:
                stream = streams.get(stream_id) or reassembly.stream(stream_id)
                if number == stream.expected & mask and not stream.waiting:
                    stream.expected += 1
                    messages.append((stream_id, ppid, data))
                else:
                    messages += reassembly.put_in_order(stream_id, number, mask, ppid, data)
        return offset

    def receive_run(self, packets: Sequence[bytes], index: int, prefix: bytes) -> int:
        """Take packets of one I-DATA fragment each, from the middle of a message, as far as they are foreseen.

        Returns how many. Most packets of bulk data are such: after the first one the headers of the others are known
        and need not be read (header prediction: Jacobson 1990). `receive_data` is for everything else.
        """
        receipts, reassembly, length = self.receipts, self.reassembly, len(packets[index])
        room = self._room
        if receipts.ranges or length <= _RUN_HEADER.size or room < 0 or not self._interleaved:
            return 0
        _, head, order, fsn = _unpack_run(packets[index])
        flags = head >> 48 & U
        partial = reassembly.awaiting(order >> 48, flags, order & MASK_32, fsn)
        chunk = (self._kind << 8 | flags) << 16 | length - HEADER_BYTES
        if partial is None or head != chunk << 32 | (receipts.cumulative + 1) & MASK_32:
            return 0
        size = length - _RUN_HEADER.size
        most = min(
            room // (size + I_DATA_HEADER.size + CHUNK_OVERHEAD_BYTES),
            reassembly.room(partial) // size,
            MASK_32 + 1 - (head & MASK_32),
        )
        parts: list[bytes] = []
        for packet in islice(packets, index, index + most):
            if len(packet) != length or _unpack_run(packet) != (prefix, head, order, fsn):
                break
            parts.append(packet[_RUN_HEADER.size :])
            head += 1
            fsn += 1
        reassembly.append(partial, parts, len(parts) * size)
        receipts.cumulative += len(parts)
        return len(parts)

    def _take_alike(self, packet: bytes, offset: int, end: int, room: int) -> int:
        """Take whole messages of one size, of which the first is next in order, as far as those that follow are too.

        Returns how many: none if the first one is not next in its stream. Small messages come like this, and one by one
        they would cost several times as much.
        """
        interleaved = self._interleaved
        layout = _layout(int.from_bytes(packet[offset + 2 : offset + 4], "big"), interleaved=interleaved)
        (head, order) = (_first_of_i_data if interleaved else _first_of_data)(packet, offset)
        stream_id = order >> 48 if interleaved else order >> 16
        stream, mask = self.reassembly.stream(stream_id), self._mask
        if room < 0 or stream.waiting or order & mask != stream.expected & mask:
            return 0
        # Where one of the numbers begins anew, what stands before it must not change.
        most = min(
            (end - offset) // layout.size,
            room // (layout.size + CHUNK_OVERHEAD_BYTES),
            MASK_32 + 1 - (head & MASK_32),
            mask + 1 - (order & mask),
        )
        following, messages = head, self.messages
        for its_head, its_order, ppid, data in layout.iter_unpack(
            packet[offset : offset + most * layout.size]
        ):
            if its_head != following or its_order != order:
                break
            following += 1
            order += 1
            messages.append((stream_id, ppid, data))
        count: int = following - head
        stream.expected += count
        self.receipts.cumulative += count
        return count

    def receive_forward_tsn(self, forward: ForwardTsn) -> None:
        """Take a FORWARD TSN or I-FORWARD-TSN (RFC 3758 section 3.6). Raises `ProtocolError`."""
        receipts = self.receipts
        cumulative = unwrap(forward.cumulative_tsn, receipts.cumulative)
        if cumulative - receipts.cumulative > MAX_AHEAD:
            raise ProtocolError(Cause.PROTOCOL_VIOLATION, "a FORWARD TSN beyond what can have been sent")
        is_news = cumulative > receipts.cumulative
        receipts.forward(cumulative)
        if is_news:
            self.messages += self.reassembly.forward(
                cumulative, receipts.cumulative, forward.skips, interleaved=self._interleaved
            )

    def reset(self, stream_id: int) -> None:
        """Begin a stream anew (RFC 6525 section 5.2.2)."""
        self.reassembly.reset(stream_id)

    # The window

    @property
    def _room(self) -> int:
        """How much more is taken, whatever the remote end was told."""
        return 2 * self._window - self._unread_bytes - self.reassembly.held_bytes

    @property
    def window(self) -> int:
        """How much more the remote end may send."""
        return max(0, self._window - self._unread_bytes - self.reassembly.held_bytes)

    def delivered(self, size: int, messages: int) -> None:
        """Note what was handed to the application."""
        self._unread_bytes += size + messages * CHUNK_OVERHEAD_BYTES

    def consumed(self, size: int, messages: int) -> None:
        """Open the window again, and say so when it was nearly shut (RFC 9260 section 6.2)."""
        self._unread_bytes = max(0, self._unread_bytes - size - messages * CHUNK_OVERHEAD_BYTES)
        step = self._window >> 2
        if self._advertised < step and self.window >= self._advertised + step:
            self.receipts.due = True

    def sack(self, room: int) -> bytes:
        """Return the SACK chunk that says what has arrived and how much more may come."""
        self._advertised = self.window
        return self.receipts.sack(self._advertised, room)
