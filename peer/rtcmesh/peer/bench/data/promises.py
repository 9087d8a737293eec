"""What is promised of data channels, and what a run says of it: ratios of medians within the run."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from math import inf

from .contenders import (
    BARE,
    BULK,
    COALESCED,
    CONTENDERS,
    IDLE,
    LARGE,
    OURS,
    PING_PONG,
    SAFE,
    SESSION,
    SMALL,
    WORKS,
    Contender,
    Kind,
)
from .figures import values_of
from .networks import LOOPBACK, LOSSY, Network
from .run import Run

_ONE_PERCENT, _FIVE_PERCENT, _TEN_PERCENT = LOSSY
_OTHERS = tuple(contender.name for contender in CONTENDERS if contender.kind is Kind.OTHER)


class Beside(Enum):
    """What our figure is divided by."""

    AIORTC = auto()
    BEST = auto()
    """The best of the other stacks."""
    NOTHING = auto()


@dataclass(frozen=True, kw_only=True)
class Promise:
    """A figure that is wanted."""

    what: str
    works: Sequence[str]
    """Where the figure comes from; those of several are put together."""
    key: str
    wanted: float
    at_least: bool = True
    """Whether more is better."""
    beside: Beside
    contender: Contender = OURS
    network: Network = LOOPBACK
    summary: Callable[[Sequence[float]], float] = statistics.median

    def keeps(self, value: float) -> bool:
        """Tell whether the promise is kept."""
        return value >= self.wanted if self.at_least else value <= self.wanted


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a run says of a promise."""

    promise: Promise
    ours: float
    other: str
    """Whose figure ours is divided by; empty for none."""
    others: float
    value: float
    """The ratio, or our figure where it is promised by itself."""

    @property
    def kept(self) -> bool:
        """Whether the promise is kept."""
        return self.promise.keeps(self.value)


def _lossy_bulk(network: Network) -> Promise:
    return Promise(
        what=f"bulk, {network.name}",
        works=(BULK,),
        key="mbit_per_second",
        beside=Beside.BEST,
        wanted=20,
        network=network,
    )


_MBIT, _MESSAGES = "mbit_per_second", "messages_per_second"
PROMISES: Sequence[Promise] = (
    Promise(what="bulk 16 KiB", works=(BULK,), key=_MBIT, beside=Beside.AIORTC, wanted=12, contender=SAFE),
    Promise(what="bulk 16 KiB", works=(BULK,), key=_MBIT, beside=Beside.BEST, wanted=1, contender=SAFE),
    Promise(
        what="bulk 16 KiB, large packets",
        works=(BULK,),
        key=_MBIT,
        beside=Beside.BEST,
        wanted=3,
        contender=LARGE,
    ),
    Promise(
        what="messages of 64 B",
        works=(SMALL,),
        key=_MESSAGES,
        beside=Beside.AIORTC,
        wanted=50,
        contender=SAFE,
    ),
    Promise(
        what="messages of 64 B", works=(SMALL,), key=_MESSAGES, beside=Beside.BEST, wanted=1, contender=SAFE
    ),
    Promise(
        what="messages of 64 B, the same coalescing",
        works=(COALESCED,),
        key=_MESSAGES,
        beside=Beside.BEST,
        wanted=1,
    ),
    Promise(
        what="messages of 64 B, coalesced by the session",
        works=(COALESCED,),
        key=_MESSAGES,
        beside=Beside.BEST,
        wanted=1,
        contender=SESSION,
    ),
    Promise(
        what="ping-pong p50, ms",
        works=(PING_PONG,),
        key="p50_ms",
        beside=Beside.AIORTC,
        wanted=1,
        at_least=False,
    ),
    Promise(
        what="CPU s/GB, bulk 16 KiB",
        works=(BULK,),
        key="cpu_seconds_per_gb",
        beside=Beside.AIORTC,
        wanted=0.1,
        at_least=False,
        contender=SAFE,
    ),
    *(_lossy_bulk(network) for network in LOSSY),
    Promise(
        what=f"longest stall, s, {_TEN_PERCENT.name}",
        works=(BULK,),
        key="longest_gap",
        beside=Beside.NOTHING,
        wanted=1,
        at_least=False,
        network=_TEN_PERCENT,
        summary=max,
    ),
    Promise(
        what=f"ping-pong p99, ms, {_FIVE_PERCENT.name}",
        works=(PING_PONG,),
        key="p99_ms",
        beside=Beside.BEST,
        wanted=0.5,
        at_least=False,
        network=_FIVE_PERCENT,
    ),
    Promise(
        what="connecting, s",
        works=WORKS,
        key="connect_seconds",
        beside=Beside.AIORTC,
        wanted=1,
        at_least=False,
    ),
    Promise(
        what=f"connecting, s, {_FIVE_PERCENT.name}",
        works=(BULK, PING_PONG),
        key="connect_seconds",
        beside=Beside.NOTHING,
        wanted=1,
        at_least=False,
        network=_FIVE_PERCENT,
    ),
    Promise(
        what="memory of an idle connection, KB",
        works=(IDLE,),
        key="kb_per_connection",
        beside=Beside.AIORTC,
        wanted=1,
        at_least=False,
    ),
    Promise(
        what="CPU of idle connections, ms/s",
        works=(IDLE,),
        key="cpu_ms_per_second",
        beside=Beside.AIORTC,
        wanted=1,
        at_least=False,
    ),
)


def verdicts_of(run: Run) -> Iterator[Verdict]:
    """Yield what the run says of each promise that it says anything of."""
    for promise in PROMISES:
        ours = _figure_of(run, promise, promise.contender.name)
        if ours is None:
            continue
        if promise.beside is Beside.NOTHING:
            yield Verdict(promise=promise, ours=ours, other="", others=0.0, value=ours)
            continue
        names = (BARE.name,) if promise.beside is Beside.AIORTC else _OTHERS
        figures = {name: figure for name in names if (figure := _figure_of(run, promise, name)) is not None}
        if not figures:
            continue
        best = max if promise.at_least else min
        other = best(figures, key=lambda name: figures[name])
        others = figures[other]
        value = ours / others if others else inf  # a stack that stalled for as long as was measured
        yield Verdict(promise=promise, ours=ours, other=other, others=others, value=value)


def _figure_of(run: Run, promise: Promise, contender: str) -> float | None:
    values = values_of(
        [
            outcome
            for outcome in run.outcomes
            if outcome.contender == contender
            and outcome.network == promise.network.name
            and outcome.work in promise.works
        ],
        promise.key,
    )
    return promise.summary(values) if values else None
