"""Which messages are next in the packets that are made of them (RFC 9260 section 6.1; RFC 8260 section 3).

Streams with something to send take turns, by deficit round robin with the priority of RFC 8831 section 6.4 for weight.
DATA does not allow another message between the fragments of one, I-DATA does: there a large message delays no other.
"""

from __future__ import annotations

from collections import deque

from .beginnings import Beginnings
from .bundle import LEAST_FRAGMENT, LEAST_FRAGMENT_AMONG_MANY, Bundle, alike_messages, full_fragments
from .chunks import Skip
from .config import SctpConfig
from .data_chunks import U
from .extensions import Extensions
from .out_stream import Delivery, OutStream
from .sent import Sent

MESSAGE_OVERHEAD_BYTES = 128
"""What a message that waits costs beside its data."""


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
        self._beginnings = Beginnings()
        self.expired = 0
        """Messages that were abandoned before any of them was sent."""
        self.active: deque[OutStream] = deque()
        """Streams with something to send, in the order of their turns."""

    def agreed(self, config: SctpConfig, extensions: Extensions, remote_window: int) -> None:
        """Note what the remote end can do. Call it before anything is sent."""
        self._beginnings.agreed(remote_window)
        self.interleaved = config.interleaving and Extensions.INTERLEAVING in extensions
        self.may_abandon = Extensions.PARTIAL_RELIABILITY in extensions

    def add(self, stream: OutStream, delivery: Delivery, data: bytes) -> None:
        """Let a message wait."""
        queue, size = stream.queue, len(data)
        if queue:
            before, last = queue[-1]
            if len(last) != size or before is not delivery:
                stream.borders.append(stream.added)
        queue.append((delivery, data))
        stream.buffered += size
        self.buffered += size
        if not stream.active:
            stream.active = True
            stream.credit = stream.quantum
            self.active.append(stream)

    def drop(self, stream: OutStream) -> None:
        """Forget what waits on a stream."""
        self.buffered -= stream.buffered
        if stream.active:
            stream.active = False
            try:
                self.active.remove(stream)
            except ValueError:
                self._beginnings.forget(stream)
        stream.clear()
        self.active += self._beginnings.settle(stream)

    def next_packets(self, tsn: int, room: int, most: int, now: float) -> list[Sent]:
        """Return chunks that are numbered from `tsn`: one packet of at most `room` bytes, or full ones, `most` at most.

        Each packet is of one or more streams and reliable, or of one stream and of the same limit. There are none when
        nothing waits.
        """
        room &= ~3
        stream, interleaved = self.active[0], self.interleaved
        if len(self.active) > 1 and (interleaved or not stream.offset):
            # A fragment may use up more than the turn; messages share what is left of a packet with other streams.
            most = max(0, min(most, -(-stream.credit // room) if stream.offset else stream.credit // room))
        many = full_fragments if stream.offset else alike_messages
        packets, taken = many(stream, tsn, room, most, interleaved=interleaved)
        if packets:
            self._end_turn(stream, taken)
            return packets
        packet = self._next_packet(tsn, room, now)
        return [] if packet is None else [packet]

    def _next_packet(self, tsn: int, room: int, now: float) -> Sent | None:
        active, interleaved = self.active, self.interleaved
        least = LEAST_FRAGMENT if len(active) == 1 else LEAST_FRAGMENT_AMONG_MANY
        bundle = Bundle(tsn, room, interleaved=interleaved, least=least)
        while active and not bundle.full:
            stream = active[0]
            alone = len(active) == 1
            if stream.credit <= 0 and not alone and (interleaved or not stream.offset):
                stream.credit += stream.quantum
                active.rotate(-1)
                continue
            limit = stream.queue[0][0].limit
            if limit is not None:
                if bundle.parts:
                    break
                if limit.abandoned or (limit.expires_at <= now and self.may_abandon):
                    gap, dropped = self._expire(stream, tsn, now)
                    self._end_turn(stream, dropped)
                    if gap is not None:
                        return gap
                    continue
                bundle.restrict(limit)
            taken = bundle.take(stream, room if alone else stream.credit, self._may_begin)
            self._end_turn(stream, taken)
            if taken and limit is not None:
                break  # nothing else may share the packet
            if not taken and not bundle.full:
                bundle.restrict(None)
                active.popleft()
                self._beginnings.hold(stream)
        return bundle.packet()

    def _may_begin(self, size: int) -> bool:
        """Return whether a message may begin of which a packet holds a part only. With DATA one is under way anyway."""
        return not self.interleaved or self._beginnings.may_begin(size)

    def _expire(self, stream: OutStream, tsn: int, now: float) -> tuple[Sent | None, int]:
        """Drop what is too late (RFC 3758 section 3.5). Returns how many bytes that were as well.

        When a part of it is sent already, and perhaps acknowledged, one more TSN stands for the rest. It is returned,
        to be passed over with FORWARD TSN: otherwise the remote end would wait for the rest for ever.
        """
        queue, dropped = stream.queue, 0
        while queue:
            (flags, _, limit), data = queue[0]
            if limit is None or not (limit.abandoned or (limit.expires_at <= now and self.may_abandon)):
                break
            queue.popleft()
            stream.took(1)
            dropped += len(data) - stream.offset
            if not limit.abandoned:
                limit.abandoned = True
                self.expired += 1
            if stream.offset:
                mid = stream.mids[flags >> 2]
                stream.mids[flags >> 2] = mid + 1
                stream.offset, stream.last_tsn = 0, tsn
                return Sent(tsn, tsn + 1, b"", 0, limit, [Skip(stream.id, mid, bool(flags & U))]), dropped
        return None, dropped

    def _end_turn(self, stream: OutStream, taken: int) -> None:
        """Note how many bytes a stream has had of a packet. While it is alone, turns do not matter."""
        stream.credit = stream.quantum if len(self.active) == 1 else stream.credit - taken
        stream.buffered -= taken
        stream.taken_bytes += taken
        self.buffered -= taken
        if stream.blocked and stream.buffered <= stream.low_water:
            stream.blocked = False
            self.writable.append(stream.id)
        if not stream.queue:
            stream.active = False
            self.active.popleft()
        if self.interleaved:
            self.active += self._beginnings.settle(stream)
