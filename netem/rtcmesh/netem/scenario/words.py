"""What a scenario consists of: a network, the programs on it, what happens to it, and what is expected of all that."""

from __future__ import annotations

import re

import msgspec

from rtcmesh.netem.faults import Cut, Direction, Fault, Impair, Partition, Signal
from rtcmesh.netem.models.ranges import check_not_negative
from rtcmesh.netem.topology import Topology

DEFAULT_DURATION = 60.0


def tag_of(name: str) -> str:
    """Return the word for a class in a document: `on-path` for `OnPath`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


class Program(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A program on a host: a coroutine, which every backend can run, or a command, which takes processes."""

    host: str
    run: str = ""
    """`module:coroutine`. It is called with the arguments; a number that it returns is its exit status."""
    command: tuple[str, ...] = ()
    """A program and what comes before the arguments; a relative path is one from where programs are looked for."""
    arguments: tuple[str, ...] = ()
    """`{bob}` stands for the address of the host bob, `{bob:7000}` for address and port, with a colon between."""
    after: tuple[str, ...] = ()
    """It starts when all these have reported that they are ready."""
    background: bool = False
    """It serves the others: its end is not waited for, and it is ended when they are done."""

    def __post_init__(self) -> None:
        if bool(self.run) == bool(self.command):
            raise ValueError("a program has either `run` or `command`")
        if self.run and not re.fullmatch(r"[\w.]+:\w+", self.run):
            raise ValueError(f"run must be like `module:coroutine`, not {self.run!r}")


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happens to the network, once or again and again."""

    at: float
    """Seconds after the start: when every program that others come `after` is ready."""
    fault: Fault
    every: float | None = None
    """Seconds from one time to the next."""
    times: int | None = None
    """How often; by default until the end."""
    until: float | None = None
    """It does not happen later than this."""
    lasting: float | None = None
    """Seconds after which it is undone."""

    def __post_init__(self) -> None:
        for name in ("at", "every", "until", "lasting"):
            value: float | None = getattr(self, name)
            if value is not None and not 0 <= value < float("inf"):
                raise ValueError(f"{name} must be a finite number of seconds, not {value}")
        if self.every == 0:
            raise ValueError("every must be positive")
        if self.times is not None and self.times < 1:
            raise ValueError(f"times must be at least 1, not {self.times}")
        if self.every is None and (self.times or self.until is not None):
            raise ValueError("every is missing: `times` and `until` say how often, it says how fast")
        if self.lasting is not None and not isinstance(self.fault, Cut | Impair | Partition | Signal):
            raise ValueError("lasting has no meaning for what cannot be undone")
        if self.lasting is not None and isinstance(self.fault, Signal) and self.fault.signal != "pause":
            raise ValueError("lasting has no meaning for a signal other than pause")


class _Expectation(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="that", tag=tag_of, forbid_unknown_fields=True
):
    pass


def _check_range(at_least: float | None, at_most: float | None) -> None:
    """Raise ValueError for bounds between which there is nothing."""
    check_not_negative(at_least=at_least, at_most=at_most)
    if at_least is not None and at_most is not None and at_least > at_most:
        raise ValueError(
            f"at_least {at_least:g} is more than at_most {at_most:g}: nothing could be as expected"
        )


class Exits(_Expectation, frozen=True, kw_only=True):
    """The program has ended by itself, with this status."""

    program: str
    status: int = 0


class Silence(_Expectation, frozen=True, kw_only=True):
    """The program was never without a message for longer.

    It is measured from its first message, or from `since`, to its end, or to `until`.
    """

    program: str
    at_most: float
    since: float | None = None
    until: float | None = None

    def __post_init__(self) -> None:
        check_not_negative(at_most=self.at_most, since=self.since, until=self.until)


class Delivered(_Expectation, frozen=True, kw_only=True):
    """The program reported so many messages, all in all or by a time."""

    program: str
    at_least: int = 1
    at_most: int | None = None
    by: float | None = None

    def __post_init__(self) -> None:
        check_not_negative(by=self.by)
        _check_range(self.at_least, self.at_most)


class OnPath(_Expectation, frozen=True, kw_only=True):
    """The program's latest report about its path, at the end or at a time, was this."""

    program: str
    path: str
    at: float | None = None

    def __post_init__(self) -> None:
        check_not_negative(at=self.at)


class Counted(_Expectation, frozen=True, kw_only=True):
    """The program's latest report about a count was between these."""

    program: str
    name: str
    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        _check_range(self.at_least, self.at_most)


class Packets(_Expectation, frozen=True, kw_only=True):
    """So many packets met this fate on the uplink of a node: `lost`, `dropped`, `cut`, `delivered` and so on."""

    node: str
    fate: str
    direction: Direction = Direction.BOTH
    at_least: int | None = None
    at_most: int | None = None

    def __post_init__(self) -> None:
        if self.at_least is None and self.at_most is None:
            raise ValueError("at_least and at_most are both missing: any number would be as expected")
        _check_range(self.at_least, self.at_most)


Expectation = Exits | Silence | Delivered | OnPath | Counted | Packets


class _Report(msgspec.Struct, frozen=True, kw_only=True, tag_field="report", tag=tag_of):
    pass


class Ready(_Report, frozen=True, kw_only=True):
    """The program can be used: those that come after it may start."""


class Message(_Report, frozen=True, kw_only=True):
    """A message of the application arrived."""


class Path(_Report, frozen=True, kw_only=True):
    """The program's messages take this path from now on."""

    path: str


class Count(_Report, frozen=True, kw_only=True):
    """Something the program counts or measures has this value now."""

    name: str
    count: float


class Note(_Report, frozen=True, kw_only=True):
    """Something to be read in the timeline."""

    text: str


Report = Ready | Message | Path | Count | Note


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """A network, the programs on it, what happens to it, and what is expected."""

    title: str
    topology: Topology
    seed: int = 0
    duration: float = DEFAULT_DURATION
    """Seconds after the start at which whatever still runs is ended."""
    programs: dict[str, Program] = {}
    events: tuple[Event, ...] = ()
    expectations: tuple[Expectation, ...] = ()
