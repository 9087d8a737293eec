"""What was measured beside what was wanted."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from statistics import fmean, pstdev
from typing import NamedTuple

from rtcmesh.netem.models.line import QueueDiscipline
from rtcmesh.netem.models.loss import Bursts

from .expectation import DelayExpectation, LossExpectation
from .measurement import Aspect, Measurement, Probe, trace_seconds

MAX_DELAY_ERROR = 0.001
MAX_RELATIVE_DELAY_ERROR = 0.02
MAX_RATE_ERROR = 0.01
"""What the laboratory promises, whatever the machine."""
MAX_JITTER_ERROR = 0.0002
MAX_RELATIVE_JITTER_ERROR = 0.05
"""For delays that vary; one that should not may vary by `MAX_DELAY_ERROR`."""

SIGMAS = 3.0
"""How many standard errors chance may account for."""

_KOLMOGOROV = 1.95
"""Chance takes distributions further apart than this, divided by the square root of the number, once in a thousand."""
_MIN_INDEPENDENT = 50
_MIN_BURSTS = 10
_MIN_CORRELATION_ERROR = 0.05


class Finding(NamedTuple):
    """A number of a profile that was put to the test."""

    direction: str
    what: str
    unit: str
    wanted: float
    measured: float
    tolerance: float
    """By how much the two may differ."""

    @property
    def is_kept(self) -> bool:
        """Whether the network does what it should."""
        return abs(self.measured - self.wanted) <= self.tolerance


def judge(measurement: Measurement, probes: Sequence[Probe]) -> list[Finding]:
    """Return what a measurement shows; of a path on which nothing arrives, that all is lost.

    Raises TypeError for `NetemJitter`, which no profile has.
    """
    if measurement.aspect is Aspect.PATH:
        return [*_delay(measurement, probes), *_loss(measurement, probes)]
    return _bottleneck(measurement, probes)


class _Delay(NamedTuple):
    sent_at: float
    delay: float


def _delay(measurement: Measurement, probes: Sequence[Probe]) -> list[Finding]:
    arrived = [
        _Delay(probe.sent_at, probe.received_at - probe.sent_at)
        for probe in probes
        if probe.received_at is not None
    ]
    if not arrived:
        return []
    seconds = probes[-1].sent_at - probes[0].sent_at
    expected = DelayExpectation(measurement.config, measurement.size, seconds, len(arrived))
    delays = [each.delay for each in arrived]
    promised = max(MAX_DELAY_ERROR, MAX_RELATIVE_DELAY_ERROR * expected.mean)
    findings = [
        Finding(
            measurement.direction,
            "delay",
            "s",
            expected.mean,
            fmean(delays),
            max(promised, SIGMAS * expected.mean_sigma),
        ),
        Finding(
            measurement.direction,
            "jitter",
            "s",
            expected.total_deviation,
            pstdev(delays),
            _jitter_tolerance(expected),
        ),
    ]
    varies = expected.deviation or expected.spread
    if varies and expected.service.deviation < 0.1 * expected.total_deviation:
        findings += _distribution(measurement, expected, arrived)
        if expected.deviation:
            findings += _memory(measurement, expected, probes)
    return findings


def _jitter_tolerance(expected: DelayExpectation) -> float:
    if not expected.total_deviation:
        return MAX_DELAY_ERROR
    return max(
        MAX_JITTER_ERROR,
        MAX_RELATIVE_JITTER_ERROR * expected.total_deviation,
        SIGMAS * expected.deviation_sigma,
    )


def _distribution(
    measurement: Measurement, expected: DelayExpectation, arrived: Sequence[_Delay]
) -> list[Finding]:
    """Compare the distribution of delays, far enough apart to be independent, by Kolmogorov's distance."""
    independent: list[float] = []
    next_at = -math.inf
    for sent_at, delay in arrived:
        if sent_at >= next_at:
            independent.append(delay)
            next_at = sent_at + expected.independent_after
    count = len(independent)
    if count < _MIN_INDEPENDENT:
        return []
    distance = max(
        abs(expected.cdf(delay) - (rank + 0.5) / count) for rank, delay in enumerate(sorted(independent))
    )
    return [
        Finding(
            measurement.direction,
            "distance of distributions",
            "",
            0.0,
            distance,
            _KOLMOGOROV / math.sqrt(count),
        )
    ]


def _memory(measurement: Measurement, expected: DelayExpectation, probes: Sequence[Probe]) -> list[Finding]:
    """Compare delays with those a time constant later."""
    lag = max(1, round(expected.time_constant / measurement.interval))
    pairs = [
        (early.sent_at, late.sent_at, early.received_at - early.sent_at, late.received_at - late.sent_at)
        for early, late in zip(probes, probes[lag:], strict=False)
        if early.received_at is not None and late.received_at is not None
    ]
    if len(pairs) < _MIN_INDEPENDENT:
        return []
    mean = expected.mean
    measured = fmean((a - mean) * (b - mean) for _, _, a, b in pairs) / expected.total_deviation**2
    wanted = expected.correlation([later - sooner for sooner, later, _, _ in pairs])
    tolerance = max(_MIN_CORRELATION_ERROR, SIGMAS * expected.correlation_sigma)
    return [Finding(measurement.direction, "correlation of delays", "", wanted, measured, tolerance)]


def _loss(measurement: Measurement, probes: Sequence[Probe]) -> list[Finding]:
    expected = LossExpectation(measurement.config)
    lost = [probe.received_at is None for probe in probes]
    findings = [
        Finding(
            measurement.direction,
            "loss",
            "",
            expected.mean,
            sum(lost) / len(lost),
            SIGMAS * expected.sigma(len(lost)),
        )
    ]
    model, reconfiguration = measurement.config.loss, measurement.config.reconfiguration
    if isinstance(model, Bursts) and not (reconfiguration and reconfiguration.outage):
        bursts = [len(list(run)) for is_lost, run in itertools.groupby(lost) if is_lost]
        if len(bursts) >= _MIN_BURSTS:
            # Lengths are geometric.
            sigma = math.sqrt(model.mean_burst * (model.mean_burst - 1) / len(bursts))
            findings.append(
                Finding(
                    measurement.direction,
                    "mean burst",
                    "packets",
                    model.mean_burst,
                    fmean(bursts),
                    SIGMAS * sigma,
                )
            )
    return findings


def _bottleneck(measurement: Measurement, probes: Sequence[Probe]) -> list[Finding]:
    config = measurement.config
    arrived = sorted((probe.received_at, probe.size) for probe in probes if probe.received_at is not None)
    if config.rate_trace is not None:
        seconds = trace_seconds(config.rate_trace)
        wanted = config.rate_trace.carried_bytes / config.rate_trace.seconds
        end = probes[0].sent_at + config.delay + seconds
        measured = sum(size for at, size in arrived if at <= end) / seconds
    else:
        assert config.rate_bytes_per_second is not None, "a flood is for a bottleneck"
        wanted = config.rate_bytes_per_second
        measured = _busy_rate(probes, config.delay)
    findings = [Finding(measurement.direction, "rate", "B/s", wanted, measured, MAX_RATE_ERROR * wanted)]
    if arrived and config.queue is QueueDiscipline.TAIL_DROP and config.rate_bytes_per_second is not None:
        wait = _queue(measurement, probes, config.rate_bytes_per_second)
        if (
            len(arrived) < len(probes) or wait.measured > wait.wanted
        ):  # or nobody knows how much more would have fit
            findings.append(wait)
    return findings


def _busy_rate(probes: Sequence[Probe], delay: float) -> float:
    """Return the rate at which packets leave while others wait: after each of which the next was there already."""
    carried, seconds, left_at = 0, 0.0, -math.inf
    for probe in probes:
        if probe.received_at is None:
            continue
        before, left_at = left_at, probe.received_at - delay
        if probe.sent_at < before:
            carried += probe.size
            seconds += left_at - before
    return carried / seconds if seconds > 0 else 0.0


def _queue(measurement: Measurement, probes: Sequence[Probe], rate: float) -> Finding:
    """Compare the longest wait: the last packet to find room fills the queue up to less than a packet."""
    config = measurement.config
    limit = config.max_queue_bytes / rate if config.max_queue_delay is None else config.max_queue_delay
    packet = measurement.size / rate
    longest = max(
        probe.received_at - probe.sent_at - config.delay for probe in probes if probe.received_at is not None
    )
    wanted = max(limit, packet)  # an empty queue takes any packet
    promised = max(MAX_DELAY_ERROR, MAX_RELATIVE_DELAY_ERROR * (wanted + config.delay))
    return Finding(measurement.direction, "longest wait", "s", wanted, longest, packet + promised)
