"""Token buckets: a rate in the long run, and a burst at once. What a token stands for is the owner's business."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key")


@dataclass(frozen=True, kw_only=True)
class Rate:
    """So many a second in the long run, so many at once after a pause."""

    per_second: float
    burst: float

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not (0 < self.per_second < float("inf") and 0 < self.burst < float("inf")):
            raise ValueError("a rate and its burst must be positive")


class Bucket:
    """Full at first. It may run into debt, which later tokens pay; it never holds more than its burst."""

    __slots__ = ("_filled_at", "_level", "_rate")

    def __init__(self, rate: Rate, *, now: float) -> None:
        self._rate = rate
        self._level = rate.burst
        self._filled_at = now

    def take(self, cost: float, now: float) -> float:
        """Take the tokens, whatever is there, and return in how many seconds they are paid for."""
        self._fill(now)
        self._level -= cost
        return max(0.0, -self._level / self._rate.per_second)

    def wait_for(self, cost: float, now: float) -> float:
        """Return the seconds that `take` would, and take nothing."""
        self._fill(now)
        return max(0.0, (cost - self._level) / self._rate.per_second)

    def holds_at(self, level: float) -> float:
        """Return when it will hold so many tokens, at most its burst, if nothing is taken until then."""
        return self._filled_at + (level - self._level) / self._rate.per_second

    def is_full(self, now: float) -> bool:
        """Whether it is as if nothing had ever been taken."""
        self._fill(now)
        return self._level >= self._rate.burst

    def _fill(self, now: float) -> None:
        filled = self._level + (now - self._filled_at) * self._rate.per_second
        self._level = min(filled, self._rate.burst)
        self._filled_at = now


class Buckets(Generic[Key]):
    """A bucket for each key that was used lately: one that is full again is forgotten, and nobody can tell.

    At most `max_keys` are kept. Beyond that the one that was not used for longest is forgotten, which favours its key.
    """

    def __init__(self, rate: Rate, *, max_keys: int = 65_536) -> None:
        self._rate = rate
        self._max_keys = max_keys
        self._buckets: OrderedDict[Key, Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: Key, cost: float, now: float) -> float:
        """See `Bucket.take`."""
        return self._bucket(key, now).take(cost, now)

    def wait_for(self, key: Key, cost: float, now: float) -> float:
        """See `Bucket.wait_for`."""
        return self._bucket(key, now).wait_for(cost, now)

    def _bucket(self, key: Key, now: float) -> Bucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            self._forget(now)
            bucket = self._buckets[key] = Bucket(self._rate, now=now)
        else:
            self._buckets.move_to_end(key)
        return bucket

    def _forget(self, now: float) -> None:
        # In the order of their last use the first are the likeliest to be full; two for each new one empty the table.
        for _ in range(2):
            if not self._buckets:
                return
            key, bucket = next(iter(self._buckets.items()))
            if not bucket.is_full(now) and len(self._buckets) < self._max_keys:
                return
            del self._buckets[key]
