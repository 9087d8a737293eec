"""Draws faults for a network from a seed, as events of a scenario."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

import msgspec

from rtcmesh.netem.faults import (
    ChangeAddress,
    Cut,
    Direction,
    Fault,
    Impair,
    Partition,
    Rebind,
    Reboot,
    Signal,
    SwitchUplink,
)
from rtcmesh.netem.link import LinkConfig

from .timeline import uplink_of
from .words import Event, Scenario

CALM_AT_START, CALM_AT_END = 0.05, 0.25
"""The shares of the duration in which nothing is done: programs begin in peace, and have time to recover."""

SHORTEST, LONGEST = 0.1, 15.0
"""For how many seconds a fault that can be undone lasts."""

MOST_LOSS, MOST_DELAY = 0.3, 0.5
LEAST_RATE = 20_000.0
"""How bad a link may become, in bytes a second."""


def chaos(scenario: Scenario, seed: int, *, faults: int, signals: bool) -> Scenario:
    """Return the scenario with so many more events, drawn from the seed, with which it also runs.

    The same seed gives the same events. Whatever can be undone is, and the last quarter of the duration is quiet.
    `signals` says whether programs may be paused.
    """
    draw = _Draw(scenario, Random(f"{seed}/chaos"), signals=signals)
    drawn = sorted((draw.event() for _ in range(faults)), key=lambda event: event.at)
    return msgspec.structs.replace(
        scenario,
        title=f"{scenario.title}, chaos of seed {seed}",
        seed=seed,
        events=(*scenario.events, *drawn),
    )


class _Draw:
    def __init__(self, scenario: Scenario, random: Random, *, signals: bool) -> None:
        self._random = random
        self._scenario = scenario
        topology = scenario.topology
        self._hosts = [host.name for host in topology.hosts]
        self._gateways = [gateway.name for gateway in topology.gateways]
        self._movable = [host for host in topology.hosts if len(host.uplinks) > 1]
        self._kinds: list[Callable[[], Fault]] = [
            self._cut,
            self._cut,
            self._impair,
            self._impair,
            self._change,
        ]
        if len(self._hosts) > 1:
            self._kinds.append(self._part)
        if self._gateways:
            self._kinds += [self._rebind, self._reboot]
        if self._movable:
            self._kinds.append(self._switch)
        if signals and scenario.programs:
            self._kinds.append(self._pause)

    def event(self) -> Event:
        fault = self._random.choice(self._kinds)()
        end = self._scenario.duration * (1 - CALM_AT_END)
        at = round(self._random.uniform(self._scenario.duration * CALM_AT_START, end), 3)
        if isinstance(fault, Cut | Impair | Partition | Signal):
            return Event(at=at, fault=fault, lasting=min(self._while(), max(SHORTEST, round(end - at, 3))))
        return Event(at=at, fault=fault)

    def _while(self) -> float:
        """Draw how long: as often between 0.1 and 1 as between 1 and 10 seconds."""
        return round(math.exp(self._random.uniform(math.log(SHORTEST), math.log(LONGEST))), 3)

    def _node(self) -> str:
        return self._random.choice(self._hosts + self._gateways)

    def _cut(self) -> Fault:
        directions = [Direction.BOTH, Direction.BOTH, Direction.UP, Direction.DOWN]
        return Cut(node=self._node(), direction=self._random.choice(directions))

    def _impair(self) -> Fault:
        node = self._node()
        before = uplink_of(self._scenario.topology, node)
        return Impair(node=node, up=self._worse(before.up), down=self._worse(before.down))

    def _worse(self, link: LinkConfig) -> LinkConfig:
        rate = link.rate_bytes_per_second
        if self._random.random() < 0.3 and link.rate_trace is None:
            rate = max(
                LEAST_RATE, (1e6 if rate is None else rate) * round(self._random.uniform(0.05, 0.5), 2)
            )
        loss = round(self._random.uniform(0, MOST_LOSS), 3)
        if isinstance(link.loss, float | int):
            loss = max(loss, link.loss)
        return msgspec.structs.replace(
            link,
            delay=link.delay + round(self._random.uniform(0, MOST_DELAY), 3),
            loss=loss,
            rate_bytes_per_second=rate,
        )

    def _change(self) -> Fault:
        return ChangeAddress(node=self._random.choice(self._hosts))

    def _part(self) -> Fault:
        one, other = self._random.sample(self._hosts, 2)
        return Partition(nodes=(one, other), one_way=self._random.random() < 0.3)

    def _rebind(self) -> Fault:
        return Rebind(node=self._random.choice(self._gateways))

    def _reboot(self) -> Fault:
        return Reboot(node=self._random.choice(self._gateways), seconds=self._while())

    def _switch(self) -> Fault:
        host = self._random.choice(self._movable)
        return SwitchUplink(node=host.name, to=self._random.choice(host.uplinks).to)

    def _pause(self) -> Fault:
        return Signal(process=self._random.choice([*self._scenario.programs]), signal="pause")
