"""Which packets are lost on the way."""

from __future__ import annotations

from random import Random
from typing import Protocol

import msgspec

from .carriable import Carriable
from .fate import Fate
from .markov import LossChain
from .ranges import check_probabilities

LOST = "x"
ARRIVES = "."


class _Loss(msgspec.Struct, frozen=True, kw_only=True, tag_field="model", forbid_unknown_fields=True):
    pass


class Bursts(_Loss, frozen=True, kw_only=True, tag="bursts"):
    """Losses that come in runs of random length; a Gilbert-Elliott model by the two numbers that one measures."""

    loss: float
    """The share of packets that are lost, in the long run."""
    mean_burst: float
    """How many packets in a row are lost, on average; 1 / (1 - loss) is what independent losses have."""

    def __post_init__(self) -> None:
        check_probabilities(loss=self.loss)
        if not self.mean_burst >= 1:
            raise ValueError(f"mean_burst is a number of packets, at least 1, not {self.mean_burst}")
        if self.loss > self.mean_burst / (self.mean_burst + 1):
            raise ValueError(
                f"loss cannot be {self.loss} in bursts of {self.mean_burst}: "
                f"one packet between two bursts leaves {self.mean_burst / (self.mean_burst + 1):.3f}"
            )

    def chain(self) -> LossChain:
        """Return the chain of states."""
        to_good = 1 / self.mean_burst
        to_bad = self.loss * to_good / (1 - self.loss)
        return GilbertElliott(to_bad=to_bad, to_good=to_good).chain()


class GilbertElliott(_Loss, frozen=True, kw_only=True, tag="gilbert-elliott"):
    """A good and a bad state, with a step between them possible at each packet."""

    to_bad: float
    """The probability to step from the good state to the bad one: p."""
    to_good: float
    """The probability to step back: r."""
    loss_in_good: float = 0.0
    """1 - k."""
    loss_in_bad: float = 1.0
    """1 - h."""

    def __post_init__(self) -> None:
        check_probabilities(
            to_bad=self.to_bad,
            to_good=self.to_good,
            loss_in_good=self.loss_in_good,
            loss_in_bad=self.loss_in_bad,
        )
        if self.to_good == 0:
            raise ValueError("to_good must be positive: the bad state would never end")

    def chain(self) -> LossChain:
        """Return the chain of states."""
        return LossChain(
            ((1 - self.to_bad, self.to_bad), (self.to_good, 1 - self.to_good)),
            (self.loss_in_good, self.loss_in_bad),
        )


class FourState(_Loss, frozen=True, kw_only=True, tag="four-state"):
    """The four states of `tc netem loss state` (Salsano et al., 2012), by its numbers.

    1: arrives; 2: arrives within a burst; 3: lost within a burst; 4: lost alone.
    """

    p13: float
    p31: float
    p32: float = 0.0
    p23: float = 1.0
    p14: float = 0.0

    def __post_init__(self) -> None:
        check_probabilities(p13=self.p13, p31=self.p31, p32=self.p32, p23=self.p23, p14=self.p14)
        if self.p13 + self.p14 > 1 or self.p31 + self.p32 > 1:
            raise ValueError("p13 + p14 and p31 + p32 must not exceed 1: each leaves one state")
        if self.p31 == 0 or self.p23 == 0:
            raise ValueError("p31 and p23 must be positive: a burst would never end")

    def chain(self) -> LossChain:
        """Return the chain of states."""
        return LossChain(
            (
                (1 - self.p13 - self.p14, 0.0, self.p13, self.p14),
                (0.0, 1 - self.p23, self.p23, 0.0),
                (self.p31, self.p32, 1 - self.p31 - self.p32, 0.0),
                (1.0, 0.0, 0.0, 0.0),
            ),
            (0.0, 0.0, 1.0, 1.0),
        )


class LossPattern(_Loss, frozen=True, kw_only=True, tag="pattern"):
    """The same packets each time: a row of `.` for one that arrives and `x` for one that is lost, over and over.

    Written by hand, or recorded: `load_losses` reads a file.
    """

    pattern: str

    def __post_init__(self) -> None:
        if not self.pattern or set(self.pattern) - {LOST, ARRIVES}:
            raise ValueError(f"pattern is a row of {ARRIVES!r} (arrives) and {LOST!r} (lost), and not empty")


LossModel = Bursts | GilbertElliott | FourState | LossPattern
"""Every model but independent losses, for which a plain probability stands."""


class Gate(Protocol):
    """Decides about each packet at the entrance of a link."""

    def judge(self, packet: Carriable, now: float) -> Fate | None:
        """Return why a packet does not pass, or None."""
        ...


class RandomLoss:
    """Loses each packet with the same probability."""

    def __init__(self, probability: float, random: Random) -> None:
        self._probability = probability
        self._random = random.random

    def judge(self, packet: Carriable, now: float) -> Fate | None:
        """Return `LOST` or None."""
        del packet, now
        return Fate.LOST if self._random() < self._probability else None


class ChainLoss:
    """Loses packets as a chain of states has it; begins in a state drawn from its long run."""

    def __init__(self, chain: LossChain, random: Random) -> None:
        self._random = random.random
        self._loss = chain.loss
        self._steps = [_edges(row) for row in chain.steps]
        self._state = self._draw(_edges(chain.shares()))

    def judge(self, packet: Carriable, now: float) -> Fate | None:
        """Return `LOST` or None."""
        del packet, now
        self._state = self._draw(self._steps[self._state])
        loss = self._loss[self._state]
        return Fate.LOST if loss and (loss >= 1 or self._random() < loss) else None

    def _draw(self, edges: tuple[tuple[float, int], ...]) -> int:
        drawn = self._random()
        for edge, state in edges:
            if drawn < edge:
                return state
        return edges[-1][1]


class PatternLoss:
    """Loses packets by their number."""

    def __init__(self, pattern: str) -> None:
        self._lost = [letter == LOST for letter in pattern]
        self._next = 0

    def judge(self, packet: Carriable, now: float) -> Fate | None:
        """Return `LOST` or None."""
        del packet, now
        lost = self._lost[self._next]
        self._next = (self._next + 1) % len(self._lost)
        return Fate.LOST if lost else None


def loss_gate(loss: float | LossModel, random: Random) -> Gate | None:
    """Return the machine of a model; None where nothing is lost."""
    if isinstance(loss, LossPattern):
        return PatternLoss(loss.pattern)
    if isinstance(loss, Bursts | GilbertElliott | FourState):
        return ChainLoss(loss.chain(), random)
    return RandomLoss(loss, random) if loss > 0 else None


def _edges(probabilities: tuple[float, ...]) -> tuple[tuple[float, int], ...]:
    """Return where a number drawn from 0 to 1 must lie below for each state, without the states that cannot be."""
    edge, edges = 0.0, list[tuple[float, int]]()
    for state, probability in enumerate(probabilities):
        edge += probability
        if probability > 0:
            edges.append((edge, state))
    return tuple(edges)
