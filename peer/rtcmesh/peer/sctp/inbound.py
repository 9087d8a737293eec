"""User data that arrives: from chunks to messages, within the window (RFC 9260 section 6.2)."""

from __future__ import annotations

from .acknowledgement import MAX_AHEAD, Receipts
from .chunks import ChunkType, ForwardTsn
from .config import SctpConfig
from .data_chunks import DATA_HEADER, I_DATA_HEADER, IMMEDIATE, WHOLE, U
from .errors import ProtocolError
from .parameters import Cause
from .reassembly import CHUNK_OVERHEAD_BYTES, InStream, Message, Reassembly
from .serial import MASK_16, MASK_32, unwrap

_unpack = DATA_HEADER.unpack_from
_unpack_i = I_DATA_HEADER.unpack_from


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
        self._kind = int(ChunkType.I_DATA if interleaved else ChunkType.DATA)
        self._window = config.receive_window_bytes
        self._advertised = self._window
        self._unread_bytes = 0

    # Chunks

    def receive_data(self, packet: bytes, offset: int, end: int) -> int:  # noqa: C901, PLR0912  (the hot loop)
        """Take the DATA or I-DATA chunks that begin at `offset`. Returns where the first other chunk begins.

        Raises `ProtocolError`; the association is then over.
        """
        receipts, reassembly, messages = self.receipts, self.reassembly, self.messages
        streams, expected_kind = reassembly.streams, self._kind
        interleaved = expected_kind != ChunkType.DATA
        header, mask = (20, MASK_32) if interleaved else (16, MASK_16)
        room = 2 * self._window - self._unread_bytes - reassembly.held_bytes
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
            data = packet[offset + header : offset + length]
            offset = (offset + length + 3) & ~3
            room -= length + CHUNK_OVERHEAD_BYTES
            cumulative = receipts.cumulative
            if room < 0:
                self.dropped += 1
                continue
            if wire_tsn == (cumulative + 1) & MASK_32 and not receipts.ranges:
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
                stream = streams.get(stream_id)
                if stream is None:
                    stream = streams[stream_id] = InStream()
                if number == stream.expected & mask and not stream.waiting:
                    stream.expected += 1
                    messages.append((stream_id, ppid, data))
                else:
                    messages += reassembly.put_in_order(stream_id, number, mask, ppid, data)
        return offset

    def receive_forward_tsn(self, forward: ForwardTsn) -> None:
        """Take a FORWARD TSN or I-FORWARD-TSN (RFC 3758 section 3.6). Raises `ProtocolError`."""
        receipts = self.receipts
        cumulative = unwrap(forward.cumulative_tsn, receipts.cumulative)
        if cumulative - receipts.cumulative > MAX_AHEAD:
            raise ProtocolError(Cause.PROTOCOL_VIOLATION, "a FORWARD TSN beyond what can have been sent")
        is_news = cumulative > receipts.cumulative
        receipts.forward(cumulative)
        if is_news:
            interleaved = self._kind != ChunkType.DATA
            self.messages += self.reassembly.forward(
                cumulative, receipts.cumulative, forward.skips, interleaved=interleaved
            )

    def reset(self, stream_id: int) -> None:
        """Begin a stream anew (RFC 6525 section 5.2.2)."""
        self.reassembly.reset(stream_id)

    # The window

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
