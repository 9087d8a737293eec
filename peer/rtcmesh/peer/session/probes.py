"""Pings and pongs of a path: each is alone in its packet.

+---------------+-----------------------------------------------+
|   type (8)    |                  number (64)             ...  |
+---------------+-----------------------------------------------+
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

from rtcmesh.peer.errors import ProtocolViolation
from rtcmesh.relay.frames import Urgency

from .frames import Packet, PacketType

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
    """Whether a packet is a probe, well-formed or not."""
    return packet[:1] in (b"\x01", b"\x02")


def probe_packet(probe: Probe) -> Packet:
    """Return the packet of a probe."""
    return Packet(_PROBE.pack(*probe), Urgency.CONTROL, datagram=True)


def decode_probe(data: bytes) -> Probe:
    """Return the probe. Raises `ProtocolViolation` and nothing else, whatever the bytes."""
    try:
        kind, number = _PROBE.unpack(data)
        return Probe(ProbeType(kind), number)
    except (struct.error, ValueError) as error:
        raise ProtocolViolation("bad_probe", str(error)) from error
