"""All contests of a run: each contender in turn, so that a machine that slows down slows all of them."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import msgspec

from rtcmesh.netem.real import LaboratoryUnavailable

from .contenders import Contender
from .contest import Bulk, ContestFailed, Idle, PingPong, run_bulk, run_idle, run_ping
from .networks import Network

SMALL_BYTES = 64

Figures = Bulk | PingPong | Idle


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


class Work(msgspec.Struct, frozen=True):
    """A piece of work and how it is done."""

    name: str
    begin: Callable[[Contender, Network], Awaitable[Figures]]


def works(*, seconds: float, connections: int) -> tuple[Work, ...]:
    """Return all pieces of work; `seconds` each takes, once it runs."""

    def bulk(size: int) -> Callable[[Contender, Network], Awaitable[Figures]]:
        def begin(contender: Contender, network: Network) -> Awaitable[Figures]:
            # A congestion window needs a while to grow where there is a round trip to wait for.
            settle, measured = (seconds, 2 * seconds) if network.impaired else (0.5, seconds)
            return run_bulk(contender, network, size=size, settle=settle, seconds=measured)

        return begin

    return (
        Work("bulk 16 KiB", bulk(16 * 1024)),
        Work("bulk 64 KiB", bulk(64 * 1024)),
        Work("messages of 64 B", bulk(SMALL_BYTES)),
        Work("ping-pong", lambda contender, network: run_ping(contender, network, seconds=seconds)),
        Work("idle", lambda contender, network: run_idle(contender, network, connections=connections)),
    )


def contests(
    contenders: Sequence[Contender], networks: Sequence[Network], todo: Sequence[Work], rounds: int
) -> Iterator[tuple[int, Network, Contender, Work]]:
    """Yield what is to be done, in order."""
    for number in range(1, rounds + 1):
        for network in networks:
            for work in todo:
                if network.impaired and work.name in {"bulk 64 KiB", "messages of 64 B", "idle"}:
                    continue
                if work.name == "idle" and number > 1:
                    continue
                for contender in contenders:
                    yield number, network, contender, work


async def run(
    contenders: Sequence[Contender],
    networks: Sequence[Network],
    todo: Sequence[Work],
    rounds: int,
    progress: Callable[[str], None],
) -> Run:
    """Hold all contests. What fails is an outcome as well."""
    outcomes: list[Outcome] = []
    planned = list(contests(contenders, networks, todo, rounds))
    for index, (number, network, contender, work) in enumerate(planned, 1):
        progress(f"{index} of {len(planned)}: {contender.name}, {work.name}, {network.name}")
        figures: dict[str, float] = {}
        failure = ""
        try:
            figures = msgspec.to_builtins(await work.begin(contender, network))
        except (ContestFailed, LaboratoryUnavailable) as error:
            failure = str(error).splitlines()[0]
        outcomes.append(Outcome(number, network.name, contender.name, work.name, figures, failure))
    return Run(
        command=" ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        date=datetime.now(UTC).date().isoformat(),
        machine=_machine(),
        versions=_versions(),
        outcomes=outcomes,
    )


def _machine() -> str:
    model = platform.processor() or platform.machine()
    try:
        with Path("/proc/cpuinfo").open() as lines:
            model = next(
                (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model
            )
    except FileNotFoundError:
        pass
    return f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in ("rtcmesh", "aiortc", "aioice", "aiolibdatachannel", "wrtc"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
