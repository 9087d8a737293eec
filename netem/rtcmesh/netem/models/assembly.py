"""The machines of a configuration."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Generic, NamedTuple, TypeVar

from .carriable import Carriable
from .config import LinkConfig
from .fate import Fate
from .jitter import JitterModel, Offset, jitter_offset
from .loss import Gate, LossModel, RandomLoss, loss_gate
from .pace import ConstantPace, Pace, QueueLimit, TracedPace
from .packet_class import Classifier
from .rate_trace import capacity_of
from .reconfiguration import Reconfiguration, Steps
from .rule import Rule, Rules

V = TypeVar("V")
M = TypeVar("M")


class _Kept(Generic[V, M]):
    """A machine that goes on as long as what it was made from stays the same."""

    def __init__(self, make: Callable[[V], M]) -> None:
        self._make = make
        self._last: tuple[V, M] | None = None

    def of(self, value: V | None) -> M | None:
        """Return the machine for a value: the last one, or a new one; None for None, after which all begin anew."""
        if value is None:
            self._last = None
            return None
        if self._last is None or self._last[0] != value:
            self._last = (value, self._make(value))
        return self._last[1]


class Mtu:
    """Lets no packet pass that is too long."""

    def __init__(self, mtu: int) -> None:
        self._mtu = mtu

    def judge(self, packet: Carriable, now: float) -> Fate | None:
        """Return `OVERSIZED` or None."""
        del now
        return Fate.OVERSIZED if packet.size > self._mtu else None


class Corruption:
    """Takes the packets out that no receiver's checksum would let pass."""

    def __init__(self, probability: float, random: Random) -> None:
        self._loss = RandomLoss(probability, random)

    def judge(self, packet: Carriable, now: float) -> Fate | None:
        """Return `CORRUPTED` or None."""
        return Fate.CORRUPTED if self._loss.judge(packet, now) else None


class Parts(NamedTuple):
    """What treats the packets: only what is configured is there, so what is not costs a packet nothing."""

    gates: tuple[Gate, ...]
    """Asked in this order; the first one that takes a packet out has it."""
    offsets: tuple[Offset, ...]
    """Added to the delay."""


class Assembly:
    """Makes the machines of one configuration after another. A part that stays the same goes on as it was."""

    def __init__(self, random: Random) -> None:
        classifier = Classifier()
        self._mtu = _Kept[int, Gate](Mtu)
        self._rules = _Kept[tuple[Rule, ...], Gate](lambda rules: Rules(rules, classifier, random))
        self._steps = _Kept[Reconfiguration, Steps](lambda config: Steps(config, random))
        self._loss = _Kept[float | LossModel, Gate | None](lambda loss: loss_gate(loss, random))
        self._corruption = _Kept[float, Gate](lambda probability: Corruption(probability, random))
        self._jitter = _Kept[float | JitterModel, Offset | None](lambda jitter: jitter_offset(jitter, random))

    def parts(self, config: LinkConfig) -> Parts:
        """Return the machines, without the queue."""
        steps = self._steps.of(config.reconfiguration)
        gates = (
            self._mtu.of(config.mtu),
            self._rules.of(config.rules or None),
            steps if config.reconfiguration and config.reconfiguration.outage else None,
            self._loss.of(config.loss),
            self._corruption.of(None if config.corruption_is_repaired else config.corruption or None),
        )
        offsets = (self._jitter.of(config.jitter), steps)
        return Parts(
            tuple(gate for gate in gates if gate is not None),
            tuple(offset for offset in offsets if offset is not None),
        )


def pace_of(config: LinkConfig, before: Pace | None) -> Pace | None:
    """Return how fast packets leave, after those of the pace before; None: all at once."""
    limit = QueueLimit(config.max_queue_bytes, config.max_queue_delay)
    if config.rate_trace is not None:
        return TracedPace(capacity_of(config.rate_trace), limit, before)
    if config.rate_bytes_per_second is not None:
        return ConstantPace(config.rate_bytes_per_second, limit, before)
    return None
