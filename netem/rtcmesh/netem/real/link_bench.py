"""What the link process carries, what it adds, and how exactly it does what it is told."""

from __future__ import annotations

import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.table import Table

from rtcmesh.netem.link import LinkConfig
from rtcmesh.netem.verification import Aspect, Measurement

from . import flood
from .audit import Audit
from .joined import JoinedHosts, joined_hosts
from .verifying import measure

RATES = (10_000, 20_000, 30_000, 40_000, 50_000, 60_000, 80_000)
PAYLOAD_BYTES = 172
"""With its headers, 200 bytes: what small messages are."""

TARGET_PACKETS = 40_000
TARGET_LATENESS = 0.001

_KEPT = 0.99
_PROBES = 2000


class Load(NamedTuple):
    """What came of a rate of packets one way."""

    offered: float
    """Packets a second that the sender sent."""
    carried: float
    audit: Audit

    @property
    def is_kept(self) -> bool:
        """Whether all was carried, and in time."""
        return self.carried >= _KEPT * self.offered and self.audit.late_p99 <= TARGET_LATENESS


class Fidelity(NamedTuple):
    """What was asked for, and what packets found."""

    what: str
    wanted: float
    measured: float
    unit: str
    kept_up: bool
    """Whether the machine kept up, so that this tells of the link."""


class LinkFigures(NamedTuple):
    """All of it."""

    loads: Sequence[Load]
    fidelity: Sequence[Fidelity]


async def run_link_bench(seconds: float, progress: Callable[[str], None]) -> LinkFigures:
    """Measure rates for so many seconds each, then fidelity. Raises `LaboratoryUnavailable`."""
    async with joined_hosts() as lab:
        loads: list[Load] = []
        for rate in RATES:
            progress(f"{rate} packets a second")
            loads.append(await _load(lab, rate, seconds))
        progress("delay, loss and rate")
        return LinkFigures(loads, [await _delay(lab), await _loss(lab), await _rate(lab)])


async def _load(lab: JoinedHosts, rate: float, seconds: float) -> Load:
    await lab.configure(LinkConfig())
    program = str(Path(flood.__file__))
    sink = await lab.right.spawn(
        *(sys.executable, "-I", "-S", program, "sink", lab.right.address), stdin=PIPE, stdout=PIPE
    )
    assert sink.stdout is not None, "it was started with pipes"
    port = (await sink.stdout.readline()).decode().strip()
    before = await lab.report()
    sender = await lab.left.spawn(
        *(sys.executable, "-I", "-S", program, lab.right.address, port),
        *(str(rate), str(seconds), str(PAYLOAD_BYTES)),
        stdout=PIPE,
    )
    sent = int((await sender.communicate())[0])
    after = await lab.report()
    await sink.communicate()
    return Load(
        sent / seconds, (after.rightward.delivered - before.rightward.delivered) / seconds, after.audit
    )


async def _delay(lab: JoinedHosts) -> Fidelity:
    config = LinkConfig(delay=0.05)
    probes, kept_up = await measure(lab, _measurement(config, Aspect.PATH, _PROBES, 0.001))
    delays = [probe.received_at - probe.sent_at for probe in probes if probe.received_at is not None]
    return Fidelity("mean delay", config.delay * 1000, sum(delays) / len(delays) * 1000, "ms", kept_up)


async def _loss(lab: JoinedHosts) -> Fidelity:
    config = LinkConfig(loss=0.05)
    probes, kept_up = await measure(lab, _measurement(config, Aspect.PATH, 10 * _PROBES, 0.0001))
    lost = sum(probe.received_at is None for probe in probes) / len(probes)
    return Fidelity("loss", 5.0, lost * 100, "%", kept_up)


async def _rate(lab: JoinedHosts) -> Fidelity:
    config = LinkConfig(rate_bytes_per_second=1_250_000, max_queue_bytes=125_000)
    probes, kept_up = await measure(lab, _measurement(config, Aspect.BOTTLENECK, 5 * _PROBES, 0.0005, 1200))
    arrived = sorted(probe.received_at for probe in probes if probe.received_at is not None)
    rate = (len(arrived) - 1) * 1200 * 8 / (arrived[-1] - arrived[0]) / 1e6
    return Fidelity("rate", 10.0, rate, "Mbit/s", kept_up)


def _measurement(
    config: LinkConfig, aspect: Aspect, count: int, interval: float, size: int = 100
) -> Measurement:
    return Measurement(
        direction="up", aspect=aspect, config=config, count=count, interval=interval, size=size
    )


def tables_of(figures: LinkFigures) -> list[Table]:
    """Return the figures as tables."""
    loads = Table("offered packets/s", "carried", "late p50", "late p99", "late at most", "all, and in time")
    for load in figures.loads:
        late = [
            f"{each * 1000:.2f} ms"
            for each in (load.audit.late_p50, load.audit.late_p99, load.audit.late_max)
        ]
        loads.add_row(f"{load.offered:,.0f}", f"{load.carried:,.0f}", *late, "yes" if load.is_kept else "no")
    fidelity = Table("what", "wanted", "measured", "the machine kept up")
    for each in figures.fidelity:
        numbers = [f"{value:.3f} {each.unit}" for value in (each.wanted, each.measured)]
        fidelity.add_row(each.what, *numbers, "yes" if each.kept_up else "no")
    return [loads, fidelity]


def verdict_on(figures: LinkFigures) -> str:
    """Say in a line whether the target was reached."""
    best = max((load.carried for load in figures.loads if load.is_kept), default=0.0)
    verdict = "reached" if best >= TARGET_PACKETS * _KEPT else "not reached"
    return f"{best:,.0f} packets a second, 99 % of them within 1 ms: the target of {TARGET_PACKETS:,} is {verdict}"
