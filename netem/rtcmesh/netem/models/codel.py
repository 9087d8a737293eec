"""Controlled delay (RFC 8289): a queue that stands for longer than it takes to absorb a burst loses packets."""

import math

TARGET = 0.005
"""A delay in seconds that a standing queue may have (section 4.3)."""

INTERVAL = 0.1
"""For how long it may be more; a round trip of most connections (section 4.2)."""

MAX_PACKET_BYTES = 1500
"""A queue of no more than one packet is not to blame for its delay."""

_RECENT_INTERVALS = 16


class CoDel:
    """Looks at each packet as it leaves a queue, and says whether to drop it instead."""

    def __init__(self) -> None:
        self._dropping = False
        self._count = 0
        self._last_count = 0
        self._drop_next = 0.0
        self._is_next_due = False
        self._above_since: float | None = None

    def drops(self, waited: float, left_bytes: int, now: float) -> bool:
        """Judge a packet that waited so long and leaves so much behind it in the queue."""
        stands = self._stands(waited, left_bytes, now)
        if not self._dropping:
            if stands:
                self._begin(now)
            return stands
        if not stands:
            self._dropping = self._is_next_due = False
            return False
        if self._is_next_due:
            self._drop_next = self._after(self._drop_next)
            self._is_next_due = False
        if now < self._drop_next:
            return False
        self._count += 1
        self._is_next_due = True
        return True

    def _stands(self, waited: float, left_bytes: int, now: float) -> bool:
        """Tell whether the delay was above the target for a whole interval (section 5.6, `dodequeue`)."""
        if waited < TARGET or left_bytes <= MAX_PACKET_BYTES:
            self._above_since = None
            return False
        if self._above_since is None:
            self._above_since = now
        return now >= self._above_since + INTERVAL

    def _begin(self, now: float) -> None:
        """Enter the dropping state, nearly where it was left if that is not long ago (section 5.5)."""
        self._dropping = True
        drops_last_time = self._count - self._last_count
        is_recent = now - self._drop_next < _RECENT_INTERVALS * INTERVAL
        self._count = drops_last_time if drops_last_time > 1 and is_recent else 1
        self._last_count = self._count
        self._drop_next = self._after(now)

    def _after(self, at: float) -> float:
        """Drops come the closer the more there were: the control law (section 4.2)."""
        return at + INTERVAL / math.sqrt(self._count)
