"""Packets as a capture file, in the format pcapng (draft-ietf-opsawg-pcapng), for Wireshark and tcpdump.

    ┌──────────────────┬────────────────────────────┬──────────────────────────────────────────┐
    │ section header   │ interface description, one │ enhanced packet, one for each packet:    │
    │                  │ for each link: "ann up"    │ when, on which link, what, and a comment │
    └──────────────────┴────────────────────────────┴──────────────────────────────────────────┘

Everything here returns bytes to be written one after another; times are seconds, kept to the nanosecond.
"""

from __future__ import annotations

import ipaddress
import struct

from .packet import Kind, Packet
from .segment import Segment, SegmentKind

LINKTYPE_NULL = 0
"""Before the IP header stand four bytes that say which IP it is. With packets that begin with it (`LINKTYPE_RAW`)
libpcap, and so tcpdump, refuses a second interface."""

_FAMILY = {4: 2, 6: 30}

_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 0x00000001, 0x00000006
_BYTE_ORDER_MAGIC = 0x1A2B3C4D
_END_OF_OPTIONS, _COMMENT, _USER_APPLICATION, _INTERFACE_NAME, _RESOLUTION = 0, 1, 4, 2, 9
_NANOSECONDS = 9

_TTL = 64
_PROTOCOL = {Kind.UDP: 17, Kind.TCP: 6}
_DO_NOT_FRAGMENT = 0x4000
_FIN, _SYN, _RST, _ACK = 0x01, 0x02, 0x04, 0x10
_FLAGS = {
    SegmentKind.CONNECT: _SYN,
    SegmentKind.ACCEPT: _SYN | _ACK,
    SegmentKind.DATA: _ACK,
    SegmentKind.RESET: _RST | _ACK,
}
_WINDOW_SCALE = 3
_WINDOW_SCALE_OPTION = bytes([3, 3, _WINDOW_SCALE, 1])
"""RFC 7323: windows of more than 64 KiB are written divided by eight; padded by a no-operation."""


def section(application: str) -> bytes:
    """Return the beginning of a file, which says who wrote it."""
    body = struct.pack("<IHHq", _BYTE_ORDER_MAGIC, 1, 0, -1)
    return _block(_SECTION, body + _options((_USER_APPLICATION, application.encode())))


def interface(name: str) -> bytes:
    """Return the description of a link; packets refer to it by how many were described before it."""
    body = struct.pack("<HHI", LINKTYPE_NULL, 0, 0)
    return _block(
        _INTERFACE, body + _options((_INTERFACE_NAME, name.encode()), (_RESOLUTION, bytes([_NANOSECONDS])))
    )


def captured(number: int, at: float, data: bytes, *, comment: str = "") -> bytes:
    """Return one packet, from its IP header on, that was seen on the link `number`."""
    nanoseconds = round(at * 1_000_000_000)
    high, low = nanoseconds >> 32 & 0xFFFFFFFF, nanoseconds & 0xFFFFFFFF
    frame = struct.pack("<I", _FAMILY.get(data[0] >> 4 if data else 4, _FAMILY[4])) + data
    body = struct.pack("<IIIII", number, high, low, len(frame), len(frame)) + _padded(frame)
    return _block(_PACKET, body + (_options((_COMMENT, comment.encode())) if comment else b""))


def ip_packet(packet: Packet) -> bytes:
    """Return what a packet of the virtual network would look like on a wire, its checksums right."""
    source, destination = (ipaddress.ip_address(end.address) for end in (packet.source, packet.destination))
    addresses = source.packed + destination.packed
    transport = _transport(packet, addresses)
    protocol = _PROTOCOL[packet.kind]
    if source.version == 6:
        return struct.pack("!IHBB", 6 << 28, len(transport), protocol, _TTL) + addresses + transport
    length, identification = 20 + len(transport), packet.sequence & 0xFFFF
    start = struct.pack("!BBHHHBB", 0x45, 0, length, identification, _DO_NOT_FRAGMENT, _TTL, protocol)
    return start + internet_checksum(start + addresses).to_bytes(2, "big") + addresses + transport


def internet_checksum(data: bytes) -> int:
    """Return the checksum of RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _transport(packet: Packet, addresses: bytes) -> bytes:
    """Return the UDP datagram or TCP segment with the checksum that covers it and the addresses."""
    at, bare = (6, _udp(packet)) if packet.kind is Kind.UDP else (16, _tcp(packet))
    pseudo_header = addresses + struct.pack("!II", len(bare), _PROTOCOL[packet.kind])
    checksum = internet_checksum(pseudo_header + bare)
    if packet.kind is Kind.UDP:
        checksum = checksum or 0xFFFF  # 0 would say that there is none (RFC 768)
    return bare[:at] + checksum.to_bytes(2, "big") + bare[at + 2 :]


def _udp(packet: Packet) -> bytes:
    assert isinstance(packet.payload, bytes)
    length = 8 + len(packet.payload)
    return struct.pack("!HHHH", packet.source.port, packet.destination.port, length, 0) + packet.payload


def _tcp(packet: Packet) -> bytes:
    """Return a segment as TCP writes it (RFC 9293): the SYN takes the number before the first byte's."""
    assert isinstance(packet.payload, Segment)
    segment = packet.payload
    opens = segment.kind in (SegmentKind.CONNECT, SegmentKind.ACCEPT)
    flags = _FLAGS[segment.kind] | (_FIN if segment.fin else 0)
    options = _WINDOW_SCALE_OPTION if opens else b""
    return (
        struct.pack(
            "!HHIIBBHHH",
            packet.source.port,
            packet.destination.port,
            0 if opens else segment.sequence + 1 & 0xFFFFFFFF,
            segment.acknowledgement + 1 & 0xFFFFFFFF if flags & _ACK else 0,
            (5 + len(options) // 4) << 4,
            flags,
            min(segment.window if opens else segment.window >> _WINDOW_SCALE, 0xFFFF),
            0,
            0,
        )
        + options
        + segment.data
    )


def _block(kind: int, body: bytes) -> bytes:
    length = 12 + len(body)
    return struct.pack("<II", kind, length) + body + struct.pack("<I", length)


def _options(*options: tuple[int, bytes]) -> bytes:
    """Return a list of options, padded and ended."""
    listed = b"".join(struct.pack("<HH", code, len(value)) + _padded(value) for code, value in options)
    return listed + struct.pack("<HH", _END_OF_OPTIONS, 0)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
