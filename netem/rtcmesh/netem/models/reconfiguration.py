"""A path that is laid anew at fixed times, as satellites come and go."""

import math
from random import Random

import msgspec

from .carriable import Carriable
from .fate import Fate
from .ranges import check_not_negative, check_positive, check_probabilities


class Reconfiguration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Each `period` the delay steps to another value and stays there; packets are lost around the step.

    The steps are at multiples of the period on the link's clock, so both directions of a path step at once.
    """

    period: float
    """Seconds from one step to the next."""
    spread: float = 0.0
    """The delay of a period lies within so many seconds of the mean, all values alike."""
    outage: float = 0.0
    """Seconds after each step in which packets are lost."""
    outage_loss: float = 1.0
    """With which probability."""

    def __post_init__(self) -> None:
        check_positive(period=self.period)
        check_not_negative(spread=self.spread, outage=self.outage)
        check_probabilities(outage_loss=self.outage_loss)
        if self.outage > self.period:
            raise ValueError(f"an outage of {self.outage} does not fit a period of {self.period}")


class Steps:
    """Keeps to the periods; what is drawn for one depends on the packets before it."""

    def __init__(self, config: Reconfiguration, random: Random) -> None:
        self._config = config
        self._random = random
        self._period = -math.inf
        self._offset = 0.0

    def offset(self, now: float) -> float:
        """Return by how much this period's delay differs from the mean."""
        period = math.floor(now / self._config.period)
        if period != self._period:
            self._period = period
            self._offset = self._config.spread * (2 * self._random.random() - 1)
        return self._offset

    def judge(self, packet: Carriable, now: float) -> Fate | None:
        """Return `LOST` for packets that come during an outage."""
        del packet
        if now % self._config.period >= self._config.outage:
            return None
        return Fate.LOST if self._random.random() < self._config.outage_loss else None
