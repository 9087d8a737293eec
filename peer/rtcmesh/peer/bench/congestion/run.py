"""All situations, several seeds each, in worker processes: the figures are the same on every machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from random import Random

import msgspec

from rtcmesh.peer.bench.page import Provenance, provenance

from .simulation import Simulation
from .situations import Situation, situations

STEP_SECONDS = 0.5
"""The grain of the courses that are drawn."""


class Trial(msgspec.Struct, frozen=True):
    """What one seed has shown."""

    seed: int
    mbit_per_second: tuple[float, ...]
    """What each flow carried, without headers, while it was measured."""
    longest_gap: tuple[float, ...]
    """The longest time without a message, in seconds."""
    mean_queue: float
    """In seconds."""
    p99_queue: float
    overflowed: int
    """How many packets the buffer had no room for, from the beginning."""
    rates: tuple[tuple[float, ...], ...]
    """Of each flow, in Mbit/s, every half second from the beginning."""
    queues: tuple[float, ...]
    """The mean queue of the same half seconds."""


class Case(msgspec.Struct, frozen=True):
    """A situation and its trials."""

    situation: Situation
    trials: tuple[Trial, ...]


class Run(msgspec.Struct, frozen=True):
    """Everything that was measured."""

    provenance: Provenance
    cases: tuple[Case, ...]


def run_congestion_bench(
    rounds: int, *, seed: int, only: Sequence[str], jobs: int | None, progress: Callable[[str], None]
) -> Run:
    """Run so many trials of each situation, with the seeds from `seed` on; `only` names parts of topics or paths."""
    chosen = [
        situation
        for situation in situations()
        if not only or any(part in f"{situation.topic.value}, {situation.path}" for part in only)
    ]
    trials: list[list[Trial]] = [[] for _ in chosen]
    # Not forked: this process may have threads, and a worker needs nothing of it.
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        futures = [
            (index, pool.submit(run_trial, situation, seed + number))
            for number in range(rounds)
            for index, situation in enumerate(chosen)
        ]
        for done, (index, future) in enumerate(futures, 1):
            trials[index].append(future.result())
            progress(f"{done} of {len(futures)}: {chosen[index].path}")
    return Run(provenance(), tuple(Case(*pair) for pair in zip(chosen, map(tuple, trials), strict=True)))


def run_trial(situation: Situation, seed: int) -> Trial:
    """Let the flows of a situation begin, settle, and be measured."""
    simulation = Simulation(
        bits_per_second=1e6 * situation.mbit_per_second,
        round_trip=situation.round_trip,
        buffer_round_trips=situation.buffer,
        loss=situation.loss,
        seed=seed,
    )
    course = _Course(simulation)
    # Where nothing is lost at random, when a flow begins is all that chance decides.
    random = Random(seed)
    for number, control in enumerate(situation.controls):
        if number:
            course.run(situation.apart)
            simulation.run(random.uniform(0.0, STEP_SECONDS))
        simulation.add(control)
    course.run(situation.settle)
    before = [flow.received_bytes for flow in simulation.flows]
    begun = len(simulation.queue_seconds)
    for flow in simulation.flows:
        flow.forget_gaps(simulation.now)
    course.run(situation.seconds)
    queue = sorted(simulation.queue_seconds[begun:])
    return Trial(
        seed=seed,
        mbit_per_second=tuple(
            8e-6 * (flow.received_bytes - earlier) / situation.seconds
            for flow, earlier in zip(simulation.flows, before, strict=True)
        ),
        longest_gap=tuple(flow.longest_gap for flow in simulation.flows),
        mean_queue=sum(queue) / len(queue),
        p99_queue=queue[int(0.99 * len(queue))],
        overflowed=simulation.overflowed,
        rates=tuple(map(tuple, course.rates)),
        queues=tuple(course.queues),
    )


class _Course:
    """Runs a simulation in steps, and notes what happens in each."""

    def __init__(self, simulation: Simulation) -> None:
        self.rates: list[list[float]] = []
        self.queues: list[float] = []
        self._simulation = simulation

    def run(self, seconds: float) -> None:
        simulation = self._simulation
        for _ in range(round(seconds / STEP_SECONDS)):
            before = [flow.received_bytes for flow in simulation.flows]
            samples = len(simulation.queue_seconds)
            simulation.run(STEP_SECONDS)
            while len(self.rates) < len(simulation.flows):
                self.rates.append([0.0] * len(self.queues))
            for rates, flow, earlier in zip(self.rates, simulation.flows, before, strict=True):
                rates.append(8e-6 * (flow.received_bytes - earlier) / STEP_SECONDS)
            queue = simulation.queue_seconds[samples:]
            self.queues.append(sum(queue) / len(queue))
