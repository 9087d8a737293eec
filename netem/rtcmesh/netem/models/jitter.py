"""How the delay of a link varies."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import Literal, Protocol

import msgspec

from .ranges import check_not_negative, check_positive

TIME_CONSTANT = 0.5
"""Seconds over which the jitter of a link forgets what it was, unless it says otherwise."""

_PARETO_SHAPE = 3.0
_PARETO_MEAN = 1.5
_PARETO_DEVIATION = math.sqrt(0.75)


class _Jitter(msgspec.Struct, frozen=True, kw_only=True, tag_field="model", forbid_unknown_fields=True):
    pass


class WanderingJitter(_Jitter, frozen=True, kw_only=True, tag="ornstein-uhlenbeck"):
    """A delay that wanders as queues make it: an Ornstein-Uhlenbeck process in time. Order is kept.

    A plain number stands for this model with its default time constant.
    """

    deviation: float
    """Standard deviation in seconds."""
    time_constant: float = TIME_CONSTANT
    """After so many seconds the correlation with the delay before has fallen to 1/e."""

    def __post_init__(self) -> None:
        check_not_negative(deviation=self.deviation)
        check_positive(time_constant=self.time_constant)


class NetemJitter(_Jitter, frozen=True, kw_only=True, tag="netem"):
    """A delay drawn anew for each packet, as `tc netem delay` does it: dense traffic arrives in disorder."""

    jitter: float
    """As tc means it: half the width of `uniform`, the standard deviation of the others. Seconds."""
    distribution: Literal["uniform", "normal", "pareto"] = "uniform"

    def __post_init__(self) -> None:
        check_not_negative(jitter=self.jitter)


JitterModel = WanderingJitter | NetemJitter


class Offset(Protocol):
    """Varies the delay."""

    def offset(self, now: float) -> float:
        """Return how many seconds a packet of now takes longer than the mean, or less."""
        ...


class Wander:
    """An Ornstein-Uhlenbeck process, exact whatever the step dt.

    x = rho * x + sqrt(1 - rho^2) * N(0, 1), with rho = exp(-dt / time constant).
    """

    def __init__(self, jitter: WanderingJitter, random: Random) -> None:
        self._deviation = jitter.deviation
        self._rate = 1 / jitter.time_constant
        self._gauss = random.gauss
        self._value = 0.0
        self._at = -math.inf

    def offset(self, now: float) -> float:
        """Return the present value; it moves with time alone."""
        if now > self._at:
            rho = math.exp((self._at - now) * self._rate)
            self._value = rho * self._value + math.sqrt(1 - rho * rho) * self._gauss(0, 1)
            self._at = now
        return self._deviation * self._value


class Scatter:
    """Independent draws."""

    def __init__(self, jitter: NetemJitter, random: Random) -> None:
        self._jitter = jitter.jitter
        self._draw: Callable[[], float] = {
            "uniform": lambda: 2 * random.random() - 1,
            "normal": lambda: random.gauss(0, 1),
            "pareto": lambda: (random.paretovariate(_PARETO_SHAPE) - _PARETO_MEAN) / _PARETO_DEVIATION,
        }[jitter.distribution]

    def offset(self, now: float) -> float:
        """Draw a value."""
        del now
        return self._jitter * self._draw()


def jitter_offset(jitter: float | JitterModel, random: Random) -> Offset | None:
    """Return the machine of a model; None where the delay does not vary."""
    if isinstance(jitter, NetemJitter):
        return Scatter(jitter, random) if jitter.jitter > 0 else None
    model = jitter if isinstance(jitter, WanderingJitter) else WanderingJitter(deviation=jitter)
    return Wander(model, random) if model.deviation > 0 else None
