"""What a packet is for, told by its first bytes (RFC 7983) and by what the packets before it were."""

from __future__ import annotations

import enum
from collections import OrderedDict

from rtcmesh.netem.packet import Contents, Endpoint, Kind

from .dtls_flight import DtlsFlights

MAX_FLOWS = 256
"""How many pairs of endpoints a link remembers; the one that rested longest is forgotten."""


class PacketClass(enum.Enum):
    """What WebRTC sends."""

    STUN_REQUEST = "stun-request"
    """A binding request: gathering, or a connectivity check (RFC 8445)."""
    CONSENT_CHECK = "consent-check"
    """A binding request between two endpoints of which this one has sent DTLS to the other (RFC 7675)."""
    STUN_RESPONSE = "stun-response"
    """The answer to any binding request, good or bad."""
    STUN_INDICATION = "stun-indication"
    TURN_CONTROL = "turn-control"
    """Allocations, permissions, channel bindings, and the answers to them (RFC 8656)."""
    TURN_DATA = "turn-data"
    """What a TURN server relays, in channels or indications, whatever it is."""
    DTLS_HANDSHAKE = "dtls-handshake"
    """Handshake messages and ChangeCipherSpec (RFC 6347)."""
    DTLS_ALERT = "dtls-alert"
    DTLS_DATA = "dtls-data"
    """Application data: for WebRTC, SCTP and with it data channels. Of DTLS 1.3, all that is encrypted."""
    RTP = "rtp"
    """RTP and RTCP."""
    TCP = "tcp"
    """Any TCP segment; streams are not looked into."""
    OTHER = "other"


_BINDING = 0x001
_RELAYED = (0x006, 0x007)  # the methods Send and Data
_CLASS_MASK = 0x110
_STUN_HEADER_BYTES = 20
_DTLS_CLASSES = {
    20: PacketClass.DTLS_HANDSHAKE,
    21: PacketClass.DTLS_ALERT,
    22: PacketClass.DTLS_HANDSHAKE,
    23: PacketClass.DTLS_DATA,
    25: PacketClass.DTLS_DATA,  # with a connection id (RFC 9146)
}
_FIRST_UNIFIED_HEADER = 32  # of DTLS 1.3 (RFC 9147, section 4)


def class_of(payload: bytes) -> PacketClass:
    """Classify a UDP payload by itself: RFC 7983, section 7. A consent check looks like any binding request."""
    if not payload:
        return PacketClass.OTHER
    first = payload[0]
    if first < 4 and len(payload) >= _STUN_HEADER_BYTES:
        return _stun_class(int.from_bytes(payload[:2]))
    if 20 <= first <= 63:
        unknown = PacketClass.OTHER if first < _FIRST_UNIFIED_HEADER else PacketClass.DTLS_DATA
        return _DTLS_CLASSES.get(first, unknown)
    if 64 <= first <= 79:
        return PacketClass.TURN_DATA
    if 128 <= first <= 191:
        return PacketClass.RTP
    return PacketClass.OTHER


def _stun_class(kind: int) -> PacketClass:
    """Take the method and the class of a STUN message apart, whose bits are interleaved (RFC 8489, section 5)."""
    method = (kind & 0x3E00) >> 2 | (kind & 0x00E0) >> 1 | kind & 0x000F
    if method in _RELAYED:
        return PacketClass.TURN_DATA
    if method != _BINDING:
        return PacketClass.TURN_CONTROL
    match kind & _CLASS_MASK:
        case 0x000:
            return PacketClass.STUN_REQUEST
        case 0x010:
            return PacketClass.STUN_INDICATION
        case _:
            return PacketClass.STUN_RESPONSE


class _Flow:
    """One direction between two endpoints."""

    def __init__(self) -> None:
        self.has_dtls = False
        self.flights = DtlsFlights()


class Classifier:
    """Classifies the packets of one link, in constant memory."""

    def __init__(self) -> None:
        self._flows: OrderedDict[tuple[Endpoint, Endpoint], _Flow] = OrderedDict()

    def classify(self, contents: Contents | None) -> tuple[PacketClass, int]:
        """Return the class of a packet, and the number of the flight of a DTLS handshake, from 1 on; else 0."""
        if contents is None:
            return PacketClass.OTHER, 0
        if contents.kind is Kind.TCP:
            return PacketClass.TCP, 0
        packet_class = class_of(contents.payload)
        if packet_class is PacketClass.STUN_REQUEST:
            flow = self._flows.get((contents.source, contents.destination))
            return (PacketClass.CONSENT_CHECK if flow and flow.has_dtls else packet_class), 0
        if packet_class not in _DTLS_CLASSES.values():
            return packet_class, 0
        flow = self._flow(contents)
        flow.has_dtls = True
        if packet_class is PacketClass.DTLS_HANDSHAKE:
            return packet_class, flow.flights.number_of(contents.payload)
        return packet_class, 0

    def _flow(self, contents: Contents) -> _Flow:
        key = (contents.source, contents.destination)
        flow = self._flows.get(key)
        if flow is None:
            flow = self._flows[key] = _Flow()
            if len(self._flows) > MAX_FLOWS:
                self._flows.popitem(last=False)
        else:
            self._flows.move_to_end(key)
        return flow
