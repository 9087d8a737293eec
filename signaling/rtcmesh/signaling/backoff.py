"""How long to wait before the next attempt: exponential backoff with full jitter.

Full jitter (a uniform choice between zero and the bound) spreads the peers of a server that died over the whole
interval, so that they do not come back in waves.
"""

from random import Random


class Backoff:
    """Delays whose bound doubles with each failure, and falls back after a connection that lasted."""

    def __init__(self, random: Random, *, base: float, maximum: float) -> None:
        self._random = random
        self._base = base
        self._maximum = maximum
        self._bound = base
        self._connected_at: float | None = None

    def connected(self, now: float) -> None:
        """Note a success. It counts once it has lasted `maximum` seconds, so that a flapping server is spared."""
        self._connected_at = now

    def next_delay(self, now: float, *, at_least: float = 0.0) -> float:
        """Note a failure and return the seconds to wait: what the server asked for, plus the jitter."""
        if self._connected_at is not None and now - self._connected_at >= self._maximum:
            self._bound = self._base
        self._connected_at = None
        delay = at_least + self._random.uniform(0.0, min(self._bound, self._maximum))
        self._bound = min(self._bound * 2, self._maximum)
        return delay
