"""A packet as the kernel hands it over."""

from __future__ import annotations

import socket
from random import Random

from rtcmesh.netem.packet import Contents, Endpoint, Kind, with_flipped_bit

_KINDS = {17: Kind.UDP, 6: Kind.TCP}
_CHECKSUM_AT = {Kind.UDP: 6, Kind.TCP: 16}
_IPV6_HEADER_BYTES = 40


class IpPacket(bytes):
    """IPv4 or IPv6, from the IP header on."""

    __slots__ = ()

    @property
    def size(self) -> int:
        """The length in bytes, from the IP header on."""
        return len(self)

    def contents(self) -> Contents | None:
        """Read the headers; None for what is neither UDP nor TCP, is a later fragment, or is cut short."""
        found = self._transport()
        if found is None:
            return None
        kind, at = found
        payload_at = self._payload_at(kind, at)
        if self[0] >> 4 == 4:
            source, destination = (socket.inet_ntoa(self[i : i + 4]) for i in (12, 16))
        else:
            source, destination = (socket.inet_ntop(socket.AF_INET6, self[i : i + 16]) for i in (8, 24))
        return Contents(
            kind,
            Endpoint(source, int.from_bytes(self[at : at + 2])),
            Endpoint(destination, int.from_bytes(self[at + 2 : at + 4])),
            self[payload_at:],
        )

    def damaged(self, random: Random) -> IpPacket:
        """Return a copy with one bit of the payload changed, and the checksum to fit; without payload, the same."""
        found = self._transport()
        if found is None:
            return self
        kind, at = found
        payload_at = self._payload_at(kind, at)
        payload = self[payload_at:]
        changed = with_flipped_bit(payload, random)
        checksum_at = at + _CHECKSUM_AT[kind]
        old = int.from_bytes(self[checksum_at : checksum_at + 2])
        new = old and _adapted(old, payload, changed, odd=(payload_at - at) % 2)
        return IpPacket(self[:checksum_at] + new.to_bytes(2) + self[checksum_at + 2 : payload_at] + changed)

    def _transport(self) -> tuple[Kind, int] | None:
        """Return the kind and where its header begins. IPv6 extension headers are not looked through."""
        if len(self) < 20:
            return None
        if self[0] >> 4 == 4:
            at, protocol = (self[0] & 15) * 4, self[9]
            if int.from_bytes(self[6:8]) & 0x1FFF:
                return None
        else:
            at, protocol = _IPV6_HEADER_BYTES, self[6]
        kind = _KINDS.get(protocol)
        return None if kind is None or len(self) < at + kind.value else (kind, at)

    def _payload_at(self, kind: Kind, at: int) -> int:
        return at + (8 if kind is Kind.UDP else (self[at + 12] >> 4) * 4)


def _adapted(checksum: int, old: bytes, new: bytes, *, odd: int) -> int:
    """Return the checksum after a change of data (RFC 1624, equation 3); `odd`: the data begins within a word."""
    total = ~checksum & 0xFFFF
    for at, (before, after) in enumerate(zip(old, new, strict=True), odd):
        if before != after:
            shift = 0 if at % 2 else 8
            total += (~(before << shift) & 0xFFFF) + (after << shift)
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF or 0xFFFF
