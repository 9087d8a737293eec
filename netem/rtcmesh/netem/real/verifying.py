"""Verifies profiles in namespaces: real packets, real time."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from typing import TypeVar

import msgspec

from rtcmesh.netem.link import LinkConfig
from rtcmesh.netem.profiles import Profile
from rtcmesh.netem.verification import Aspect, Finding, Measurement, Probe, judge, measurements

from .errors import ProberFailed
from .joined import JoinedHosts, joined_hosts
from .prober import Plan

INTERVAL = 0.01
"""Seconds between two probes of a path."""

PATIENCE = 1.0
"""For how long the last packets are waited for beyond what the link says."""

MAX_STRETCH = 1.1
"""By how much longer a flood may take than planned."""

_HEADER_BYTES = 28
_JITTERS = 6
_PROGRAM = ("-m", "rtcmesh.netem.real.prober")
_LINE_BYTES = 64 * 1024 * 1024

T = TypeVar("T")


async def verify_in_namespaces(profile: Profile, *, packets: int, seed: int) -> tuple[list[Finding], bool]:
    """Measure a profile with so many probes each way; return what was found, and whether the machine kept up.

    Raises `LaboratoryUnavailable`, `LinkProcessFailed` and `ProberFailed`.
    """
    findings: list[Finding] = []
    is_valid = True
    async with joined_hosts(seed=seed) as lab:
        for measurement in measurements(profile, packets=packets, interval=INTERVAL):
            probes, kept_up = await measure(lab, measurement)
            findings += judge(measurement, probes)
            is_valid = is_valid and kept_up
    return findings, is_valid


async def measure(lab: JoinedHosts, measurement: Measurement) -> tuple[list[Probe], bool]:
    """Carry out a measurement from left to right; return the probes, and whether link and sender were in time.

    Raises `ProberFailed`.
    """
    await lab.configure(measurement.config, LinkConfig())
    receiver = await lab.right.spawn(
        *(sys.executable, *_PROGRAM, "receive", lab.right.address), stdin=PIPE, stdout=PIPE, limit=_LINE_BYTES
    )
    assert receiver.stdin is not None
    assert receiver.stdout is not None
    port = _decoded(await receiver.stdout.readline(), int)
    sender = await lab.left.spawn(
        *(sys.executable, *_PROGRAM, "send", lab.right.address, str(port)),
        stdin=PIPE,
        stdout=PIPE,
        limit=_LINE_BYTES,
    )
    plan = Plan(list(measurement.moments()), measurement.size - _HEADER_BYTES)
    output, _ = await sender.communicate(msgspec.json.encode(plan) + b"\n")
    await asyncio.sleep(_longest(measurement.config) + PATIENCE)
    receiver.stdin.close()
    answer = await receiver.stdout.readline()
    await receiver.wait()
    audit = (await lab.report()).audit
    sent_at = _decoded(output, list[float])
    received_at = dict(_decoded(answer, list[tuple[int, float]]))
    probes = [Probe(sent, received_at.get(number), measurement.size) for number, sent in enumerate(sent_at)]
    return probes, audit.is_valid(measurement.config.delay) and _was_offered(measurement, plan, sent_at)


def _was_offered(measurement: Measurement, plan: Plan, sent_at: list[float]) -> bool:
    """Tell whether a flood was one: a sender that falls behind leaves a queue empty that it should fill."""
    if measurement.aspect is Aspect.PATH:
        return True
    return sent_at[-1] - sent_at[0] <= MAX_STRETCH * plan.moments[-1]


def _decoded(line: bytes, to: type[T]) -> T:
    try:
        return msgspec.json.decode(line, type=to)
    except msgspec.DecodeError as error:
        raise ProberFailed(f"a program that measures a path ended early: {error}") from error


def _longest(config: LinkConfig) -> float:
    """Return how long a packet may take, short of chance gone wild."""
    jitter = config.jitter if isinstance(config.jitter, float) else 0.0
    rate = config.rate_bytes_per_second
    queue = config.max_queue_delay or (config.max_queue_bytes / rate if rate else 0.0)
    return config.delay + queue + _JITTERS * jitter
