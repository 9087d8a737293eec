"""The receiving half of a virtual stream."""

import heapq

RECEIVE_WINDOW_BYTES = 256 * 1024
"""How much an end takes in that its program has not read."""


class Inflow:
    """Puts received bytes in order, and bounds what waits for the program."""

    def __init__(self) -> None:
        self.expected = 0
        """The first stream position that has not arrived; the end of the stream takes one position."""
        self.ended = False
        """The end of the stream arrived, and all before it."""
        self._readable = bytearray()
        self._ahead: dict[int, bytes] = {}
        self._ahead_order: list[int] = []
        self._end: int | None = None

    @property
    def window(self) -> int:
        """How many more bytes there is room for."""
        return RECEIVE_WINDOW_BYTES - len(self._readable)

    @property
    def has_gap(self) -> bool:
        """Whether something arrived of which something before is missing."""
        return bool(self._ahead)

    @property
    def readable_bytes(self) -> int:
        """How many bytes `read` would return."""
        return len(self._readable)

    def read(self) -> bytes:
        """Hand over the bytes that are in order."""
        data = bytes(self._readable)
        self._readable.clear()
        return data

    def receive(self, sequence: int, data: bytes, *, fin: bool) -> None:
        """Take in a piece in any order, any number of times; one there is no room for is dropped."""
        end = sequence + len(data)
        if end > self.expected + self.window:
            return
        if fin:
            self._end = end
        if end > self.expected:
            self._keep(sequence, data)
            self._advance()
        if self.expected == self._end and not self.ended:
            self.expected += 1
            self.ended = True

    def _keep(self, sequence: int, data: bytes) -> None:
        known = self._ahead.get(sequence)
        if known is None:
            heapq.heappush(self._ahead_order, sequence)
        if known is None or len(known) < len(data):
            self._ahead[sequence] = data

    def _advance(self) -> None:
        while self._ahead_order and self._ahead_order[0] <= self.expected:
            sequence = heapq.heappop(self._ahead_order)
            fresh = self._ahead.pop(sequence)[self.expected - sequence :]
            self._readable += fresh
            self.expected += len(fresh)
