"""Tells the sender of a packet that it is too long, as a router does that has no way for it.

ICMPv4   | type 3 | code 4 | checksum | 0 | MTU of the next hop | IP header and 8 bytes      |   RFC 1191
ICMPv6   | type 2 | code 0 | checksum | MTU                     | as much as fits 1,280 bytes |   RFC 4443
"""

from __future__ import annotations

_IPV4_HEADER_BYTES = 20
_IPV6_HEADER_BYTES = 40
_QUOTED_BYTES = 8
_MIN_IPV6_MTU = 1280
_ICMP_HEADER_BYTES = 8
_TTL = b"\x40"
_ICMP, _ICMPV6 = 1, 58
_FIRST_MULTICAST, _IPV6_MULTICAST = 224, 0xFF
"""The first byte of the address of more than one receiver."""


def too_long(packet: bytes, mtu: int) -> bytes | None:
    """Return the packet that answers one which exceeds the MTU, as if its receiver had sent it.

    None for what gets no answer: what is no whole IP packet, what is for many receivers, and ICMP itself.
    """
    version = packet[0] >> 4 if packet else 0
    if version == 4 and len(packet) >= _IPV4_HEADER_BYTES:
        is_answered = packet[9] != _ICMP and packet[16] < _FIRST_MULTICAST
        return _too_long_v4(packet, mtu) if is_answered else None
    if version == 6 and len(packet) >= _IPV6_HEADER_BYTES:
        is_answered = packet[6] != _ICMPV6 and packet[24] != _IPV6_MULTICAST
        return _too_long_v6(packet, mtu) if is_answered else None
    return None


def checksum(data: bytes) -> int:
    """Return the checksum of the internet (RFC 1071)."""
    total = sum(int.from_bytes(data[at : at + 2].ljust(2, b"\0")) for at in range(0, len(data), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _too_long_v4(packet: bytes, mtu: int) -> bytes:
    quoted = packet[: (packet[0] & 15) * 4 + _QUOTED_BYTES]
    message = b"\x03\x04\0\0\0\0" + mtu.to_bytes(2) + quoted
    message = message[:2] + checksum(message).to_bytes(2) + message[4:]
    length = _IPV4_HEADER_BYTES + len(message)
    header = (
        b"\x45\0"
        + length.to_bytes(2)
        + bytes(4)
        + _TTL
        + bytes([_ICMP, 0, 0])
        + packet[16:20]
        + packet[12:16]
    )
    return header[:10] + checksum(header).to_bytes(2) + header[12:] + message


def _too_long_v6(packet: bytes, mtu: int) -> bytes:
    quoted = packet[: _MIN_IPV6_MTU - _IPV6_HEADER_BYTES - _ICMP_HEADER_BYTES]
    message = b"\x02\0\0\0" + mtu.to_bytes(4) + quoted
    addresses = packet[24:40] + packet[8:24]
    summed = checksum(addresses + len(message).to_bytes(4) + _ICMPV6.to_bytes(4) + message)
    message = message[:2] + summed.to_bytes(2) + message[4:]
    return b"\x60\0\0\0" + len(message).to_bytes(2) + bytes([_ICMPV6]) + _TTL + addresses + message
