"""STUN bindings (RFC 8489) with what RFC 5780 adds to find out how a NAT behaves. A codec and a responder without I/O.

 0                   1                   2                   3
 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
+-+-+-------------------------------+-------------------------------+
|0 0| type: 0x0001 or 0x0101        | length without these 20 bytes |
+---+-------------------------------+-------------------------------+
| magic cookie 0x2112A442                                           |
+-------------------------------------------------------------------+
| transaction id, 12 bytes                                          |
+-------------------------------------------------------------------+
| attributes: type 2, length 2, value, padded to 4                  |
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass

from .packet import Endpoint

STUN_PORT = 3478

_HEADER = struct.Struct("!HHI12s")
_ATTRIBUTE = struct.Struct("!HH")
_COOKIE = 0x2112A442
_REQUEST, _RESPONSE = 0x0001, 0x0101
_CHANGE_REQUEST, _XOR_MAPPED_ADDRESS, _RESPONSE_ORIGIN, _OTHER_ADDRESS = 0x0003, 0x0020, 0x802B, 0x802C
_CHANGE_ADDRESS, _CHANGE_PORT = 0x4, 0x2


class BadBinding(Exception):
    """Bytes that are no binding request, or no response."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BindingRequest:
    """Asks under which endpoint its sender is seen, and perhaps that the answer come from elsewhere."""

    transaction: bytes
    change_address: bool = False
    change_port: bool = False

    def encode(self) -> bytes:
        """Return the message."""
        flags = self.change_address * _CHANGE_ADDRESS | self.change_port * _CHANGE_PORT
        attributes = _attribute(_CHANGE_REQUEST, struct.pack("!I", flags)) if flags else b""
        return _message(_REQUEST, self.transaction, attributes)

    @classmethod
    def decode(cls, data: bytes) -> BindingRequest:
        """Read a message; attributes that this does not know are passed over. Raises `BadBinding`."""
        transaction, attributes = _parse(data, _REQUEST)
        change = attributes.get(_CHANGE_REQUEST, bytes(4))
        if len(change) != 4:
            raise BadBinding("CHANGE-REQUEST has four bytes")
        return cls(
            transaction=transaction,
            change_address=bool(change[3] & _CHANGE_ADDRESS),
            change_port=bool(change[3] & _CHANGE_PORT),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class BindingResponse:
    """Says under which endpoint the sender of the request was seen."""

    transaction: bytes
    mapped: Endpoint
    origin: Endpoint | None = None
    """From where this response is sent."""
    other: Endpoint | None = None
    """The server's endpoint that differs in both address and port."""

    def encode(self) -> bytes:
        """Return the message."""
        attributes = _attribute(_XOR_MAPPED_ADDRESS, _xor(_address(self.mapped), self.transaction))
        if self.origin is not None:
            attributes += _attribute(_RESPONSE_ORIGIN, _address(self.origin))
        if self.other is not None:
            attributes += _attribute(_OTHER_ADDRESS, _address(self.other))
        return _message(_RESPONSE, self.transaction, attributes)

    @classmethod
    def decode(cls, data: bytes) -> BindingResponse:
        """Read a message; attributes that this does not know are passed over. Raises `BadBinding`."""
        transaction, attributes = _parse(data, _RESPONSE)
        if _XOR_MAPPED_ADDRESS not in attributes:
            raise BadBinding("it has no XOR-MAPPED-ADDRESS")
        origin, other = attributes.get(_RESPONSE_ORIGIN), attributes.get(_OTHER_ADDRESS)
        return cls(
            transaction=transaction,
            mapped=_endpoint(_xor(attributes[_XOR_MAPPED_ADDRESS], transaction)),
            origin=None if origin is None else _endpoint(origin),
            other=None if other is None else _endpoint(other),
        )


def answer(
    data: bytes, source: Endpoint, reached: Endpoint, other: Endpoint | None
) -> tuple[Endpoint, bytes] | None:
    """Return from where to answer a datagram, and what; None when it is no binding request.

    `reached` is where it came to, `other` the server's endpoint that differs in both address and port. Without one a
    wish for another address or port is not answered, as nobody could.
    """
    try:
        request = BindingRequest.decode(data)
    except BadBinding:
        return None
    if other is None:
        if request.change_address or request.change_port:
            return None
        other_address, other_port = reached
    else:
        other_address, other_port = other
    sender = Endpoint(
        other_address if request.change_address else reached.address,
        other_port if request.change_port else reached.port,
    )
    response = BindingResponse(transaction=request.transaction, mapped=source, origin=sender, other=other)
    return sender, response.encode()


def _message(kind: int, transaction: bytes, attributes: bytes) -> bytes:
    return _HEADER.pack(kind, len(attributes), _COOKIE, transaction) + attributes


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(kind, len(value)) + value + bytes(-len(value) % 4)


def _parse(data: bytes, expected: int) -> tuple[bytes, dict[int, bytes]]:
    if len(data) < _HEADER.size:
        raise BadBinding("it is shorter than a header")
    kind, length, cookie, transaction = _HEADER.unpack_from(data)
    if (kind, cookie) != (expected, _COOKIE) or length != len(data) - _HEADER.size or length % 4:
        raise BadBinding("its header is that of something else")
    attributes: dict[int, bytes] = {}
    offset = _HEADER.size
    while offset < len(data):
        attribute, size = _ATTRIBUTE.unpack_from(data, offset)
        offset += _ATTRIBUTE.size
        if size > len(data) - offset:
            raise BadBinding("an attribute is longer than the message")
        attributes.setdefault(attribute, data[offset : offset + size])
        offset += size + -size % 4
    return transaction, attributes


def _address(endpoint: Endpoint) -> bytes:
    address = ipaddress.ip_address(endpoint.address)
    return struct.pack("!xBH", 1 if address.version == 4 else 2, endpoint.port) + address.packed


def _endpoint(value: bytes) -> Endpoint:
    if len(value) not in {8, 20} or value[1] != (1 if len(value) == 8 else 2):
        raise BadBinding("an address is malformed")
    return Endpoint(str(ipaddress.ip_address(value[4:])), int.from_bytes(value[2:4], "big"))


def _xor(value: bytes, transaction: bytes) -> bytes:
    """Hide an address from boxes that translate what looks like one, or bring it back."""
    key = struct.pack("!xxHI", _COOKIE >> 16, _COOKIE) + transaction
    return bytes(one ^ other for one, other in zip(value, key, strict=False))
