"""The record of a run: a directory that is there as a whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import msgspec

from rtcmesh.netem.pcapng import captured, interface, section

from .account import Counters, Ending, Entry
from .errors import RecordFailed, RecordInvalid
from .meter import Sample
from .verdict import Verdict

RUN_FILE, SCENARIO_FILE, CAPTURE_FILE = "run.json", "scenario.toml", "packets.pcapng"

MAX_CAPTURE_BYTES = 64 * 1024 * 1024
"""How large a capture may become; what comes later is left out, and the run says so."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What happened in a run, and what is to be thought of it."""

    format: Literal[1] = 1
    title: str
    backend: str
    seed: int
    seconds: float
    """How long it took, on the clock of its network."""
    invalid: str = ""
    """Why it says nothing about the programs: the machine was overloaded, for instance."""
    entries: list[Entry] = []
    verdicts: list[Verdict] = []
    endings: dict[str, Ending] = {}
    counters: Counters = {}
    """What became of packets: by node, by `up` or `down`, by fate."""
    interval: float = 0.0
    """The length in seconds of what a sample covers."""
    samples: list[Sample] = []
    captured_packets: int = 0
    uncaptured_packets: int = 0
    """Those for which there was no room in the capture."""

    @property
    def outcome(self) -> Literal["passed", "failed", "invalid"]:
        """What is to be thought of it."""
        if self.invalid:
            return "invalid"
        return "passed" if all(verdict.met for verdict in self.verdicts) else "failed"


def load_run(path: Path) -> Run:
    """Read the record of a run, from its directory or its file. Raises `RecordInvalid`, and OSError."""
    file = path / RUN_FILE if path.is_dir() else path
    try:
        return msgspec.json.decode(file.read_bytes(), type=Run)
    except msgspec.DecodeError as error:
        raise RecordInvalid(f"{file} is no record of a run: {error}") from None


class Capture:
    """Packets on their way into a file, up to a size. What the file system refuses is told when it is closed."""

    def __init__(self, path: Path, max_bytes: int = MAX_CAPTURE_BYTES) -> None:
        self.packets = 0
        self.left_out = 0
        self._file = path.open("wb")
        self._error: OSError | None = None
        self._links: dict[str, int] = {}
        self._room = max_bytes
        self._write(section("rtcmesh netem"))

    def add(self, link: str, at: float, data: bytes, comment: str = "") -> None:
        """Write a packet, from its IP header on, that was seen on a link; or count it, when the file is full."""
        if self._room <= 0:
            self.left_out += 1
            return
        if link not in self._links:
            self._links[link] = len(self._links)
            self._write(interface(link))
        self._write(captured(self._links[link], at, data, comment=comment))
        self.packets += 1

    def close(self) -> None:
        """Finish the file. Raises OSError when some of it could not be written."""
        try:
            self._file.close()
        except OSError as error:
            self._error = self._error or error
        if self._error is not None:
            raise self._error

    def _write(self, block: bytes) -> None:
        self._room -= len(block)
        try:
            self._file.write(block)
        except OSError as error:  # it is not the program that happens to send which should hear of it
            self._error = self._error or error
            self._room = 0


_HIDDEN = ".netem-"
"""How the name of a directory begins that is not finished; the number of its process follows."""


def _sweep(parent: Path) -> None:
    """Remove what processes have left that are no more."""
    for left in parent.glob(f"{_HIDDEN}*-*"):
        number = left.name.removeprefix(_HIDDEN).partition("-")[0]
        if number.isdigit() and not _is_alive(int(number)):
            shutil.rmtree(left, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


class RunDirectory:
    """A directory that gets its name when everything is in it, and vanishes when that fails.

    Raises `RecordFailed` for whatever the file system refuses. Two that are made at once do not disturb each other.
    What a run left that was killed is removed by the next one in the same place.
    """

    def __init__(self, parent: Path, name: str) -> None:
        self._parent = parent
        self._name = name
        self.path: Path | None = None
        """Where it is, once it is finished."""

    def __enter__(self) -> Self:
        try:
            self._parent.mkdir(parents=True, exist_ok=True)
            _sweep(self._parent)
            self._hidden = Path(tempfile.mkdtemp(prefix=f"{_HIDDEN}{os.getpid()}-", dir=self._parent))
            self.capture = Capture(self._hidden / CAPTURE_FILE)
        except OSError as error:
            raise RecordFailed(str(self._parent), error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self.capture.close()
        if self.path is None:
            shutil.rmtree(self._hidden, ignore_errors=True)

    def finish(self, run: Run, scenario: str, logs: dict[str, str]) -> Path:
        """Write everything, and return where it is."""
        try:
            self.capture.close()
            (self._hidden / RUN_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(run)))
            (self._hidden / SCENARIO_FILE).write_text(scenario, encoding="utf-8")
            for program, log in logs.items():
                (self._hidden / f"{program}.log").write_text(log, encoding="utf-8")
            self._hidden.chmod(0o755)
            self.path = self._rename()
        except OSError as error:
            raise RecordFailed(str(self._parent), error) from error
        return self.path

    def _rename(self) -> Path:
        """Give the directory the next free name; renaming onto one that has files in it fails, whoever is first."""
        number = 1
        while True:
            path = self._parent / f"{self._name}-{number}"
            if not path.exists():
                try:
                    os.rename(self._hidden, path)  # noqa: PTH104  (Path.rename would replace an empty one)
                except OSError:
                    if not path.exists():
                        raise
                else:
                    return path
            number += 1
