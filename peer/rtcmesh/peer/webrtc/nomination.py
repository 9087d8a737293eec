"""Which of the pairs that work is nominated, and when (RFC 8445 section 8.1.1).

    no valid pair ──a check succeeds──▶ weighing ──no better pair can come, or time is up──▶ the best valid pair
          ▲                                │
          └────── none is left ────────────┘

No state is kept: the check list says everything. What is weighed carries already, so that a wait costs no time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Generic, TypeVar

PairT = TypeVar("PairT")

DIRECT_PATIENCE = 0.25
"""How long a better pair is waited for once a direct one works, beside two round trips.

A check is sent three times within it, by both ends: 10 % loss each way stop one in twenty thousand such pairs.
"""

RELAYED_PATIENCE = 1.0
"""The same, once a pair works that leads through a TURN server, beside four round trips.

A relay answers first if a server says late where a peer is seen from, or if a NAT dropped the first checks because its
own peer had not yet sent. So there is time for a server to be asked three times, for the candidate to be signaled, for
25 checks to begin one after another, and for each to be sent three times.
"""

MAX_ROUND_TRIP = 0.5
"""More is not believed: a check that was repeated took longer than the path does."""


class Reach(Enum):
    """What lies between the ends of a pair."""

    HOSTS = auto()
    """Nothing that a server would have to tell: no pair that is found later can be better."""
    DIRECT = auto()
    RELAYED = auto()
    """A TURN server, at one end or both."""


@dataclass(frozen=True, slots=True)
class Validity:
    """What a check that succeeded showed."""

    since: float
    round_trip: float


@dataclass(frozen=True, slots=True)
class Check(Generic[PairT]):
    """A pair that works, or may still turn out to."""

    pair: PairT
    priority: int
    """Of the pair; higher is better (RFC 8445 section 6.1.2.3)."""
    reach: Reach
    validity: Validity | None
    """None while there is no answer."""


@dataclass(frozen=True, slots=True)
class Weighed(Generic[PairT]):
    """What a check list says."""

    best: PairT | None
    """The best pair that works, to send over; None if none does."""
    decide_at: float | None
    """When it is nominated if nothing changes, perhaps in the past; None if there is no such pair."""


def weigh(checks: Iterable[Check[PairT]], *, more_expected: bool) -> Weighed[PairT]:
    """Return the best valid pair, and when to nominate it: at once when no better one can come, else soon.

    Soon is `RELAYED_PATIENCE` and four round trips after the first pair worked at all, and `DIRECT_PATIENCE` and two
    after the first one that is not relayed did. With `more_expected`, candidates are still to come.
    """
    checks = list(checks)
    valid = [(check, check.validity) for check in checks if check.validity is not None]
    if not valid:
        return Weighed(None, None)
    best, validity = max(valid, key=lambda each: each[0].priority)
    is_better_pending = any(check.validity is None and check.priority > best.priority for check in checks)
    if is_better_pending or (more_expected and best.reach is not Reach.HOSTS):
        return Weighed(best.pair, min(_patient_until(check.reach, shown) for check, shown in valid))
    return Weighed(best.pair, validity.since)


def _patient_until(reach: Reach, shown: Validity) -> float:
    round_trip = min(shown.round_trip, MAX_ROUND_TRIP)
    if reach is Reach.RELAYED:
        return shown.since + RELAYED_PATIENCE + 4 * round_trip
    return shown.since + DIRECT_PATIENCE + 2 * round_trip
