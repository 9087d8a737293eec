"""How many may be here from each address: so many at once, so many a second."""

from enum import StrEnum

from .address import Address
from .bucket import Buckets, Rate


class Crowded(StrEnum):
    """Why nobody more is let in from an address."""

    TOO_MANY = "address_full"
    TOO_FAST = "address_rate"


class Crowd:
    """Counts by address. Memory is that of the addresses that are here, or were lately."""

    def __init__(self, *, max_at_once: int, rate: Rate | None) -> None:
        self._max_at_once = max_at_once
        self._arrivals: Buckets[Address] | None = None if rate is None else Buckets(rate)
        self._present: dict[Address, int] = {}

    def __len__(self) -> int:
        return sum(self._present.values())

    def enter(self, address: Address, now: float) -> Crowded | None:
        """Let one more in, or say why not; whoever is not let in does not `leave`."""
        if self._present.get(address, 0) >= self._max_at_once:
            return Crowded.TOO_MANY
        if self._arrivals is not None:
            if self._arrivals.wait_for(address, 1, now) > 0:
                return Crowded.TOO_FAST
            self._arrivals.take(address, 1, now)
        self._present[address] = self._present.get(address, 0) + 1
        return None

    def leave(self, address: Address) -> None:
        """Note that one has gone."""
        remaining = self._present[address] - 1
        if remaining:
            self._present[address] = remaining
        else:
            del self._present[address]
