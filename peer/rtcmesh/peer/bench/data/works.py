"""The pieces of work, how long each takes on which network, and who does it where."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from .contenders import BULK, COALESCED, IDLE, LARGE_BULK, PING_PONG, SMALL, Contender
from .contest import Bulk, Idle, PingPong, Stream, run_bulk, run_idle, run_ping
from .networks import Network
from .pair import Pair

SMALL_BYTES = 64

SENDS_PER_TURN = 256
COALESCED_PER_TURN = 4096
"""A quarter of a megabyte: a turn that was shorter would leave larger messages unfilled."""

SETTLE = 0.3
SETTLE_IMPAIRED = 1.0
"""A congestion window needs a while to grow where there is a round trip to wait for."""

IMPAIRED_BULK_TIMES = 2
IMPAIRED_PING_TIMES = 3
"""How many times as long is measured there: a second has few round trips."""

PING_LOSS = 0.05
"""Where ping-pong is measured on links that lose packets."""

IDLE_ROUNDS = 3
"""In how many rounds connections are left idle, which takes long and varies little."""

Figures = Bulk | PingPong | Idle


class Effort(msgspec.Struct, frozen=True):
    """How much of everything."""

    seconds: float
    """How long each figure is measured on the loopback interface."""
    connections: int
    """How many are left idle."""


def does(contender: Contender, work: str, network: Network, number: int) -> bool:
    """Tell whether a contender has this work to do there in this round."""
    if network.impaired:
        return work in contender.works_impaired and (work != PING_PONG or network.loss == PING_LOSS)
    return work in contender.works and (work != IDLE or number <= IDLE_ROUNDS)


def begin(pair: Pair, work: str, network: Network, effort: Effort) -> Awaitable[Figures]:
    """Let a contender do a piece of work."""
    return _WORKS[work](pair, network, effort)


def _bulk(stream: Stream) -> Callable[[Pair, Network, Effort], Awaitable[Figures]]:
    def begin_bulk(pair: Pair, network: Network, effort: Effort) -> Awaitable[Figures]:
        settle, times = (SETTLE_IMPAIRED, IMPAIRED_BULK_TIMES) if network.impaired else (SETTLE, 1)
        return run_bulk(pair, stream, settle=settle, seconds=times * effort.seconds)

    return begin_bulk


def _ping(pair: Pair, network: Network, effort: Effort) -> Awaitable[Figures]:
    times = IMPAIRED_PING_TIMES if network.impaired else 1
    return run_ping(pair, seconds=times * effort.seconds)


def _idle(pair: Pair, network: Network, effort: Effort) -> Awaitable[Figures]:
    del network
    return run_idle(pair, connections=effort.connections)


_WORKS: dict[str, Callable[[Pair, Network, Effort], Awaitable[Figures]]] = {
    BULK: _bulk(Stream(16 * 1024, SENDS_PER_TURN)),
    LARGE_BULK: _bulk(Stream(64 * 1024, SENDS_PER_TURN)),
    SMALL: _bulk(Stream(SMALL_BYTES, SENDS_PER_TURN)),
    COALESCED: _bulk(Stream(SMALL_BYTES, COALESCED_PER_TURN, coalesced=True)),
    PING_PONG: _ping,
    IDLE: _idle,
}

ALL_WORKS = tuple(_WORKS)
