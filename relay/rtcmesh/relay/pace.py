"""The pace of one connection: how long to read nothing, and when the connection is limited."""

from rtcmesh.signaling.limits.bucket import Bucket, Rate

from .frames import Limit


class Pace:
    """Lets `bytes_per_second` through in the long run and `burst_bytes` at once.

    What is too much is let through all the same, and paid for with a pause. A connection is limited from its first
    pause until half of the burst is saved up again.
    """

    def __init__(self, *, bytes_per_second: int, burst_bytes: int, now: float) -> None:
        self._bytes_per_second = bytes_per_second
        self._burst_bytes = burst_bytes
        self._bucket = Bucket(Rate(per_second=bytes_per_second, burst=burst_bytes), now=now)
        self._limited = False
        self._limits: list[Limit] = []

    def take(self, size: int, now: float) -> float:
        """Note what was read and return for how many seconds to read nothing."""
        pause = self._bucket.take(size, now)
        if pause > 0 and not self._limited:
            self._limited = True
            self._limits.append(Limit(self._bytes_per_second, pause))
        return pause

    def deadline(self) -> float | None:
        """Return when the limit is lifted if nothing comes until then."""
        return self._bucket.holds_at(self._burst_bytes / 2) if self._limited else None

    def handle_timeout(self, now: float) -> None:
        """Lift the limit if it is time."""
        deadline = self.deadline()
        if deadline is not None and now >= deadline:
            self._limited = False
            self._limits.append(Limit(0, 0.0))

    def limits(self) -> list[Limit]:
        """Return what is to be announced, once."""
        limits, self._limits = self._limits, []
        return limits
