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
    MIXED = "CUBIC beside the loss-tolerant control"


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """A bottleneck and the flows that begin there one after another."""

    topic: Topic
    controls: tuple[CongestionControl, ...]
    mbit_per_second: float = 20.0
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


def situations() -> list[Situation]:
    """Return all of them."""
    found: list[Situation] = []
    alone = {"settle": 3.0, "seconds": 5.0}
    for loss in (0.0, 0.01, 0.05, 0.1):
        found += [
            Situation(topic=Topic.LOSS, controls=(control,), mbit_per_second=200, loss=loss, **alone)
            for control in (CUBIC, TOLERANT)
        ]
    alone = {"settle": 8.0, "seconds": 12.0}
    for round_trip, buffer, loss in (
        (0.01, 1.0, 0.0),
        (0.05, 0.25, 0.0),
        (0.05, 4.0, 0.0),
        (0.1, 1.0, 0.0),
        (0.2, 1.0, 0.0),
        (0.2, 1.0, 0.05),
    ):
        found += [
            Situation(
                topic=Topic.PATHS,
                controls=(control,),
                round_trip=round_trip,
                buffer=buffer,
                loss=loss,
                **alone,
            )
            for control in (CUBIC, TOLERANT)
        ]
    shared = ((0.01, 1.0), (0.05, 0.25), (0.05, 0.5), (0.05, 1.0), (0.05, 2.0), (0.1, 1.0), (0.2, 1.0))
    for round_trip, buffer in shared:
        found += [
            Situation(topic=Topic.LIKE, controls=(control, control), round_trip=round_trip, buffer=buffer)
            for control in (CUBIC, TOLERANT)
        ]
    for round_trip, buffer in ((0.05, 0.1), *shared):
        found += [
            Situation(topic=Topic.MIXED, controls=controls, round_trip=round_trip, buffer=buffer)
            for controls in ((CUBIC, TOLERANT), (TOLERANT, CUBIC))
        ]
    return found
