"""IPv4 packets with UDP or TCP in them, made and read by hand: what a TUN device takes and gives.

 0                   1                   2                   3
|version|  IHL  |      TOS      |          total length         |
|        identification         |flags|     fragment offset     |
|      TTL      |   protocol    |        header checksum        |
|                         source address                        |
|                      destination address                      |     RFC 791; options, if the IHL is above 5
|          source port          |       destination port        |     RFC 768, RFC 9293
"""

from __future__ import annotations

import ipaddress
import struct
from typing import NamedTuple

from rtcmesh.netem.packet import Endpoint

UDP, TCP = 17, 6
_HEADER = struct.Struct("!BBHHHBBH4s4s")
_SYN = 0x02


class Datagram(NamedTuple):
    """What matters of a packet."""

    protocol: int
    source: Endpoint
    destination: Endpoint
    payload: bytes
    """What follows the ports and the six bytes after them."""


def udp_packet(source: Endpoint, destination: Endpoint, payload: bytes) -> bytes:
    """Return a packet with a datagram."""
    header = struct.pack("!HHHH", source.port, destination.port, 8 + len(payload), 0)
    return _packet(UDP, source, destination, header + payload, checksum_at=6)


def syn_packet(source: Endpoint, destination: Endpoint) -> bytes:
    """Return a packet that asks for a TCP connection."""
    header = struct.pack("!HHIIBBHHH", source.port, destination.port, 1, 0, 5 << 4, _SYN, 65_535, 0, 0)
    return _packet(TCP, source, destination, header, checksum_at=16)


def parse(packet: bytes) -> Datagram | None:
    """Read a packet; None if it is no whole UDP or TCP packet of IPv4."""
    if len(packet) < 28 or packet[0] >> 4 != 4 or packet[9] not in {UDP, TCP}:
        return None
    start = (packet[0] & 15) * 4
    if len(packet) < start + 8:
        return None
    source_port, destination_port = struct.unpack_from("!HH", packet, start)
    return Datagram(
        packet[9],
        Endpoint(str(ipaddress.IPv4Address(packet[12:16])), source_port),
        Endpoint(str(ipaddress.IPv4Address(packet[16:20])), destination_port),
        packet[start + 8 :],
    )


def _packet(
    protocol: int, source: Endpoint, destination: Endpoint, segment: bytes, *, checksum_at: int
) -> bytes:
    ends = (ipaddress.IPv4Address(source.address).packed, ipaddress.IPv4Address(destination.address).packed)
    pseudo_header = b"".join(ends) + struct.pack("!HH", protocol, len(segment))
    segment = _with_checksum(segment, checksum_at, _sum(pseudo_header + segment))
    header = _HEADER.pack(0x45, 0, _HEADER.size + len(segment), 0, 0, 64, protocol, 0, *ends)
    return _with_checksum(header, 10, _sum(header)) + segment


def _with_checksum(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + struct.pack("!H", ~value & 0xFFFF or 0xFFFF) + data[at + 2 :]


def _sum(data: bytes) -> int:
    """Return the sum of RFC 1071."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data[: len(data) // 2 * 2]))
    total += data[-1] << 8 if len(data) % 2 else 0
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total
