"""User data that arrives: from chunks to messages, within the window (RFC 9260 section 6.2)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from struct import Struct

from .acknowledgement import MAX_AHEAD, Receipts
from .alike_chunks import decode_alike
from .chunks import ChunkType, ForwardTsn
from .config import SctpConfig
from .data_chunks import DATA_HEADER, I_DATA_HEADER, IMMEDIATE, WHOLE, U, data_header_bytes
from .errors import ProtocolError
from .packet import HEADER_BYTES
from .parameters import Cause
from .reassembly import CHUNK_OVERHEAD_BYTES, InStream, Messages, Reassembly
from .serial import MASK_16, MASK_32, unwrap

_unpack = DATA_HEADER.unpack_from
_unpack_i = I_DATA_HEADER.unpack_from


_RUN_HEADER = Struct("!12sQQL")
"""The header of a packet; kind, flags, length and TSN; stream and MID; payload protocol or FSN."""
_unpack_run = _RUN_HEADER.unpack_from

_FIRST_LOOK = 16
"""How many chunks at the beginning of a packet are looked at together, if the first two are alike."""


def _are_alike(packet: bytes, first: int, second: int, header: int) -> bool:
    """Return whether two chunks are of the same kind, flags, length, stream and payload protocol."""
    return (
        packet[first : first + 4] == packet[second : second + 4]
        and packet[first + 8 : first + 10] == packet[second + 8 : second + 10]
        and packet[first + header - 4 : first + header] == packet[second + header - 4 : second + header]
    )


class Inbound:
    """The receiving half of an association.

    What it holds is bounded by twice the window, however small the chunks and whatever the remote end makes of the
    window that it is told; what does not fit is not acknowledged.
    """

    def __init__(self, initial_tsn: int, config: SctpConfig, *, interleaved: bool) -> None:
        self.receipts = Receipts(initial_tsn - 1)
        self.reassembly = Reassembly(config.max_message_bytes)
        self.arrived: list[Messages] = []
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
        receipts, reassembly, arrived = self.receipts, self.reassembly, self.arrived
        streams = reassembly.streams
        expected_kind, interleaved, header, mask = self._kind, self._interleaved, self._header, self._mask
        room = self._room
        look = _FIRST_LOOK
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
                look
                and is_next
                and flags == WHOLE
                and following + length <= end
                # If they are not alike, it shows mostly in size, stream or payload protocol.
                and packet[following + 3] == packet[offset + 3]
                and packet[following + 9] == packet[offset + 9]
                and packet[following + header - 1] == packet[offset + header - 1]
                and _are_alike(packet, offset, following, header)
            ):
                count = self._take_alike(packet, offset, end, room, look)
                look = 2 * count if count > 1 else 0  # so little is looked at in vain, whatever the packet
                if count:
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
                    arrived += reassembly.add_i_fragment(flags, stream_id, number, ppid, data)
                else:
                    arrived += reassembly.add_fragment(tsn, flags, stream_id, number, ppid, data)
                continue
            if not flags & U:
                stream = streams.get(stream_id) or reassembly.stream(stream_id)
                if number != stream.expected & mask or stream.waiting:
                    arrived += reassembly.put_in_order(stream_id, number, mask, ppid, data)
                    continue
                stream.expected += 1
            if arrived and arrived[-1][0] == stream_id and arrived[-1][1] == ppid:
                arrived[-1][2].append(data)
            else:
                arrived.append((stream_id, ppid, [data]))
        return offset

    def receive_run(self, packets: Sequence[bytes], index: int, prefix: bytes) -> int:
        """Take the packets of I-DATA that follow the first one as is foreseen, that one included, and return how many.

        Most packets are such, of bulk data as well as of small messages: of the first one's headers those of the others
        follow, and need not be read one by one (header prediction: Jacobson 1990). `receive_data` is for everything
        else. Packets must be alike in length; each has one fragment from the middle of a message, or whole messages of
        one size.
        """
        receipts, length = self.receipts, len(packets[index])
        if receipts.ranges or length <= _RUN_HEADER.size or not self._interleaved:
            return 0
        head: int = _unpack_run(packets[index])[1]
        if head & MASK_32 != (receipts.cumulative + 1) & MASK_32 or head >> 56 != self._kind:
            return 0
        flags = head >> 48 & 0xFF
        if flags == WHOLE:
            return self._receive_alike(packets, index, prefix)
        return 0 if flags & WHOLE else self._receive_fragments(packets, index, prefix)

    def _receive_fragments(self, packets: Sequence[bytes], index: int, prefix: bytes) -> int:
        receipts, reassembly, length = self.receipts, self.reassembly, len(packets[index])
        _, head, order, fsn = _unpack_run(packets[index])
        flags = head >> 48 & U
        partial = reassembly.awaiting(order >> 48, flags, order & MASK_32, fsn)
        if partial is None or head >> 32 & 0xFFFFFF != flags << 16 | length - HEADER_BYTES:
            return 0
        size = length - _RUN_HEADER.size
        most = min(
            self._room // (size + I_DATA_HEADER.size + CHUNK_OVERHEAD_BYTES),
            reassembly.room(partial) // size,
            MASK_32 + 1 - (head & MASK_32),
        )
        parts: list[bytes] = []
        for packet in islice(packets, index, index + max(0, most)):
            if len(packet) != length or _unpack_run(packet) != (prefix, head, order, fsn):
                break
            parts.append(packet[_RUN_HEADER.size :])
            head += 1
            fsn += 1
        reassembly.append(partial, parts, len(parts) * size)
        receipts.cumulative += len(parts)
        return len(parts)

    def _receive_alike(self, packets: Sequence[bytes], index: int, prefix: bytes) -> int:
        size = len(packets[index])
        _, head, order, ppid = _unpack_run(packets[index])
        length, tsn, stream_id, number = head >> 32 & 0xFFFF, head & MASK_32, order >> 48, order & MASK_32
        if length <= self._header:
            return 0
        each, rest = divmod(size - HEADER_BYTES, (length + 3) & ~3)
        stream = self.reassembly.stream(stream_id)
        if not each or rest or stream.waiting or number != stream.expected & MASK_32:
            return 0
        # Where a number begins anew, what stands before it would change.
        most = min(
            self._room // (each * (length + CHUNK_OVERHEAD_BYTES)),
            (MASK_32 + 1 - tsn) // each,
            (MASK_32 + 1 - number) // each,
        )
        messages: list[bytes] = []
        count = 0
        for packet in islice(packets, index, index + max(0, most)):
            if len(packet) != size or _unpack_run(packet) != (prefix, head, order, ppid):
                break
            found = decode_alike(
                packet[HEADER_BYTES:], length, head & MASK_32, order & MASK_32, interleaved=True
            )
            if len(found) < each:
                break
            messages += found
            count += 1
            head += each
            order += each
        self._take_in_order(stream, stream_id, ppid, messages)
        return count

    def _take_alike(self, packet: bytes, offset: int, end: int, room: int, look: int) -> int:
        """Take whole messages of one size, of which the first has the next TSN, as far as those that follow are alike.

        At most `look` are taken. Returns how many: none if the first one is not next in its stream, or there is no room
        for two.
        """
        if self._interleaved:
            _, _, length, tsn, stream_id, _, number, ppid = _unpack_i(packet, offset)
        else:
            _, _, length, tsn, stream_id, number, ppid = _unpack(packet, offset)
        stride = (length + 3) & ~3
        stream = self.reassembly.stream(stream_id)
        most = min((end - offset) // stride, room // (length + CHUNK_OVERHEAD_BYTES), look)
        if most < 2 or stream.waiting or number != stream.expected & self._mask:
            return 0
        chunks = packet[offset : offset + most * stride]
        messages = decode_alike(chunks, length, tsn, number, interleaved=self._interleaved)
        self._take_in_order(stream, stream_id, ppid, messages)
        return len(messages)

    def _take_in_order(self, stream: InStream, stream_id: int, ppid: int, messages: Sequence[bytes]) -> None:
        """Take messages that have the next TSNs and are next in their stream."""
        if messages:
            self.arrived.append((stream_id, ppid, list(messages)))
            stream.expected += len(messages)
            self.receipts.cumulative += len(messages)

    def receive_forward_tsn(self, forward: ForwardTsn) -> None:
        """Take a FORWARD TSN or I-FORWARD-TSN (RFC 3758 section 3.6). Raises `ProtocolError`."""
        receipts = self.receipts
        cumulative = unwrap(forward.cumulative_tsn, receipts.cumulative)
        if cumulative - receipts.cumulative > MAX_AHEAD:
            raise ProtocolError(Cause.PROTOCOL_VIOLATION, "a FORWARD TSN beyond what can have been sent")
        is_news = cumulative > receipts.cumulative
        receipts.forward(cumulative)
        if is_news:
            self.arrived += self.reassembly.forward(
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
