"""Whether an open path is alive, by probes of our own: a machine without I/O.

ICE's consent checks (RFC 7675) notice a dead path only after tens of seconds; this machine does within
`path_timeout`. Anything heard counts as a sign of life; a ping is sent every `interval` regardless, since it also
measures the round-trip time.
"""

from __future__ import annotations

from .frames import Probe, ProbeType

_REMEMBERED_PINGS = 64


class Liveness:
    """The pulse of one path.

    Guarantees: `silent` turns true only when nothing was heard for `timeout` seconds *during which this process ran*:
    time in which it slept, or its loop was blocked, is not held against the path.
    """

    def __init__(self, now: float, *, interval: float, timeout: float) -> None:
        self._interval = interval
        self._timeout = timeout
        self._heard_at = now
        self._ping_at = now
        self._number = 0
        self._sent_at: dict[int, float] = {}
        self._probes: list[Probe] = []
        self._smoothed: float | None = None
        self.silent = False
        """True once the path must be given up."""

    @property
    def rtt(self) -> float | None:
        """The smoothed round-trip time in seconds (RFC 6298 weights); None until a pong came."""
        return self._smoothed

    def deadline(self) -> float | None:
        """When `handle_timeout` is due; None once the path is silent."""
        return None if self.silent else self._ping_at

    def probes_to_send(self) -> list[Probe]:
        """Return the probes to be sent, once."""
        probes, self._probes = self._probes, []
        return probes

    def heard(self, now: float) -> None:
        """Note that something arrived on the path."""
        self._heard_at = max(self._heard_at, now)

    def receive(self, probe: Probe, now: float) -> None:
        """Take a probe: answer a ping, measure with a pong. A pong that was not asked for is ignored."""
        self.heard(now)
        if probe.type is ProbeType.PING:
            self._probes.append(Probe(ProbeType.PONG, probe.number))
        elif (sent_at := self._sent_at.pop(probe.number, None)) is not None:
            sample = now - sent_at
            self._smoothed = sample if self._smoothed is None else 0.875 * self._smoothed + 0.125 * sample

    def handle_timeout(self, now: float) -> None:
        """Ping if it is time to; find the path silent if nothing was heard for too long."""
        if self.silent or now < self._ping_at:
            return
        late = now - self._ping_at
        if late > self._interval:
            self._heard_at = min(now, self._heard_at + late)
        if now - self._heard_at >= self._timeout:
            self.silent = True
            return
        self._number += 1
        self._sent_at[self._number] = now
        if len(self._sent_at) > _REMEMBERED_PINGS:
            del self._sent_at[next(iter(self._sent_at))]
        self._probes.append(Probe(ProbeType.PING, self._number))
        self._ping_at = now + self._interval
