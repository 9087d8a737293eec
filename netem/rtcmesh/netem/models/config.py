"""How a link treats packets: a value."""

from __future__ import annotations

import msgspec

from .jitter import JitterModel
from .line import QueueDiscipline
from .loss import LossModel
from .ranges import check_not_negative, check_positive, check_probabilities
from .rate_trace import RateTrace
from .reconfiguration import Reconfiguration
from .rule import Rule

MIN_MTU = 68
"""What every IPv4 link carries (RFC 791)."""


class LinkConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How one direction of a path treats packets. The default is a perfect wire.

    Change one with `msgspec.structs.replace`. Raises ValueError, which names the field, for what cannot be.
    """

    delay: float = 0.0
    """Mean one-way delay in seconds."""
    jitter: float | JitterModel = 0.0
    """How the delay varies; a number is the standard deviation in seconds of a delay that wanders (an
    Ornstein-Uhlenbeck process) and keeps the order of packets."""
    loss: float | LossModel = 0.0
    """Which packets are lost; a number is the probability of each, independently of the others."""
    duplication: float = 0.0
    """Probability that a packet enters the link twice."""
    reordering: float = 0.0
    """Probability that a packet is held back by `reordering_delay` so that later ones overtake it (RFC 4737)."""
    reordering_delay: float = 0.05
    """Seconds by which a reordered packet is held back."""
    rate_bytes_per_second: float | None = None
    """How fast packets leave the queue at the entrance, one after another; None: all at once."""
    rate_trace: RateTrace | None = None
    """A rate that changes instead."""
    max_queue_bytes: int = 256 * 1024
    """What waits there at most, the packet that is leaving included; an empty queue takes any packet."""
    max_queue_delay: float | None = None
    """The same in seconds until the newcomer has left; takes the place of `max_queue_bytes`."""
    queue: QueueDiscipline = QueueDiscipline.TAIL_DROP
    """Which packet gives way when there is no room, or before that."""
    corruption: float = 0.0
    """Probability that one bit of a packet is changed. For UDP that is loss: the receiver's checksum does not fit."""
    corruption_is_repaired: bool = False
    """The checksum is made to fit, so that the program gets the damaged packet."""
    mtu: int | None = None
    """Longer packets vanish; in IP bytes."""
    mtu_is_reported: bool = False
    """Their sender is told by ICMP, where the backend can."""
    reconfiguration: Reconfiguration | None = None
    """The path is laid anew at fixed times."""
    rules: tuple[Rule, ...] = ()
    """Drops packets by what they are."""

    def __post_init__(self) -> None:
        check_not_negative(
            delay=self.delay,
            jitter=self.jitter if isinstance(self.jitter, float | int) else None,
            reordering_delay=self.reordering_delay,
            max_queue_bytes=self.max_queue_bytes,
            max_queue_delay=self.max_queue_delay,
        )
        check_probabilities(
            loss=self.loss if isinstance(self.loss, float | int) else 0.0,
            duplication=self.duplication,
            reordering=self.reordering,
            corruption=self.corruption,
        )
        check_positive(rate_bytes_per_second=self.rate_bytes_per_second)
        if self.rate_trace is not None and self.rate_bytes_per_second is not None:
            raise ValueError("rate_trace and rate_bytes_per_second cannot both be given")
        if self.mtu is not None and self.mtu < MIN_MTU:
            raise ValueError(f"mtu must be at least {MIN_MTU}, not {self.mtu}")

    @property
    def queue_key(self) -> tuple[object, ...]:
        """Two configurations that agree in this treat what waits at the entrance alike."""
        return (
            self.rate_bytes_per_second,
            self.rate_trace,
            self.max_queue_bytes,
            self.max_queue_delay,
            self.queue,
        )
