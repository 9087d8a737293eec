"""What was seen of a run while it went on: a machine that is told everything and keeps what is judged and recorded."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import Literal

import msgspec

from rtcmesh.netem.faults import Fault

from .words import Count, Message, Note, Path, Ready, Report

MAX_MESSAGES = 4_000_000
"""How many messages of one program are remembered with their times; the later ones are not."""

MAX_ENTRIES = 100_000
"""How long a timeline may be; later entries are counted and not kept."""

Counters = Mapping[str, Mapping[str, Mapping[str, int]]]
"""What became of packets: by node, by `up` or `down`, by fate."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the timeline."""

    at: float
    kind: Literal["program", "fault", "report", "problem"]
    subject: str
    """The program or the node that it is about."""
    text: str


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How a program ended."""

    at: float
    status: int | None
    """None: it was ended by the run."""
    error: str = ""
    """The last words of one that failed."""


class Account:
    """Everything that programs reported and that was done to the network, with times in seconds after the start."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.entries_left_out = 0
        self.messages: dict[str, array[float]] = {}
        """By program, when its messages came."""
        self.paths: dict[str, list[tuple[float, str]]] = {}
        self.counts: dict[str, dict[str, float]] = {}
        self.ready: dict[str, float] = {}
        self.endings: dict[str, Ending] = {}
        self.counters: Counters = {}
        self.ended_at = 0.0

    def report(self, program: str, report: Report, at: float) -> None:
        """Take in what a program reported."""
        match report:
            case Message():
                times = self.messages.setdefault(program, array("d"))
                if len(times) < MAX_MESSAGES:
                    times.append(at)
            case Ready():
                self.ready.setdefault(program, at)
                self.note(at, "report", program, "is ready")
            case Path(path=path):
                self.paths.setdefault(program, []).append((at, path))
                self.note(at, "report", program, f"path: {path}")
            case Count(name=name, count=count):
                self.counts.setdefault(program, {})[name] = count
            case Note(text=text):
                self.note(at, "report", program, text)

    def fault(self, fault: Fault, at: float) -> None:
        """Take in what was done to the network."""
        node, text = described(fault)
        self.note(at, "fault", node, text)

    def ended(self, program: str, ending: Ending) -> None:
        """Take in how a program ended."""
        self.endings[program] = ending
        how = "was ended" if ending.status is None else f"exited with status {ending.status}"
        self.note(ending.at, "program", program, how)

    def note(
        self, at: float, kind: Literal["program", "fault", "report", "problem"], subject: str, text: str
    ) -> None:
        """Add a line to the timeline."""
        if len(self.entries) < MAX_ENTRIES:
            self.entries.append(Entry(at=at, kind=kind, subject=subject, text=text))
        else:
            self.entries_left_out += 1


def described(fault: Fault) -> tuple[str, str]:
    """Return what a fault is about and what it does, in words."""
    said: dict[str, object] = msgspec.to_builtins(fault)
    word = str(said.pop("do"))
    subject = said.pop("node", None) or said.pop("process", None) or "network"
    details = ", ".join(f"{key} {_plain(value)}" for key, value in said.items() if value is not None)
    return str(subject), f"{word} {details}".rstrip()


def _plain(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
