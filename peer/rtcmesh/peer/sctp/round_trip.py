"""How long a round trip takes (RFC 9260 section 6.3.1; RFC 9002 section 5), and its minimum of late."""

from __future__ import annotations

from math import inf

MIN_RTO = 0.2
MAX_RTO = 10.0
INITIAL_RTO = 1.0

ACK_DELAY = 0.02
"""How long the remote end may wait with an acknowledgement: RFC 9260 allows 0.2 s, all stacks of today take less."""

MIN_PROBE_TIMEOUT = 0.03

MINIMUM_LIFETIME = 10.0
"""The minimum is taken over one to two such spans, in seconds: routes change."""

LOCAL = 0.002
"""A path of a shorter round trip does not leave the machine, or the switch it is plugged into."""


class RoundTrip:
    """The measured round trip of one path."""

    __slots__ = ("_minima", "_minimum_since", "latest", "minimum", "smoothed", "variation")

    def __init__(self) -> None:
        self.smoothed: float | None = None
        self.variation = 0.0
        self.latest = 0.0
        self.minimum = inf
        """The least of the last 10 to 20 s."""
        self._minima = (inf, inf)
        self._minimum_since = 0.0

    def measured(self, sample: float, now: float) -> None:
        """Take a sample: from the sending of a packet that was sent once to its acknowledgement."""
        self.latest = sample
        if self.smoothed is None:
            self.smoothed, self.variation = sample, sample / 2
        else:
            self.variation += (abs(sample - self.smoothed) - self.variation) / 4
            self.smoothed += (sample - self.smoothed) / 8
        current, previous = self._minima
        if now - self._minimum_since > MINIMUM_LIFETIME:
            current, previous, self._minimum_since = inf, current, now
        current = min(current, sample)
        self._minima = current, previous
        self.minimum = min(current, previous)

    @property
    def is_local(self) -> bool:
        """Whether the path is so short that there is nothing to spread packets over."""
        return self.minimum < LOCAL

    @property
    def retransmission_timeout(self) -> float:
        """RTO: how long to wait for an answer to a control chunk."""
        if self.smoothed is None:
            return INITIAL_RTO
        return min(MAX_RTO, max(MIN_RTO, self.smoothed + 4 * self.variation))

    @property
    def probe_timeout(self) -> float:
        """PTO: how long nothing may be acknowledged before something is sent again (RFC 9002 section 6.2)."""
        if self.smoothed is None:
            return INITIAL_RTO
        return max(MIN_PROBE_TIMEOUT, self.smoothed + max(4 * self.variation, 0.001) + ACK_DELAY)
