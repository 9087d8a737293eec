"""Measures links on virtual time, where ten days take a second."""

from __future__ import annotations

from random import Random

from rtcmesh.netem.link import Link
from rtcmesh.netem.packet import Endpoint, Kind, Packet
from rtcmesh.netem.profiles import Profile

from .judgement import Finding, judge
from .measurement import Measurement, Probe, measurements

_SOURCE, _DESTINATION = Endpoint("192.0.2.1", 1), Endpoint("192.0.2.2", 2)
_HEADER_BYTES = 20 + Kind.UDP.value
_BATCH = 64


def measure_virtually(measurement: Measurement, seed: int) -> list[Probe]:
    """Carry out a measurement on a link of its own."""
    link: Link[Packet] = Link(measurement.config, Random(f"{seed}/{measurement.direction}"))
    payload = bytes(measurement.size - _HEADER_BYTES)
    sent_at = list(measurement.moments())
    received_at: list[float | None] = [None] * measurement.count
    for number, now in enumerate(sent_at):
        link.send(Packet(number, Kind.UDP, _SOURCE, _DESTINATION, payload), now)
        if number % _BATCH == 0 or number == measurement.count - 1:
            until = now if number < measurement.count - 1 else float("inf")
            for at, packet in link.arrivals(until):
                received_at[packet.sequence] = at
    return [
        Probe(sent, received, measurement.size) for sent, received in zip(sent_at, received_at, strict=True)
    ]


def verify(profile: Profile, *, packets: int = 1_000_000, seed: int = 0) -> list[Finding]:
    """Measure a profile on virtual time, with so many probes each way, and judge it."""
    findings: list[Finding] = []
    for measurement in measurements(profile, packets=packets):
        findings += judge(measurement, measure_virtually(measurement, seed))
    return findings
