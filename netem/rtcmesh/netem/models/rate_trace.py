"""What a bottleneck was seen to carry, moment by moment."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left, bisect_right
from typing import Protocol

import msgspec

from .ranges import check_not_negative, check_positive

OPPORTUNITY_BYTES = 1504
"""How much one line of a mahimahi trace carries: an Ethernet frame's packet and its TUN header."""


MIN_CARRIED_BYTES = 1
"""A round of a trace that carries less could not be told from one that stands still."""


class _Trace(msgspec.Struct, frozen=True, kw_only=True, tag_field="format", forbid_unknown_fields=True):
    pass


class DeliveryOpportunities(_Trace, frozen=True, kw_only=True, tag="mahimahi"):
    """Moments at which 1,504 bytes pass, as mahimahi records them; what nobody uses at once is wasted.

    The last moment ends the trace, which then begins anew.
    """

    milliseconds: tuple[int, ...]
    """Each not before the one in front of it."""

    def __post_init__(self) -> None:
        if not self.milliseconds or self.milliseconds[-1] <= 0:
            raise ValueError("milliseconds must hold a moment after 0: the trace would have no length")
        if self.milliseconds[0] < 0:
            raise ValueError(f"milliseconds cannot begin with {self.milliseconds[0]}")
        for number, (before, after) in enumerate(itertools.pairwise(self.milliseconds), 2):
            if after < before:
                raise ValueError(
                    f"milliseconds must not fall, as number {number} does: {after} after {before}"
                )

    @property
    def seconds(self) -> float:
        """How long the trace is."""
        return self.milliseconds[-1] / 1000

    @property
    def carried_bytes(self) -> float:
        """How much it carries from its beginning to its end."""
        return len(self.milliseconds) * OPPORTUNITY_BYTES

    @property
    def longest_silence(self) -> float:
        """For how many seconds nothing passes, at most."""
        moments = (0, *self.milliseconds, self.milliseconds[-1] + self.milliseconds[0])
        return max(after - before for before, after in itertools.pairwise(moments)) / 1000


class RateStep(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A rate and how long it holds."""

    seconds: float
    bytes_per_second: float

    def __post_init__(self) -> None:
        check_positive(seconds=self.seconds)
        check_not_negative(bytes_per_second=self.bytes_per_second)


class RateSteps(_Trace, frozen=True, kw_only=True, tag="steps"):
    """Rates, each for a while; after the last one the first one follows."""

    steps: tuple[RateStep, ...]

    def __post_init__(self) -> None:
        if not any(step.bytes_per_second for step in self.steps):
            raise ValueError("steps must hold a rate that is not 0; cut a link that is to carry nothing")
        if not MIN_CARRIED_BYTES <= self.carried_bytes < math.inf:
            raise ValueError(f"steps must carry from {MIN_CARRIED_BYTES} byte on, not {self.carried_bytes:g}")

    @property
    def seconds(self) -> float:
        """How long the trace is."""
        return sum(step.seconds for step in self.steps)

    @property
    def carried_bytes(self) -> float:
        """How much it carries from its beginning to its end."""
        return sum(step.seconds * step.bytes_per_second for step in self.steps)

    @property
    def longest_silence(self) -> float:
        """For how many seconds nothing passes, at most."""
        silence = longest = 0.0
        for step in (*self.steps, *self.steps):  # one may go on over the end
            silence = silence + step.seconds if step.bytes_per_second == 0 else 0.0
            longest = max(longest, silence)
        return longest


RateTrace = DeliveryOpportunities | RateSteps


class Capacity(Protocol):
    """How many bytes could have passed since the trace began: a curve that never falls."""

    def before(self, seconds: float) -> float:
        """Return how many bytes had their chance before this moment."""
        ...

    def reached(self, size: float) -> float:
        """Return when so many bytes have had their chance."""
        ...


class OpportunityCurve:
    """A staircase."""

    def __init__(self, trace: DeliveryOpportunities) -> None:
        self._moments = trace.milliseconds
        self._length = trace.milliseconds[-1]

    def before(self, seconds: float) -> float:
        """Count the steps of the staircase."""
        # Whoever comes within a microsecond of a moment comes in time: a sum of floats is no earlier or later.
        milliseconds = max(0.0, seconds * 1000 - 0.001)
        rounds, rest = divmod(milliseconds, self._length)
        return (rounds * len(self._moments) + bisect_left(self._moments, rest)) * OPPORTUNITY_BYTES

    def reached(self, size: float) -> float:
        """Return the moment of the step on which the last byte goes."""
        number = max(0, math.ceil(size / OPPORTUNITY_BYTES) - 1)
        rounds, index = divmod(number, len(self._moments))
        return (rounds * self._length + self._moments[index]) / 1000


class StepCurve:
    """Straight lines."""

    def __init__(self, trace: RateSteps) -> None:
        self._steps = trace.steps
        self._ends = tuple(itertools.accumulate(step.seconds for step in trace.steps))
        self._sums = tuple(itertools.accumulate(step.seconds * step.bytes_per_second for step in trace.steps))

    def before(self, seconds: float) -> float:
        """Add up the rates."""
        rounds, rest = divmod(max(0.0, seconds), self._ends[-1])
        index = min(bisect_right(self._ends, rest), len(self._steps) - 1)
        left = self._ends[index] - rest
        return rounds * self._sums[-1] + self._sums[index] - left * self._steps[index].bytes_per_second

    def reached(self, size: float) -> float:
        """Return when the sum of the rates is so much."""
        rounds, rest = divmod(max(0.0, size), self._sums[-1])
        if rest == 0 and rounds > 0:  # at the end of a round, not at the beginning of the next
            rounds, rest = rounds - 1, self._sums[-1]
        index = min(bisect_left(self._sums, rest), len(self._steps) - 1)
        seconds, rate = self._steps[index].seconds, self._steps[index].bytes_per_second
        back = (self._sums[index] - rest) / rate if rate else seconds
        return rounds * self._ends[-1] + self._ends[index] - back


def capacity_of(trace: RateTrace) -> Capacity:
    """Return the curve of a trace."""
    return OpportunityCurve(trace) if isinstance(trace, DeliveryOpportunities) else StepCurve(trace)
