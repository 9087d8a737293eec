"""Which flows share which bottleneck."""

from __future__ import annotations

from enum import Enum

import msgspec

from rtcmesh.peer.sctp import CongestionControl

CUBIC, TOLERANT = CongestionControl.CUBIC, CongestionControl.LOSS_TOLERANT


class Topic(Enum):
    """What is looked at."""

    LOSS = "One flow, packets lost at random"
    PATHS = "One flow on paths of all kinds"
    LIKE = "Two flows of one kind, the second one later"
    MIXED = "CUBIC beside the loss-tolerant control (two of CUBIC beside one another are the yardstick)"


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """A bottleneck and the flows that begin there one after another."""

    topic: Topic
    controls: tuple[CongestionControl, ...]
    mbit_per_second: float = 10.0
    round_trip: float = 0.05
    """In seconds, without a queue."""
    buffer: float = 1.0
    """What the bottleneck can hold, in round trips."""
    loss: float = 0.0
    """The share that is lost at random, in both directions."""
    apart: float = 5.0
    """Seconds between the beginnings of two flows."""
    settle: float = 10.0
    """Seconds from the last beginning until it is measured."""
    seconds: float = 20.0
    """For how long it is measured."""

    @property
    def path(self) -> str:
        """The path in words."""
        loss = f", {self.loss:.0%} loss" if self.loss else ""
        return f"{self.mbit_per_second:g} Mbit/s, {1000 * self.round_trip:g} ms, buffer {self.buffer:g}{loss}"


RATES = (10.0, 20.0, 50.0)
ROUND_TRIPS = (0.01, 0.05, 0.1)
BUFFERS = (0.1, 0.5, 1.0, 4.0)
LOSSES = (0.01, 0.05, 0.1)
RIVALS = ((CUBIC, TOLERANT), (TOLERANT, CUBIC), (CUBIC, CUBIC, TOLERANT))


def situations() -> list[Situation]:
    """Return all of them."""
    return [*_lossy(), *_clean()]


def _lossy() -> list[Situation]:
    paths = [(100.0, 0.05, 0.0), *((100.0, 0.05, loss) for loss in LOSSES)]
    paths += [(rate, trip, loss) for rate in RATES for trip in ROUND_TRIPS for loss in LOSSES]
    return [
        Situation(
            topic=Topic.LOSS,
            controls=(control,),
            mbit_per_second=rate,
            round_trip=trip,
            loss=loss,
            settle=4.0,
            seconds=6.0,
        )
        for rate, trip, loss in paths
        for control in (CUBIC, TOLERANT)
    ]


def _clean() -> list[Situation]:
    found: list[Situation] = []
    for rate in RATES:
        for trip in ROUND_TRIPS:
            for buffer in BUFFERS:
                path = {"mbit_per_second": rate, "round_trip": trip, "buffer": buffer}
                for control in (CUBIC, TOLERANT):
                    found.append(
                        Situation(topic=Topic.PATHS, controls=(control,), settle=8.0, seconds=12.0, **path)
                    )
                    found.append(Situation(topic=Topic.LIKE, controls=(control, control), **path))
                found += [Situation(topic=Topic.MIXED, controls=controls, **path) for controls in RIVALS]
    return found
