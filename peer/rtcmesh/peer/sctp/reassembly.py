"""Fragments to messages, and messages into their order (RFC 9260 sections 6.5, 6.6, 6.9; RFC 8260 section 2.2)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from .chunks import Skip
from .data_chunks import B, E, U
from .errors import ProtocolError
from .parameters import Cause
from .serial import MASK_16, MASK_32, unwrap

Messages: TypeAlias = tuple[int, int, list[bytes]]
"""Stream id, payload protocol, and the data of messages that follow one another."""

CHUNK_OVERHEAD_BYTES = 64
"""What a chunk that waits costs beside its data: many small ones must not hold more than the window says."""


class InStream:
    """One incoming stream: the next message in order, and those that came before it."""

    __slots__ = ("expected", "waiting")

    def __init__(self) -> None:
        self.expected = 0
        """The number of the next ordered message, unbounded."""
        self.waiting: dict[int, tuple[int, bytes]] = {}


class _Run:
    """Adjacent fragments of one message in DATA chunks."""

    __slots__ = ("first", "flags", "following", "parts", "ppid", "size", "ssn", "stream_id")

    def __init__(self, tsn: int, flags: int, stream_id: int, ssn: int, ppid: int) -> None:
        self.first = tsn
        self.following = tsn + 1
        self.flags = flags
        """B and E, as far as they have come, and U."""
        self.stream_id = stream_id
        self.ssn = ssn
        self.ppid = ppid
        self.parts: list[bytes] = []
        self.size = 0


class Partial:
    """The fragments of one message in I-DATA chunks."""

    __slots__ = ("count", "later", "parts", "ppid", "size")

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        """Those from the first on, as far as none is missing."""
        self.later: dict[int, bytes] = {}
        """Those behind a gap, by number."""
        self.size = 0
        self.count: int | None = None
        """How many there are, once the last has come."""
        self.ppid = 0

    def add(self, fsn: int, data: bytes) -> None:
        """Take a fragment. Raises `ProtocolError` if it is none of this message."""
        parts, later = self.parts, self.later
        if fsn == len(parts):
            parts.append(data)
            while later and len(parts) in later:
                parts.append(later.pop(len(parts)))
        elif fsn < len(parts) or fsn in later:
            raise ProtocolError(Cause.PROTOCOL_VIOLATION, f"fragment {fsn} of a message came twice")
        else:
            later[fsn] = data
        self.size += len(data)

    @property
    def chunks(self) -> int:
        """How many fragments it holds."""
        return len(self.parts) + len(self.later)


class Reassembly:
    """What has arrived and is not a message yet, or not in order.

    Bounded by the window: `held_bytes` is what it holds, and the caller takes no more when that is too much.
    """

    def __init__(self, max_message_bytes: int) -> None:
        self.held_bytes = 0
        self.streams: dict[int, InStream] = {}
        self._max_message_bytes = max_message_bytes
        self._runs_by_first: dict[int, _Run] = {}
        self._runs_by_following: dict[int, _Run] = {}
        self._partials: dict[tuple[int, int, int], Partial] = {}

    def stream(self, stream_id: int) -> InStream:
        """Return a stream, which begins with the first message on it."""
        stream = self.streams.get(stream_id)
        if stream is None:
            stream = self.streams[stream_id] = InStream()
        return stream

    def add_fragment(  # noqa: PLR0917  (made for every chunk: keywords would cost)
        self, tsn: int, flags: int, stream_id: int, ssn: int, ppid: int, data: bytes
    ) -> Sequence[Messages]:
        """Take a fragment of a DATA message. Returns what can be delivered now."""
        run = None if flags & B else self._runs_by_following.pop(tsn, None)
        if run is None:
            run = self._runs_by_first[tsn] = _Run(tsn, flags & (B | U), stream_id, ssn, ppid)
        else:
            self._check_same(run, stream_id, ssn, flags)
            run.following = tsn + 1
        run.parts.append(data)
        run.size += len(data)
        self.held_bytes += len(data) + CHUNK_OVERHEAD_BYTES
        if flags & E:
            run.flags |= E
        elif (right := self._runs_by_first.get(tsn + 1)) is not None and not right.flags & B:
            self._check_same(run, right.stream_id, right.ssn, right.flags)
            self._join(run, right)
        if run.size > self._max_message_bytes:
            raise ProtocolError(Cause.OUT_OF_RESOURCE, f"a message above {self._max_message_bytes} bytes")
        if run.flags & B and run.flags & E:
            self._forget(run)
            if run.flags & U:
                return [(run.stream_id, run.ppid, [b"".join(run.parts)])]
            return self.put_in_order(run.stream_id, run.ssn, MASK_16, run.ppid, b"".join(run.parts))
        if not run.flags & E:
            self._runs_by_following[run.following] = run
        return ()

    def add_i_fragment(
        self, flags: int, stream_id: int, wire_mid: int, ppid_or_fsn: int, data: bytes
    ) -> Sequence[Messages]:
        """Take a fragment of an I-DATA message. Returns what can be delivered now."""
        key = stream_id, flags & U, wire_mid
        partial = self._partials.get(key)
        if partial is None:
            if self._is_over(stream_id, wire_mid, flags):
                return ()
            partial = self._partials[key] = Partial()
        if flags & B:
            partial.ppid = ppid_or_fsn
            partial.add(0, data)
        elif ppid_or_fsn:
            partial.add(ppid_or_fsn, data)
        else:
            raise ProtocolError(Cause.PROTOCOL_VIOLATION, f"two first fragments of message {wire_mid}")
        self.held_bytes += len(data) + CHUNK_OVERHEAD_BYTES
        if partial.size > self._max_message_bytes:
            raise ProtocolError(Cause.OUT_OF_RESOURCE, f"a message above {self._max_message_bytes} bytes")
        if flags & E:
            partial.count = 1 if flags & B else ppid_or_fsn + 1
        if partial.count is None or partial.chunks < partial.count:
            return ()
        if len(partial.parts) != partial.count or partial.later:
            raise ProtocolError(Cause.PROTOCOL_VIOLATION, f"message {wire_mid} has fragments beyond its last")
        self._forget_partial(key)
        whole = b"".join(partial.parts)
        if flags & U:
            return [(stream_id, partial.ppid, [whole])]
        return self.put_in_order(stream_id, wire_mid, MASK_32, partial.ppid, whole)

    def awaiting(self, stream_id: int, flags: int, wire_mid: int, fsn: int) -> Partial | None:
        """Return the I-DATA message whose next missing fragment has this number, if nothing behind it is here."""
        partial = self._partials.get((stream_id, flags & U, wire_mid))
        return partial if partial is not None and len(partial.parts) == fsn and not partial.later else None

    def room(self, partial: Partial) -> int:
        """Return how much larger a message may become."""
        return self._max_message_bytes - partial.size

    def append(self, partial: Partial, parts: list[bytes], size: int) -> None:
        """Append fragments, of so many bytes together, to a message that awaits them; none is the last."""
        partial.parts += parts
        partial.size += size
        self.held_bytes += size + len(parts) * CHUNK_OVERHEAD_BYTES

    def put_in_order(
        self, stream_id: int, wire_number: int, mask: int, ppid: int, data: bytes
    ) -> list[Messages]:
        """Take a whole ordered message with its SSN or MID. Returns those whose turn has come."""
        stream = self.stream(stream_id)
        expected = stream.expected
        number = expected + ((wire_number - expected) & mask)
        if number != expected:
            if number in stream.waiting:
                raise ProtocolError(
                    Cause.PROTOCOL_VIOLATION, f"two messages {wire_number} on stream {stream_id}"
                )
            stream.waiting[number] = ppid, data
            self.held_bytes += len(data) + CHUNK_OVERHEAD_BYTES
            return []
        stream.expected = number + 1
        messages: list[Messages] = [(stream_id, ppid, [data])]
        if stream.waiting:
            self._continue(stream_id, stream, messages)
        return messages

    def forward(
        self, forwarded: int, cumulative: int, skips: Iterable[Skip], *, interleaved: bool
    ) -> list[Messages]:
        """Give up on what is passed over (RFC 3758 section 3.6, RFC 8260 section 2.3.1). Returns what is next.

        `forwarded` is the TSN up to which the remote end gives up, `cumulative` the one up to which nothing is
        missing after that: a run up to there lacks a neighbour that will never come.
        """
        messages: list[Messages] = []
        if not interleaved:
            for run in list(self._runs_by_first.values()):
                whole_so_far = run.following > cumulative if run.flags & B else run.first > cumulative
                if run.first <= forwarded or not whole_so_far:
                    self._forget(run)
        for stream_id, number, unordered in skips:
            if interleaved:
                self._skip_partials(stream_id, number, unordered=unordered)
            if unordered:
                continue
            stream = self.stream(stream_id)
            mask = MASK_32 if interleaved else MASK_16
            distance = (number - stream.expected) & mask
            if distance > mask >> 1:
                continue
            last = stream.expected + distance
            passed = sorted(mid for mid in stream.waiting if mid <= last)
            messages += [self._take(stream_id, stream, mid) for mid in passed]
            stream.expected = last + 1
            self._continue(stream_id, stream, messages)
        return messages

    def reset(self, stream_id: int) -> None:
        """Begin a stream anew (RFC 6525 section 5.2.2); what is not whole of it is dropped."""
        stream = self.streams.pop(stream_id, None)
        if stream is not None:
            for number in list(stream.waiting):
                self._take(stream_id, stream, number)
        for run in [run for run in self._runs_by_first.values() if run.stream_id == stream_id]:
            self._forget(run)
        for key in [key for key in self._partials if key[0] == stream_id]:
            self._forget_partial(key)

    def _continue(self, stream_id: int, stream: InStream, messages: list[Messages]) -> None:
        while stream.expected in stream.waiting:
            messages.append(self._take(stream_id, stream, stream.expected))
            stream.expected += 1

    def _take(self, stream_id: int, stream: InStream, number: int) -> Messages:
        ppid, data = stream.waiting.pop(number)
        self.held_bytes -= len(data) + CHUNK_OVERHEAD_BYTES
        return stream_id, ppid, [data]

    def _join(self, run: _Run, right: _Run) -> None:
        """Append the run that follows."""
        del self._runs_by_first[right.first]
        self._runs_by_following.pop(right.following, None)
        run.parts += right.parts
        run.size += right.size
        run.following = right.following
        run.flags |= right.flags & E

    def _forget(self, run: _Run) -> None:
        del self._runs_by_first[run.first]
        if self._runs_by_following.get(run.following) is run:
            del self._runs_by_following[run.following]
        self.held_bytes -= run.size + CHUNK_OVERHEAD_BYTES * len(run.parts)

    def _is_over(self, stream_id: int, wire_mid: int, flags: int) -> bool:
        """Return whether an ordered message was passed over, while this fragment of it was on its way."""
        stream = self.streams.get(stream_id)
        return stream is not None and not flags & U and unwrap(wire_mid, stream.expected) < stream.expected

    def _skip_partials(self, stream_id: int, number: int, *, unordered: bool) -> None:
        for key in [key for key in self._partials if key[:2] == (stream_id, U if unordered else 0)]:
            if (number - key[2]) & MASK_32 <= MASK_32 >> 1:
                self._forget_partial(key)

    def _forget_partial(self, key: tuple[int, int, int]) -> None:
        partial = self._partials.pop(key)
        self.held_bytes -= partial.size + CHUNK_OVERHEAD_BYTES * partial.chunks

    @staticmethod
    def _check_same(run: _Run, stream_id: int, ssn: int, flags: int) -> None:
        if run.stream_id != stream_id or run.ssn != ssn or (run.flags ^ flags) & U:
            raise ProtocolError(
                Cause.PROTOCOL_VIOLATION, "a message that changes its stream or number half way"
            )
