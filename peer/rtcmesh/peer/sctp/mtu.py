"""How large a packet may be: path MTU discovery for datagrams (RFC 8899), by HEARTBEAT and PAD (section 6.2.2).

BASE ── probe ──▶ SEARCHING ── a size is lost three times, or all are tried ──▶ COMPLETE ── 10 min ──▶ SEARCHING
                      ▲                                                              │
packets that are too large vanish: back to the base, and search again later ◀────────┘
"""

from __future__ import annotations

from math import inf
from random import Random

from .heartbeat import Beat

MAX_PROBES = 3
"""How often a size is tried."""

RAISE_INTERVAL = 600.0
"""When to try again whether the path carries more (RFC 8899 section 5.1.1)."""

BLACK_HOLE_TIMEOUTS = 3
BLACK_HOLE_PACKETS = 6
"""So many timeouts in a row, or packets above the base that are lost in a row while smaller ones arrive, say that the
path no longer carries what it did."""

ETHERNET_SIZE = 1440
"""What most paths carry, without what is around SCTP: it is tried first, and after it all that may be sent at most."""

USUAL_SIZES = (1232, 1360, 1408, 4352, 8900)
"""Other sizes that are likely to be the limit: tunnels, PPPoE, jumbo frames."""

PRECISION = 32
"""A search that is this near is over."""


class MtuSearch:
    """Finds the largest packet that the path carries, from `size` up to a limit."""

    def __init__(self, base: int, limit: int, random: Random, now: float) -> None:
        self.size = base
        """What may be sent now."""
        self._base = base
        self._most = limit
        self._limit = limit
        self._random = random
        self._too_large = limit + 1
        """The least size that is known not to arrive."""
        self._probe: Beat | None = None
        self._probes = 0
        self._due_at = now if limit > base else inf

    def deadline(self) -> float:
        """When `handle_timeout` is due."""
        return self._due_at

    def handle_timeout(self, timeout: float, now: float) -> Beat | None:
        """Return the probe that is due, if there is one. `timeout` is how long to wait for its answer."""
        if now < self._due_at:
            return None
        if self._probe is not None and self._probes >= MAX_PROBES:
            self._too_large = self._probe.size
            self._probe = None
        if self._probe is None:
            size = self._next_size()
            if size is None:
                # Search complete. Whatever was too large may fit one day.
                self._due_at, self._too_large = now + RAISE_INTERVAL, self._limit + 1
                return None
            self._probe, self._probes = Beat(size, self._random.getrandbits(32)), 0
        self._probes += 1
        self._due_at = now + timeout
        return self._probe

    def answered(self, beat: Beat, now: float) -> bool:
        """Take a HEARTBEAT ACK. Returns whether it raised the size."""
        if beat != self._probe:
            return False
        self.size, self._probe = beat.size, None
        self._due_at = now
        return True

    def swallowed(self, timeouts: int, larger_lost: int, now: float) -> bool:
        """Take the number of timeouts in a row, and of packets above the base that were lost in a row.

        Returns whether they lowered the size (RFC 8899 section 4.3).
        """
        if self.size == self._base or (timeouts < BLACK_HOLE_TIMEOUTS and larger_lost < BLACK_HOLE_PACKETS):
            return False
        self.size, self._probe = self._base, None
        self._due_at, self._too_large = now + RAISE_INTERVAL, self._limit + 1
        return True

    def path_changed(self, now: float, *, may_grow: bool) -> bool:
        """Begin anew where another path is one on which packets may grow, or may not. Returns whether the size fell."""
        limit = self._most if may_grow else self._base
        if limit == self._limit:
            return False
        fell = self.size > self._base
        self.size, self._probe = self._base, None
        self._limit, self._too_large = limit, limit + 1
        self._due_at = now if limit > self._base else inf
        return fell

    def _next_size(self) -> int | None:
        if self._too_large <= self._limit and self._too_large - self.size <= PRECISION:
            return None
        if self.size >= self._limit:
            return None
        for size in (ETHERNET_SIZE, self._limit, *USUAL_SIZES):
            if self.size < size < self._too_large and size <= self._limit:
                return size
        return (self.size + self._too_large) // 2 & ~3
