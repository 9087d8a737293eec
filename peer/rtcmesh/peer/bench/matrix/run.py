"""Makes the network, lets every pair meet, then has gateways forget their mappings."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from rtcmesh.netem.errors import NetemError
from rtcmesh.netem.faults import Rebind
from rtcmesh.netem.real import RealHost, RealTopology, real_topology
from rtcmesh.netem.real.coturn import Coturn, start_coturn
from rtcmesh.signaling.messages import IceServer

from .behind import ONE, OTHER, SERVER, Pair, can_be_direct, host_of, network, outermost
from .words import Ask, Heard, Join, Joined, Mark, Order, Reached, Ready, State, Told

PORT = 80
START_TIMEOUT = 180.0
PATIENCE = 4
"""How many times as long is waited for a direct path where there must be one."""

MEETING_TIMEOUT = 180.0
"""How long a pair may take until both have heard each other, in seconds: fourteen peers make a machine busy."""

AGREEMENT_TIME = 4.0
"""How long two ends may take to agree on a pair of candidates; what works first carries until then."""

T = TypeVar("T")


class Meeting(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a pair."""

    one: str
    other: str
    path: str
    """`host/srflx` and the like: the candidates of a direct path as the other end sees them, that of the first peer
    first; `relay` is one of a TURN server. `our relay` where there was no direct path."""
    first_message: float
    """Seconds from when both were in the room until both had heard the other."""
    direct_after: float | None
    """Seconds from then until both used a direct path; None where they never did."""
    rebound: Rebound | None = None
    """What came of it when the first one's gateway forgot its mappings; None where there is none."""


class Rebound(msgspec.Struct, frozen=True, kw_only=True):
    """What a rebinding did to a conversation."""

    silence: float
    """The longest one, in seconds."""
    path: str
    """How both reached each other after that."""
    wrong: int
    """How many messages were lost, repeated or out of order."""


class EndFailed(NetemError):
    """A process of the matrix ended; its standard error says why."""


@dataclass
class Side:
    """One peer of a pair."""

    joined_at: float = 0.0
    heard_at: float = 0.0
    direct_at: float | None = None
    path: str = "none"
    state: State | None = None


@dataclass
class End:
    """A process on a host, and what it has told so far."""

    process: Process
    sides: dict[str, Side] = field(default_factory=dict[str, Side])
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    is_ready: bool = False
    has_ended: bool = False

    def order(self, order: Order) -> None:
        """Tell it something."""
        assert self.process.stdin is not None, "it was started with pipes"
        self.process.stdin.write(msgspec.json.encode(order) + b"\n")

    async def listen(self) -> None:
        """Note what it tells until it ends."""
        assert self.process.stdout is not None, "it was started with pipes"
        async for line in self.process.stdout:
            self._note(msgspec.json.decode(line, type=Told))
            async with self.changed:
                self.changed.notify_all()
        self.has_ended = True
        async with self.changed:
            self.changed.notify_all()

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until that holds. Raises `EndFailed`."""
        async with self.changed:
            await self.changed.wait_for(lambda: is_so() or self.has_ended)
        if not is_so():
            raise EndFailed(f"a peer ended with status {await self.process.wait()}")

    def _note(self, told: Told) -> None:
        if isinstance(told, Ready):
            self.is_ready = True
            return
        side = self.sides[told.room]
        match told:
            case Joined(at=at):
                side.joined_at = at
            case Heard(at=at):
                side.heard_at = at
            case Reached(at=at, path=path):
                side.path = path
                side.direct_at = at if path == "direct" else None
            case State():
                side.state = told


class Matrix:
    """A network on which pairs meet."""

    def __init__(self, lab: RealTopology, ends: dict[str, End], settle: float, *, turn: bool) -> None:
        self._lab = lab
        self._ends = ends
        self._settle = settle
        self._turn = turn

    async def meet(self, pair: Pair) -> Meeting:
        """Have a pair meet, and wait for a direct path, which `look` names later.

        Raises TimeoutError when they do not hear each other.
        """
        room = _room(pair)
        ends = self._ends_of(pair)
        for end in ends:
            end.sides[room] = Side()
            end.order(Join(room))
        sides = [end.sides[room] for end in ends]
        async with asyncio.timeout(MEETING_TIMEOUT):
            for end, side in zip(ends, sides, strict=True):
                await end.until(lambda side=side: side.heard_at > 0)  # type: ignore[misc]
        both_joined = max(side.joined_at for side in sides)
        try:
            async with asyncio.timeout(self._settle * (PATIENCE if self._turn or can_be_direct(pair) else 1)):
                for end, side in zip(ends, sides, strict=True):
                    await end.until(lambda side=side: side.direct_at is not None)  # type: ignore[misc]
        except TimeoutError:
            direct_after = None
        else:
            direct_after = max(side.direct_at or 0.0 for side in sides) - both_joined
        return Meeting(
            one=pair[0],
            other=pair[1],
            path="none",
            first_message=max(side.heard_at for side in sides) - both_joined,
            direct_after=direct_after,
        )

    async def look(self, meetings: Sequence[Meeting]) -> list[Meeting]:
        """Name the paths of pairs that have met, after their ends have agreed on them."""
        await asyncio.sleep(AGREEMENT_TIME)
        paths = await self._paths([(meeting.one, meeting.other) for meeting in meetings])
        return [
            msgspec.structs.replace(meeting, path=paths[meeting.one, meeting.other]) for meeting in meetings
        ]

    async def rebind(self, meetings: Sequence[Meeting]) -> list[Meeting]:
        """Have the gateways of all first ends forget their mappings, and look what came of it some time later."""
        for end in self._ends.values():
            end.order(Mark())
        gateways = dict.fromkeys(outermost(meeting.one, ONE) for meeting in meetings)
        for gateway in gateways:
            if gateway is not None:
                await self._lab.apply(Rebind(node=gateway))
        await asyncio.sleep(self._settle)
        pairs = [(meeting.one, meeting.other) for meeting in meetings]
        paths = await self._paths(pairs)
        return [
            msgspec.structs.replace(meeting, rebound=self._rebound(pair, paths[pair]))
            if outermost(meeting.one, ONE)
            else meeting
            for meeting, pair in zip(meetings, pairs, strict=True)
        ]

    def _rebound(self, pair: Pair, path: str) -> Rebound:
        states = [state for end in self._ends_of(pair) if (state := end.sides[_room(pair)].state)]
        return Rebound(
            silence=max(state.longest_gap for state in states),
            path=path,
            wrong=sum(state.wrong for state in states),
        )

    async def _paths(self, pairs: Sequence[Pair]) -> dict[Pair, str]:
        """Ask both ends of pairs how they reach each other now."""
        asked = [(end, end.sides[_room(pair)], _room(pair)) for pair in pairs for end in self._ends_of(pair)]
        for end, side, room in asked:
            side.state = None
            end.order(Ask(room))
        async with asyncio.timeout(MEETING_TIMEOUT):
            for end, side, _ in asked:
                await end.until(lambda side=side: side.state is not None)  # type: ignore[misc]
        return {pair: self._path(pair) for pair in pairs}

    def _path(self, pair: Pair) -> str:
        one, other = (end.sides[_room(pair)].state for end in self._ends_of(pair))
        assert one is not None, "it was asked for"
        assert other is not None, "it was asked for"
        if one.path == other.path == "direct":
            return f"{other.remote_candidate}/{one.remote_candidate}"  # each is known by how the other one sees it
        return "our relay" if "relayed" in {one.path, other.path} else "none"

    def _ends_of(self, pair: Pair) -> tuple[End, End]:
        return self._ends[host_of(pair[0], ONE)], self._ends[host_of(pair[1], OTHER)]


def _room(pair: Pair) -> str:
    return " and ".join(pair).replace(" ", "-")


async def run_matrix(
    pairs: Sequence[Pair], *, turn: bool, settle: float, jobs: int, progress: Callable[[str], None]
) -> list[Meeting]:
    """Have these pairs meet, some at once, and then rebind. `settle` is for how long a direct path is waited for.

    Raises `LaboratoryUnavailable`, and TimeoutError when a pair never heard each other.
    """
    async with _matrix(pairs, turn=turn, settle=settle) as matrix:
        slots = asyncio.Semaphore(jobs)

        async def meet(pair: Pair) -> Meeting:
            async with slots:
                progress(f"{pair[0]} and {pair[1]}")
                return await matrix.meet(pair)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(meet(pair)) for pair in pairs]
        met = await matrix.look([task.result() for task in tasks])
        progress("rebinding")
        return await matrix.rebind(met)


@asynccontextmanager
async def _matrix(pairs: Sequence[Pair], *, turn: bool, settle: float) -> AsyncGenerator[Matrix]:
    topology = network(pairs)
    async with real_topology(topology) as lab:
        coturn = await start_coturn(lab.host(SERVER))
        url = await _serve(lab.host(SERVER), coturn, turn=turn)
        ends = {
            name: End(
                await host.spawn(
                    *(sys.executable, "-m", "rtcmesh.peer.bench.matrix.end", url), stdin=PIPE, stdout=PIPE
                )
            )
            for name, host in lab.hosts.items()
            if name != SERVER
        }
        listening = [asyncio.create_task(end.listen()) for end in ends.values()]
        try:
            async with asyncio.timeout(START_TIMEOUT):
                for end in ends.values():
                    await end.until(lambda end=end: end.is_ready)  # type: ignore[misc]
            yield Matrix(lab, ends, settle, turn=turn)
        finally:
            for task in listening:
                task.cancel()
            await asyncio.gather(*listening, return_exceptions=True)


async def _serve(host: RealHost, coturn: Coturn, *, turn: bool) -> str:
    urls = coturn.urls if turn else coturn.urls[:1]
    servers = [IceServer(urls=urls, username=coturn.username, credential=coturn.credential)]
    program = await host.spawn(
        *(sys.executable, "-m", "rtcmesh.peer.bench.matrix.servers", host.address, str(PORT)),
        msgspec.json.encode(servers).decode(),
        stdout=PIPE,
    )
    assert program.stdout is not None, "it was started with pipes"
    async with asyncio.timeout(START_TIMEOUT):
        return (await program.stdout.readline()).decode().strip()
