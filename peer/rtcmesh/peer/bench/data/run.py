"""All rounds of a run: each contender in turn, so that a machine that slows down slows all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack

import msgspec

from rtcmesh.netem.real import LaboratoryUnavailable
from rtcmesh.peer.bench.page import provenance

from .contenders import Contender, Kind
from .networks import Field, Network
from .pair import ContestFailed, Pair, StackFailed
from .works import Effort, begin, does

TRIES = 2
"""How often a piece of work is begun that a stack refuses at once: some lose races within themselves."""


class Outcome(msgspec.Struct, frozen=True):
    """One contest."""

    round: int
    network: str
    contender: str
    work: str
    figures: dict[str, float]
    """Empty if it failed."""
    failure: str = ""


class Run(msgspec.Struct, frozen=True):
    """Everything that was measured, with what must be known to judge it."""

    command: str
    date: str
    machine: str
    versions: dict[str, str]
    outcomes: list[Outcome]

    @property
    def rounds(self) -> int:
        """How many rounds are over."""
        return max((outcome.round for outcome in self.outcomes), default=0)


class Plan(msgspec.Struct, frozen=True):
    """What is to be measured."""

    contenders: Sequence[Contender]
    networks: Sequence[Network]
    works: Sequence[str]
    rounds: int
    effort: Effort


def begin_run(command: str) -> Run:
    """Return a run in which nothing was measured yet."""
    source = provenance("aiortc", "aioice", "aiolibdatachannel", "wrtc")
    return Run(command, source.date, source.machine, source.versions, [])


async def continue_run(
    run: Run, plan: Plan, progress: Callable[[str], None], keep: Callable[[Run], None]
) -> None:
    """Hold the contests of all rounds that are missing; keep the run after each. What fails is an outcome too."""
    for number in range(run.rounds + 1, plan.rounds + 1):
        outcomes: list[Outcome] = []
        for group, networks in groups(plan):
            contests = Contests(plan, number, group, networks, progress)
            await contests.hold()
            outcomes += contests.outcomes
        run.outcomes.extend(outcomes)
        keep(run)


def groups(plan: Plan) -> Iterator[tuple[list[Contender], list[Network]]]:
    """Yield who is measured at the same time, and where.

    On links that lose packets other stacks send so little that all of them together leave the processors idle: they
    share the time, each on links of its own. Otherwise everyone is alone.
    """
    for impaired in (False, True):
        networks = [network for network in plan.networks if network.impaired is impaired]
        alone = [one for one in plan.contenders if not impaired or one.kind is not Kind.OTHER]
        together = [one for one in plan.contenders if one not in alone]
        if networks:
            yield from (([contender], networks) for contender in alone)
            if together:
                yield together, networks


class Contests:
    """What one group does in one round."""

    def __init__(
        self,
        plan: Plan,
        number: int,
        group: Sequence[Contender],
        networks: Sequence[Network],
        progress: Callable[[str], None],
    ) -> None:
        self.outcomes: list[Outcome] = []
        self._plan = plan
        self._number = number
        self._group = group
        self._networks = networks
        self._progress = progress

    async def hold(self) -> None:
        """Hold them, network by network and work by work."""
        todo = [
            (network, work, [one for one in self._group if does(one, work, network, self._number)])
            for network in self._networks
            for work in self._plan.works
        ]
        async with AsyncExitStack() as stack:
            ends: dict[str, tuple[Field, Pair]] = {}
            for network, work, contenders in todo:
                if not contenders:
                    continue
                names = ", ".join(one.name for one in contenders)
                self._progress(
                    f"round {self._number} of {self._plan.rounds}: {names}: {work}, {network.name}"
                )
                try:
                    for one in contenders:
                        if one.name not in ends:
                            field = await stack.enter_async_context(network.open())
                            pair = Pair(one, field.places)
                            stack.push_async_callback(pair.stop)
                            ends[one.name] = field, pair
                except LaboratoryUnavailable as error:
                    self.outcomes += [self._failed(one, work, network, error) for one in contenders]
                    continue
                chosen = [ends[one.name] for one in contenders]
                self.outcomes += await asyncio.gather(
                    *(self._attempt(field, pair, work, network) for field, pair in chosen)
                )

    async def _attempt(
        self, field: Field, pair: Pair, work: str, network: Network, tries: int = TRIES
    ) -> Outcome:
        try:
            await field.become(network)
            figures = msgspec.to_builtins(await begin(pair, work, network, self._plan.effort))
        except StackFailed as error:
            if tries > 1:
                return await self._attempt(field, pair, work, network, tries - 1)
            return self._failed(pair.contender, work, network, error)
        except ContestFailed as error:
            return self._failed(pair.contender, work, network, error)
        return Outcome(self._number, network.name, pair.contender.name, work, figures)

    def _failed(self, contender: Contender, work: str, network: Network, error: Exception) -> Outcome:
        failure = str(error).splitlines()[0]
        return Outcome(self._number, network.name, contender.name, work, {}, failure)
