"""Whether real links were punctual enough for a run to tell anything."""

from __future__ import annotations

from rtcmesh.netem.real import Audit

MAX_LATE_SHARE = 0.1
"""Of all packets, how many may have crossed while the links were late."""


class Punctuality:
    """Collects what the links saw of themselves: a machine."""

    def __init__(self, delay: float) -> None:
        """`delay` is the shortest one of the links, which is held to most exactly."""
        self._delay = delay
        self._packets = 0
        self._late_packets = 0
        self._worst = 0.0

    def note(self, audit: Audit) -> None:
        """Take in one stretch of time."""
        self._packets += audit.packets
        if not audit.is_valid(self._delay):
            self._late_packets += audit.packets
            self._worst = max(self._worst, audit.late_p99)

    def complaint(self) -> str:
        """Return why the run tells nothing, or nothing when it does."""
        if self._late_packets <= MAX_LATE_SHARE * self._packets:
            return ""
        share = 100 * self._late_packets / self._packets
        return (
            f"invalid environment: this machine was too busy, {share:.0f} % of the packets crossed while links were "
            f"late, by up to {1000 * self._worst:.1f} ms for one in a hundred"
        )
