"""Runs a link machine on an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from rtcmesh.netem.link import Link
from rtcmesh.netem.models.fate import Fate
from rtcmesh.netem.packet import Contents, Packet

MAX_IN_FLIGHT = 20_000
"""How many packets one link holds at most; a newcomer is dropped then, and counted."""

Then = Callable[[Packet], None]
Gone = Callable[[Packet, str], None]
"""Told of a packet that does not arrive, and why."""


@dataclass(frozen=True, slots=True)
class _Travelling:
    """A packet with what happens when it arrives, and when it does not."""

    packet: Packet
    then: Then
    gone: Gone

    @property
    def size(self) -> int:
        return self.packet.size

    def contents(self) -> Contents | None:
        return self.packet.contents()

    def damaged(self, random: Random) -> _Travelling:
        return _Travelling(self.packet.damaged(random), self.then, self.gone)


class LinkRunner:
    """One link, shared by all who send over it. Its timer is that of the loop, to about a millisecond."""

    def __init__(self, link: Link[_Travelling]) -> None:
        self.link = link
        self.overflowed = 0
        """Packets for which there was no room in memory."""
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def send(self, packet: Packet, then: Then, gone: Gone) -> None:
        """Take a packet in; `then` is called if and when it arrives, once per copy, or else `gone`."""
        if self.link.in_flight >= MAX_IN_FLIGHT:
            self.overflowed += 1
            gone(packet, "overflowed")
            return
        fate = self.link.send(_Travelling(packet, then, gone), self._loop.time())
        if fate is not Fate.CARRIED:
            gone(packet, fate.value)
        self._tell_given_up()
        self.schedule()

    def schedule(self) -> None:
        """Wake when something is due; to be called when the link was configured anew."""
        deadline = self.link.deadline()
        if self._timer is not None:
            if deadline == self._timer.when():
                return
            self._timer.cancel()
        self._timer = None if deadline is None else self._loop.call_at(deadline, self._deliver)

    def close(self) -> None:
        """Deliver nothing more."""
        if self._timer is not None:
            self._timer.cancel()

    def _deliver(self) -> None:
        self._timer = None
        arrivals = self.link.arrivals(self._loop.time())
        self._tell_given_up()
        for _, travelling in arrivals:
            travelling.then(travelling.packet)
        self.schedule()

    def _tell_given_up(self) -> None:
        for fate, travelling in self.link.given_up:
            travelling.gone(travelling.packet, fate.value)


def send_along(runners: Sequence[LinkRunner], packet: Packet, then: Then, gone: Gone) -> None:
    """Send a packet over one link after another; `gone` is told of one that does not arrive, and why."""
    if not runners:
        then(packet)
        return
    first, *rest = runners
    first.send(packet, lambda arrived: send_along(rest, arrived, then, gone), gone)
