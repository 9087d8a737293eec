"""The promise, measured: seeded trials in worker processes, and the figures that go with it, all on virtual time."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from types import FrameType
from typing import cast

import msgspec
from rich.table import Table

from rtcmesh.peer.events import PathKind
from rtcmesh.peer.testing.direct_death import measure_direct_death
from rtcmesh.peer.testing.first_message import measure_first_message
from rtcmesh.peer.testing.head_of_line import ROUND_TRIP, HeadOfLine, measure_head_of_line
from rtcmesh.peer.testing.path_trials import Gap, TrialResult, run_trial

MAX_FIRST_MESSAGE_ROUND_TRIPS = 1.5
DIRECT_DEATH = "the death of the direct path"
"""The cause of a gap when the direct path dies, and nothing else is wrong: measured beside each trial."""
MAX_GAP = 1.5
"""Seconds, at the 99th percentile, when the direct path dies and nothing else happens."""
MAX_SMALL_DELAY = 0.1
"""Seconds, at the 99th percentile, behind a bulk transfer."""

MIN_GAPS = 100
"""From how many gaps on their 99th percentile says something."""

TRIAL_TIMEOUT = 120
"""Seconds of real time that no trial takes unless it goes round in circles."""

_CHUNK = 4


class GapFigures(msgspec.Struct, frozen=True):
    """The longest times without a message after disturbances of one kind, in seconds."""

    cause: str
    count: int
    p50: float
    p90: float
    p99: float
    longest: float
    longest_seed: int


class Failure(msgspec.Struct, frozen=True):
    """A trial that broke the promise, or did not come to its end."""

    seed: int
    what: str


class DelayFigures(msgspec.Struct, frozen=True):
    """How long small messages took beside a bulk transfer, in milliseconds."""

    path: str
    p50_ms: float
    p99_ms: float
    bulk_mbit_per_second: float


class PathResults(msgspec.Struct, frozen=True, kw_only=True):
    """All figures of one run."""

    runs: int
    first_seed: int
    sent: int
    lost: int
    repeated: int
    reordered: int
    path_changes: int
    failures: tuple[Failure, ...]
    gaps: tuple[GapFigures, ...]
    first_message_round_trips: float
    first_answer_round_trips: float
    head_of_line: tuple[DelayFigures, ...]

    def broken_promises(self) -> list[str]:
        """Say what is not as promised, with the seed that shows it."""
        broken = [f"seed {failure.seed}: {failure.what}" for failure in self.failures]
        if self.first_message_round_trips > MAX_FIRST_MESSAGE_ROUND_TRIPS:
            broken.append(f"the first message took {self.first_message_round_trips:.2f} round trips")
        broken += [
            f"p99 of the gap at the death of the direct path is {gap.p99:.2f} s; see seed {gap.longest_seed}"
            for gap in self.gaps
            if gap.cause == DIRECT_DEATH and gap.count >= MIN_GAPS and gap.p99 >= MAX_GAP
        ]
        broken += [
            f"p99 of small messages beside bulk is {delay.p99_ms:.0f} ms on a path that is {delay.path}"
            for delay in self.head_of_line
            if delay.p99_ms >= MAX_SMALL_DELAY * 1000
        ]
        return broken


def run_path_bench(
    runs: int,
    *,
    first_seed: int = 0,
    jobs: int | None = None,
    head_of_line_seconds: float = 5.0,
    progress: Callable[[str], None],
) -> PathResults:
    """Run trials with the seeds from `first_seed` on, in so many processes: one for each core by default."""
    progress("first message, head of line")
    first = measure_first_message()
    head_of_line = tuple(
        _delay_figures(name, measure_head_of_line(kind, webrtc=webrtc, seconds=head_of_line_seconds))
        for name, kind, webrtc in (
            ("relayed", PathKind.RELAYED, False),
            ("direct (WebRTC)", PathKind.DIRECT, True),
            ("direct (in memory)", PathKind.DIRECT, False),
        )
    )
    results: list[TrialResult] = []
    failures: list[Failure] = []
    for result in _run_trials(range(first_seed, first_seed + runs), jobs or os.cpu_count() or 1):
        if isinstance(result, Failure):
            failures.append(result)
        else:
            results.append(result)
            if not result.ok:
                failures.append(Failure(result.seed, result.verdict))
        progress(f"trial {len(results)} of {runs}, {len(failures)} failed")
    return PathResults(
        runs=runs,
        first_seed=first_seed,
        sent=sum(result.sent for result in results),
        lost=sum(result.lost for result in results),
        repeated=sum(result.repeated for result in results),
        reordered=sum(result.reordered for result in results),
        path_changes=sum(result.path_changes for result in results),
        failures=tuple(failures),
        gaps=tuple(_gap_figures(results)),
        first_message_round_trips=first.heard,
        first_answer_round_trips=first.answered,
        head_of_line=head_of_line,
    )


def tables_of(results: PathResults) -> tuple[Table, Table, Table]:
    """Return the figures for people: the promise, the gaps, and what else was measured."""
    last_seed = results.first_seed + results.runs - 1
    promise = _table(f"{results.runs:,} trials, seeds {results.first_seed} to {last_seed}")
    for name in ("sent", "lost", "repeated", "reordered", "path_changes"):
        promise.add_row(name.replace("_", " "), f"{getattr(results, name):,}")
    promise.add_row("failed trials", f"{len(results.failures):,}")
    gaps = _table("longest time without a message after", "count", "p50", "p90", "p99", "max", "seed of max")
    for gap in results.gaps:
        seconds = (gap.p50, gap.p90, gap.p99, gap.longest)
        figures = [f"{value:.2f} s" for value in seconds]
        gaps.add_row(gap.cause, f"{gap.count:,}", *figures, str(gap.longest_seed))
    other = _table("on a path with nothing wrong", "p50", "p99", "beside bulk of")
    for delay in results.head_of_line:
        figures = [
            f"{delay.p50_ms:.0f} ms",
            f"{delay.p99_ms:.0f} ms",
            f"{delay.bulk_mbit_per_second:.1f} Mbit/s",
        ]
        other.add_row(f"small message, {delay.path}, round trip {ROUND_TRIP * 1000:.0f} ms", *figures)
    other.add_row("first message after the welcome", f"{results.first_message_round_trips:.2f} round trips")
    other.add_row("answer to it", f"{results.first_answer_round_trips:.2f} round trips")
    return promise, gaps, other


def _run_trials(seeds: Iterable[int], jobs: int) -> Iterator[TrialResult | Failure]:
    # Not forked: a worker must not share what this process has open.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_prepare_worker) as workers:
        try:
            yield from workers.map(_try, seeds, chunksize=_CHUNK)
        finally:
            workers.shutdown(cancel_futures=True)


def _prepare_worker() -> None:
    logging.disable(logging.CRITICAL)  # what happens to paths on purpose
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _try(seed: int) -> TrialResult | Failure:
    try:
        with _time_limit(TRIAL_TIMEOUT):
            result = run_trial(seed)
            result.gaps.append(Gap(DIRECT_DEATH, measure_direct_death(seed)))
            return result
    except Exception as error:  # noqa: BLE001  (whatever it is, the seed is what is wanted)
        return Failure(seed, _describe(error))


@contextmanager
def _time_limit(seconds: int) -> Generator[None]:
    """Raise `TimeoutError` in the block after so much real time, even in a loop that never awaits."""

    def expire(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise TimeoutError(f"not done after {seconds} s of real time")

    before = signal.signal(signal.SIGALRM, expire)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _describe(error: BaseException) -> str:
    inner = error
    while isinstance(inner, BaseExceptionGroup):
        inner = cast("BaseExceptionGroup[BaseException]", inner).exceptions[0]
    return f"{type(inner).__name__}: {inner}"


def _gap_figures(results: list[TrialResult]) -> Iterator[GapFigures]:
    by_cause: dict[str, list[tuple[float, int]]] = {}
    for result in results:
        for gap in result.gaps:
            by_cause.setdefault(gap.cause, []).append((gap.seconds, result.seed))
    for cause, gaps in sorted(by_cause.items()):
        gaps.sort()
        p50, p90, p99 = (gaps[int(len(gaps) * part)][0] for part in (0.5, 0.9, 0.99))
        yield GapFigures(cause, len(gaps), p50, p90, p99, *gaps[-1])


def _delay_figures(path: str, measured: HeadOfLine) -> DelayFigures:
    return DelayFigures(
        path, measured.p50 * 1000, measured.p99 * 1000, measured.bulk_bytes_per_second * 8 / 1e6
    )


def _table(title: str, *columns: str) -> Table:
    table = Table(title_justify="left")
    table.add_column(title)
    for column in columns or ("",):
        table.add_column(column, justify="right")
    return table
