"""Whether a run was as expected, and if not, what it was instead."""

from __future__ import annotations

from typing import assert_never

import msgspec

from rtcmesh.netem.faults import Direction

from .account import Account
from .words import Counted, Delivered, Exits, Expectation, OnPath, Packets, Silence


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one expectation."""

    expected: Expectation
    met: bool
    was: str
    """What was seen, in words."""


def judge(expected: Expectation, account: Account) -> Verdict:
    """Hold an expectation against what was seen."""
    met, was = _judged(expected, account)
    return Verdict(expected=expected, met=met, was=was)


def _judged(expected: Expectation, account: Account) -> tuple[bool, str]:
    match expected:
        case Exits():
            return _exits(expected, account)
        case Silence():
            return _silence(expected, account)
        case Delivered():
            return _delivered(expected, account)
        case OnPath():
            return _on_path(expected, account)
        case Counted():
            return _counted(expected, account)
        case Packets():
            return _packets(expected, account)
        case _:
            assert_never(expected)


def _exits(expected: Exits, account: Account) -> tuple[bool, str]:
    ending = account.endings.get(expected.program)
    if ending is None:
        return False, f"{expected.program} never started"
    if ending.status is None:
        return False, f"{expected.program} still ran after {ending.at:.3g} s"
    error = f": {ending.error}" if ending.error else ""
    return (
        ending.status == expected.status,
        f"{expected.program} exited with status {ending.status} at {ending.at:.3f} s{error}",
    )


def _silence(expected: Silence, account: Account) -> tuple[bool, str]:
    program = expected.program
    ending = account.endings.get(program)
    end = ending.at if ending is not None else account.ended_at
    if expected.until is not None:
        end = min(end, expected.until)
    since = expected.since if expected.since is not None else 0.0
    times = [at for at in account.messages.get(program, ()) if since <= at <= end]
    if expected.since is not None:
        times = [expected.since, *times]
    if not times:
        return False, f"{program} had no message at all"
    gaps = [(later - earlier, earlier) for earlier, later in zip(times, [*times[1:], end], strict=True)]
    longest, begun = max(gaps)
    return longest <= expected.at_most, f"{program} was silent for {longest:.3f} s from {begun:.3f} s on"


def _delivered(expected: Delivered, account: Account) -> tuple[bool, str]:
    times = account.messages.get(expected.program, ())
    count = len(times) if expected.by is None else sum(at <= expected.by for at in times)
    by = "" if expected.by is None else f" by {expected.by:g} s"
    return _between(
        count, expected.at_least, expected.at_most
    ), f"{expected.program} had {count} messages{by}"


def _on_path(expected: OnPath, account: Account) -> tuple[bool, str]:
    at = float("inf") if expected.at is None else expected.at
    paths = [path for since, path in account.paths.get(expected.program, ()) if since <= at]
    if not paths:
        return False, f"{expected.program} reported no path"
    return paths[-1] == expected.path, f"{expected.program} was on the path {paths[-1]}"


def _counted(expected: Counted, account: Account) -> tuple[bool, str]:
    counts = account.counts.get(expected.program, {})
    if expected.name not in counts:
        return False, f"{expected.program} reported no count of {expected.name}"
    count = counts[expected.name]
    return (
        _between(count, expected.at_least, expected.at_most),
        f"{expected.program} counted {count:g} {expected.name}",
    )


def _packets(expected: Packets, account: Account) -> tuple[bool, str]:
    ways = ("up", "down") if expected.direction is Direction.BOTH else (expected.direction.value,)
    counters = account.counters.get(expected.node, {})
    count = sum(counters.get(way, {}).get(expected.fate, 0) for way in ways)
    return (
        _between(count, expected.at_least, expected.at_most),
        f"{count} packets were {expected.fate} at {expected.node}",
    )


def _between(value: float, at_least: float | None, at_most: float | None) -> bool:
    return (at_least is None or value >= at_least) and (at_most is None or value <= at_most)
