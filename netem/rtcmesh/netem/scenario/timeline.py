"""When exactly what happens: the events of a scenario with everything that is repeated and undone written out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from rtcmesh.netem.faults import Cut, Fault, Heal, Impair, Partition, Signal
from rtcmesh.netem.topology import Topology, Uplink

from .words import Event, Scenario

MAX_MOMENTS = 100_000
"""How much can happen in one scenario."""


class Moment(NamedTuple):
    """One thing that happens at one time."""

    at: float
    event: int
    """Which event of the scenario it comes from, counted from 0."""
    fault: Fault


def timeline(scenario: Scenario) -> list[Moment]:
    """Return what happens within the duration, in order; at equal times in the order of the events.

    Raises ValueError when it is more than anybody can have meant.
    """
    moments: list[Moment] = []
    for number, event in enumerate(scenario.events):
        for at in _times(event, scenario.duration):
            moments.append(Moment(at, number, event.fault))
            if event.lasting is not None:
                moments += [
                    Moment(at + event.lasting, number, undone)
                    for undone in undoing(event.fault, scenario.topology)
                ]
            if len(moments) > MAX_MOMENTS:
                raise ValueError(f"event {number + 1} makes more than {MAX_MOMENTS:,} things happen")
    moments.sort(key=lambda moment: moment.at)
    return [moment for moment in moments if moment.at <= scenario.duration]


def _times(event: Event, duration: float) -> Iterator[float]:
    end = duration if event.until is None else min(event.until, duration)
    count = 0
    at = event.at
    while at <= end and (event.times is None or count < event.times):
        yield at
        if event.every is None:
            return
        count += 1
        at = event.at + count * event.every


def undoing(fault: Fault, topology: Topology) -> list[Fault]:
    """Return what makes good what a fault did."""
    match fault:
        case Cut(node=node):
            return [Heal(node=node)]
        case Partition(nodes=(node, _)):
            return [Heal(node=node)]
        case Impair(node=node):
            uplink = uplink_of(topology, node)
            return [Impair(node=node, up=uplink.up, down=uplink.down)]
        case Signal(process=process, signal="pause"):
            return [Signal(process=process, signal="resume")]
        case _:
            return []


def uplink_of(topology: Topology, node: str) -> Uplink:
    """Return the first uplink of a host, or the one of a gateway. Raises KeyError."""
    for gateway in topology.gateways:
        if gateway.name == node:
            return gateway.uplink
    return topology.host(node).uplinks[0]
