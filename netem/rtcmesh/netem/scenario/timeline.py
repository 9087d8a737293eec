"""When exactly what happens: the events of a scenario with everything that is repeated and undone written out."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from rtcmesh.netem.faults import Cut, Fault, Heal, Impair, Partition, Signal, SwitchUplink
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


class _Restore(NamedTuple):
    """The end of an impairment: the uplink is again what the topology says it is."""

    node: str


def timeline(scenario: Scenario) -> list[Moment]:
    """Return what happens within the duration, in order; at equal times in the order of the events.

    Raises ValueError when it is more than anybody can have meant.
    """
    steps: list[tuple[float, int, Fault | _Restore]] = []
    for number, event in enumerate(scenario.events):
        for at in _times(event, scenario.duration):
            steps.append((at, number, event.fault))
            if event.lasting is not None:
                steps += [(at + event.lasting, number, undone) for undone in _undoing(event.fault)]
            if len(steps) > MAX_MOMENTS:
                raise ValueError(f"event {number + 1} makes more than {MAX_MOMENTS:,} things happen")
    steps.sort(key=lambda step: step[0])
    return list(_restored((step for step in steps if step[0] <= scenario.duration), scenario.topology))


class Switch(NamedTuple):
    """A host takes another one of its uplinks."""

    at: float
    event: int
    node: str
    to: str


def switches(events: Mapping[int, Event], duration: float) -> list[Switch]:
    """Return every switch of an uplink among events, which are known by their numbers, in order."""
    return sorted(
        Switch(at, number, event.fault.node, event.fault.to)
        for number, event in events.items()
        if isinstance(event.fault, SwitchUplink)
        for at in _times(event, duration)
    )


def uplink_in_use(
    topology: Topology, switched: Sequence[Switch], node: str, when: tuple[float, int]
) -> Uplink:
    """Return the uplink that a node has at a time, when the event of a number happens. Raises KeyError."""
    used = uplink_of(topology, node)
    for switch in switched:
        if switch.node == node and (switch.at, switch.event) < when:
            used = _uplink_to(topology, node, switch.to)
    return used


def uplink_of(topology: Topology, node: str) -> Uplink:
    """Return the first uplink of a host, or the one of a gateway. Raises KeyError."""
    for gateway in topology.gateways:
        if gateway.name == node:
            return gateway.uplink
    return topology.host(node).uplinks[0]


def _uplink_to(topology: Topology, node: str, to: str) -> Uplink:
    first = uplink_of(topology, node)
    if first.to == to:
        return first
    return next((uplink for uplink in topology.host(node).uplinks if uplink.to == to), first)


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


def _undoing(fault: Fault) -> list[Fault | _Restore]:
    """Return what makes good what a fault did."""
    match fault:
        case Cut(node=node) | Partition(nodes=(node, _)):
            return [Heal(node=node)]
        case Impair(node=node):
            return [_Restore(node)]
        case Signal(process=process, signal="pause"):
            return [Signal(process=process, signal="resume")]
        case _:
            return []


def _restored(steps: Iterable[tuple[float, int, Fault | _Restore]], topology: Topology) -> Iterator[Moment]:
    """Have each impairment end on the uplink on which it began: at once, or when the node comes back to that one."""
    used: dict[str, Uplink] = {}
    impaired: defaultdict[int, deque[str]] = defaultdict(deque)
    overdue: dict[tuple[str, str], int] = {}
    for at, number, fault in steps:
        match fault:
            case _Restore(node=node):
                uplink, to = used.get(node, uplink_of(topology, node)), impaired[number].popleft()
                if uplink.to != to:
                    overdue[node, to] = number
                    continue
                yield Moment(at, number, Impair(node=node, up=uplink.up, down=uplink.down))
            case Impair(node=node):
                uplink = used.get(node, uplink_of(topology, node))
                impaired[number].append(uplink.to)
                overdue.pop((node, uplink.to), None)
                yield Moment(at, number, fault)
            case SwitchUplink(node=node, to=to):
                used[node] = uplink = _uplink_to(topology, node, to)
                yield Moment(at, number, fault)
                if (impairing := overdue.pop((node, to), None)) is not None:
                    yield Moment(at, impairing, Impair(node=node, up=uplink.up, down=uplink.down))
            case _:
                yield Moment(at, number, fault)
