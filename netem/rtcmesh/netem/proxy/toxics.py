"""What a TCP proxy does to one direction of a connection: a machine over a byte stream."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, fields

SEGMENT_BYTES = 1460
"""The pieces in which a stream with a rate comes out, as on an Ethernet."""

MAX_BUFFERED_BYTES = 256 * 1024
"""What a direction holds at most before no more is read: the pressure goes back to the sender."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Toxics:
    """How one direction of a stream is treated. The default lets it pass. Raises ValueError for what cannot be."""

    latency: float = 0.0
    """Seconds that every byte takes longer."""
    rate_bytes_per_second: float | None = None
    """How fast bytes pass; None: as they come."""
    slice_bytes: int | None = None
    """The stream comes out in pieces of at most this size."""
    slice_delay: float = 0.0
    """Seconds from one piece to the next."""
    limit_bytes: int | None = None
    """After so many bytes the connection is closed."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value: float | None = getattr(self, field.name)
            if value is not None and (not math.isfinite(value) or value < 0):
                raise ValueError(f"{field.name} must be finite and not negative, not {value}")
        if self.rate_bytes_per_second == 0 or self.slice_bytes == 0:
            raise ValueError("rate_bytes_per_second and slice_bytes must be positive")


class Shaper:
    """Holds the bytes of one direction until they are due, in their order, and none twice.

    `toxics` may be changed at any time; what is held already keeps the time that it was given.
    """

    def __init__(self, toxics: Toxics) -> None:
        self.toxics = toxics
        self.buffered_bytes = 0
        self.passed_bytes = 0
        """What came out."""
        self.is_exhausted = False
        """Whether the limit is reached: the connection is to be closed when all is out."""
        self._pieces: deque[tuple[float, bytes]] = deque()
        self._last_due = -math.inf
        self._busy_until = -math.inf
        self._taken_in = 0
        self._ends_at: float | None = None

    @property
    def has_room(self) -> bool:
        """Whether more may be put in."""
        return self.buffered_bytes < MAX_BUFFERED_BYTES and self._ends_at is None

    @property
    def is_at_end(self) -> bool:
        """Whether nothing will come out any more."""
        return self._ends_at == -math.inf

    def put(self, data: bytes, now: float) -> None:
        """Take in bytes; what is beyond the limit is dropped, and the stream ends there."""
        limit = self.toxics.limit_bytes
        if limit is not None:
            data = data[: max(0, limit - self._taken_in)]
        whole = SEGMENT_BYTES if self.toxics.rate_bytes_per_second is not None else max(1, len(data))
        size = self.toxics.slice_bytes or whole
        for begin in range(0, len(data), size):
            self._append(data[begin : begin + size], now)
        self._taken_in += len(data)
        if limit is not None and self._taken_in >= limit:
            self.is_exhausted = True
            self.end(now)

    def end(self, now: float) -> None:
        """The stream ends here."""
        if self._ends_at is None:
            self._ends_at = max(now + self.toxics.latency, self._last_due)

    def deadline(self) -> float | None:
        """When `take` has something to say."""
        if self._pieces:
            return self._pieces[0][0]
        return None if self.is_at_end else self._ends_at

    def take(self, now: float) -> bytes:
        """Hand over what is due, one piece at a time where the stream is sliced; then `is_at_end` may be true."""
        due: list[bytes] = []
        while self._pieces and self._pieces[0][0] <= now:
            due.append(self._pieces.popleft()[1])
            if self.toxics.slice_bytes is not None:
                break
        data = b"".join(due)
        self.buffered_bytes -= len(data)
        self.passed_bytes += len(data)
        if not self._pieces and self._ends_at is not None and self._ends_at <= now:
            self._ends_at = -math.inf
        return data

    def _append(self, piece: bytes, now: float) -> None:
        rate = self.toxics.rate_bytes_per_second
        if rate is not None:
            self._busy_until = max(now, self._busy_until) + len(piece) / rate
        delayed = max(now, self._busy_until) + self.toxics.latency
        due = max(delayed, self._last_due + (self.toxics.slice_delay if self._pieces else 0.0))
        self._pieces.append((due, piece))
        self._last_due = due
        self.buffered_bytes += len(piece)
