"""Traces that others recorded, from files that the user has.

A rate: mahimahi's format, or CSV with a header, each line a moment and the rate from then on.

    0                 at_seconds,kbit_per_second
    4                 0,12000
    4                 1.5,800
    11                3,12000

A loss: a character for each packet, `.` or `0` for one that arrives, `x` or `1` for one that is lost; spaces and line
ends count for nothing.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Sequence
from pathlib import Path

from .models.loss import ARRIVES, LOST, LossPattern
from .models.rate_trace import DeliveryOpportunities, RateStep, RateSteps, RateTrace
from .typed_toml import DocumentInvalid

AT = "at_seconds"
UNITS = {
    "bytes_per_second": 1.0,
    "bit_per_second": 1 / 8,
    "kbit_per_second": 125.0,
    "mbit_per_second": 125_000.0,
}
"""The names that the second column may have, with what each is in bytes a second."""

_LOSSES = {".": ARRIVES, "0": ARRIVES, "x": LOST, "1": LOST}


def load_rate(path: Path) -> RateTrace:
    """Read a rate. Raises `DocumentInvalid`, which names file and line, or OSError."""
    return read_rate(text_of(path), str(path))


def load_losses(path: Path) -> LossPattern:
    """Read which packets are lost. Raises `DocumentInvalid`, which names file and line, or OSError."""
    pattern: list[str] = []
    for number, line in enumerate(text_of(path).splitlines(), 1):
        for letter in "".join(line.split()):
            if letter not in _LOSSES:
                raise DocumentInvalid(str(path), number, "", f"{letter!r} is none of {' '.join(_LOSSES)}")
            pattern.append(_LOSSES[letter])
    if not pattern:
        raise DocumentInvalid(str(path), 1, "", "there is nothing in it")
    return LossPattern(pattern="".join(pattern))


def read_rate(text: str, file: str) -> RateTrace:
    """Read a rate from what a file holds. Raises `DocumentInvalid`."""
    lines = text.splitlines()
    if not any(line.strip() for line in lines):
        raise DocumentInvalid(file, 1, "", "there is nothing in it")
    return _steps(lines, file) if "," in lines[0] else _opportunities(lines, file)


def text_of(path: Path) -> str:
    """Read a file. Raises `DocumentInvalid` for what is no text, or OSError."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise DocumentInvalid(str(path), 1, "", "this is no text") from None


def _opportunities(lines: Sequence[str], file: str) -> DeliveryOpportunities:
    moments: list[int] = []
    for number, line in enumerate(lines, 1):
        word = line.strip()
        if not (word.isascii() and word.isdigit()):
            raise DocumentInvalid(file, number, "", f"{word!r} is no number of milliseconds")
        if moments and int(word) < moments[-1]:
            raise DocumentInvalid(
                file, number, "", f"{word} comes after {moments[-1]}: moments must not fall"
            )
        moments.append(int(word))
    try:
        return DeliveryOpportunities(milliseconds=tuple(moments))
    except ValueError as error:
        raise DocumentInvalid(file, len(lines), "", str(error)) from None


def _steps(lines: Sequence[str], file: str) -> RateSteps:
    at, unit, *rest = [name.strip() for name in lines[0].split(",")]
    if at != AT or unit not in UNITS or rest:
        raise DocumentInvalid(file, 1, "", f"the header must be {AT} and one of {', '.join(UNITS)}")
    rows = [_row(row, number, file) for number, row in enumerate(csv.reader(lines[1:]), 2)]
    if len(rows) < 2:
        raise DocumentInvalid(file, len(lines), "", "a trace needs two moments at least")
    steps: list[RateStep] = []
    for number, ((start, rate), (end, _)) in enumerate(itertools.pairwise(rows), 3):
        if end <= start:
            raise DocumentInvalid(file, number, AT, f"{end:g} comes after {start:g}: moments must rise")
        steps.append(RateStep(end - start, rate * UNITS[unit]))
    # Nothing says how long the last rate holds: as long as the one before it.
    steps.append(RateStep(steps[-1].seconds, rows[-1][1] * UNITS[unit]))
    try:
        return RateSteps(steps=tuple(steps))
    except ValueError as error:
        raise DocumentInvalid(file, 2, unit, str(error)) from None


def _row(row: Sequence[str], number: int, file: str) -> tuple[float, float]:
    try:
        at, rate = (float(word) for word in row)
    except ValueError:
        raise DocumentInvalid(file, number, "", f"{','.join(row)!r} is not two numbers") from None
    if not (0 <= at < float("inf") and 0 <= rate < float("inf")):
        raise DocumentInvalid(file, number, "", f"{','.join(row)!r}: both must be finite and not negative")
    return at, rate
