"""Pings and pongs of a path: up to `MAX_PROBES` in a packet of their own, one after the other.

+---------------+-----------------------------------------------+
|   type (8)    |                  number (64)             ...  |
+---------------+-----------------------------------------------+
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

from rtcmesh.peer.errors import ProtocolViolation
from rtcmesh.relay.frames import Urgency

from .frames import Packet, PacketType

MAX_PROBES = 32
"""How many probes one packet has at most: more than a path has to send at once, see `Liveness`."""

_PROBE = struct.Struct("!BQ")


class ProbeType(IntEnum):
    """The first byte of a probe."""

    PING = PacketType.PING
    PONG = PacketType.PONG


class Probe(NamedTuple):
    """A ping, or the pong that answers the ping of the same number."""

    type: ProbeType
    number: int


def is_probe(packet: bytes) -> bool:
    """Whether a packet has probes, well-formed or not."""
    return packet[:1] in (b"\x01", b"\x02")


def probe_packet(probes: Sequence[Probe]) -> Packet:
    """Return the packet of some probes, `MAX_PROBES` at most."""
    return Packet(b"".join(_PROBE.pack(*probe) for probe in probes), Urgency.CONTROL, datagram=True)


def decode_probes(data: bytes) -> list[Probe]:
    """Return the probes, in order. Raises `ProtocolViolation` and nothing else, whatever the bytes."""
    if len(data) > MAX_PROBES * _PROBE.size:
        raise ProtocolViolation("bad_probe", f"{len(data)} bytes of probes")
    try:
        return [Probe(ProbeType(kind), number) for kind, number in _PROBE.iter_unpack(data)]
    except (struct.error, ValueError) as error:
        raise ProtocolViolation("bad_probe", str(error)) from error
