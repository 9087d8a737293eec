"""The seam between a scenario and what carries it: virtual time, namespaces, a proxy."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol, TypeVar

from rtcmesh.netem.faults import Faultable

from .account import Counters
from .meter import Meter
from .record import Capture
from .words import Program, Report, Scenario

T = TypeVar("T")

LOST = "lost"
"""The interface of a capture at which packets are shown that do not arrive."""


class Running(Protocol):
    """A program that was started."""

    @property
    def log(self) -> str:
        """What it has said besides its reports, and why it failed."""
        ...

    async def ended(self) -> int:
        """Wait for its end and return its exit status."""
        ...

    async def end(self) -> None:
        """Have it end, and wait for that."""
        ...


class Stage(Faultable, Protocol):
    """A network that is up, with hosts on which programs can be started."""

    def time(self) -> float:
        """Return the seconds on the clock of the network."""
        ...

    def address_of(self, host: str) -> str:
        """Return the address that a host has now. Raises `CannotCarry` where hosts have none of their own."""
        ...

    def endpoint_of(self, host: str, port: int, seen_from: str) -> tuple[str, int]:
        """Return where one host finds a port of another one. Raises `CannotCarry`."""
        ...

    async def start(
        self, name: str, program: Program, arguments: tuple[str, ...], report: Callable[[Report], None]
    ) -> Running:
        """Start a program on its host; its reports are handed over as they come."""
        ...

    async def counters(self) -> Counters:
        """Return what became of packets so far, by node, by `up` or `down`, by fate."""
        ...

    async def complaint(self) -> str:
        """Return why this run says nothing about the programs, an overloaded machine for instance; else nothing."""
        ...


class Watch(Protocol):
    """What looks at the packets of a run."""

    @property
    def meter(self) -> Meter:
        """Adds up what hosts send and receive."""
        ...

    @property
    def capture(self) -> Capture | None:
        """Takes the packets; None when nobody wants them."""
        ...


Conduct = Callable[[Stage], Coroutine[Any, Any, T]]


class Backend(Protocol):
    """One way to carry scenarios."""

    @property
    def name(self) -> str:
        """What it is called on the command line."""
        ...

    def objections(self, scenario: Scenario, folder: Path) -> list[str]:
        """Return what of a scenario it cannot carry, before anything starts; programs are looked for in the folder."""
        ...

    def perform(self, scenario: Scenario, folder: Path, watch: Watch, conduct: Conduct[T]) -> T:
        """Build the network, run a coroutine with it, and take it down whatever happens."""
        ...
