"""STUN bindings between two ends that know each other's password (RFC 8489, RFC 8445 section 7), prepared for many.

    +-------------------------------+
    |     type      |    length     |  request or response, bytes behind the header
    |         magic cookie          |
    |      transaction id (12)      |
    +-------------------------------+
    | type | length | value, padded |  for each attribute: of a request, who asks and in which role; of a response,
    |              ...              |  from where it was asked
    |     MESSAGE-INTEGRITY (20)    |  HMAC-SHA1 with the password of the end that is asked
    |        FINGERPRINT (4)        |  CRC-32
    +-------------------------------+

Only what two ends say to each other again and again is known here, and only in the form above. Anything else is no
binding of these two: errors, conflicts of roles, nominations, strangers are for a whole ICE agent.
"""

from __future__ import annotations

import hmac
import zlib
from collections.abc import Iterator
from functools import lru_cache
from ipaddress import ip_address
from struct import Struct

TRANSACTION_ID_BYTES = 12

_COOKIE = 0x2112A442
_COOKIE_BYTES = _COOKIE.to_bytes(4, "big")
_FINGERPRINT_XOR = 0x5354554E

_HEADER = Struct("!HH4s12s")
_ATTRIBUTE = Struct("!HH")
_REQUEST, _RESPONSE = 0x0001, 0x0101
_USERNAME, _INTEGRITY, _XOR_MAPPED_ADDRESS, _PRIORITY = 0x0006, 0x0008, 0x0020, 0x0024
_FINGERPRINT, _CONTROLLED, _CONTROLLING = 0x8028, 0x8029, 0x802A
_OPTIONAL = 0x8000
"""Who does not know an attribute from here on ignores it (RFC 8489 section 14)."""

_INTEGRITY_HEADER = _ATTRIBUTE.pack(_INTEGRITY, 20)
_FINGERPRINT_HEADER = _ATTRIBUTE.pack(_FINGERPRINT, 4)
_FINGERPRINT_BYTES = 8
_SEAL_BYTES = 24 + _FINGERPRINT_BYTES


class Bindings:
    """What one end says and hears. Whatever the bytes, nothing raises."""

    def __init__(
        self, *, local: tuple[str, str], remote: tuple[str, str], priority: int, tie_breaker: int
    ) -> None:
        """Take the user name fragment and the password of each end, and what requests say of ours."""
        self._local_key, self._remote_key = local[1].encode(), remote[1].encode()
        self._expected_name = f"{local[0]}:{remote[0]}".encode()
        name = f"{remote[0]}:{local[0]}".encode()
        self._who = _attribute(_USERNAME, name) + _attribute(_PRIORITY, priority.to_bytes(4, "big"))
        self._tie_breaker = tie_breaker.to_bytes(8, "big")

    def request(self, transaction_id: bytes, *, is_controlling: bool) -> bytes:
        """Return a request that nominates nothing."""
        role = _attribute(_CONTROLLING if is_controlling else _CONTROLLED, self._tie_breaker)
        return _seal(_REQUEST, transaction_id, self._who + role, self._remote_key)

    def response(self, transaction_id: bytes, host: str, port: int) -> bytes:
        """Return the answer to a request that came from this address."""
        address = _attribute(_XOR_MAPPED_ADDRESS, _xor_address(host, port, transaction_id))
        return _seal(_RESPONSE, transaction_id, address, self._local_key)

    def is_request(self, message: bytes, *, is_controlling: bool) -> bool:
        """Tell whether this is a request of the other end that asks for no more than an answer."""
        if not _is_sealed(message, _REQUEST, self._local_key):
            return False
        name = b""
        conflict = _CONTROLLING if is_controlling else _CONTROLLED
        for kind, value in _attributes(message[_HEADER.size : -_SEAL_BYTES]):
            if kind == _USERNAME:
                name = value
            elif kind == conflict or (kind != _PRIORITY and kind < _OPTIONAL):
                return False
        return name == self._expected_name

    def is_response(self, message: bytes) -> bool:
        """Tell whether this is a response of the other end."""
        return _is_sealed(message, _RESPONSE, self._remote_key)


def transaction_id_of(message: bytes) -> bytes:
    """Return what a response has in common with its request."""
    return message[_HEADER.size - TRANSACTION_ID_BYTES : _HEADER.size]


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(kind, len(value)) + value + bytes(-len(value) % 4)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Return the attributes; one that is cut off comes out as one that nobody knows."""
    offset = 0
    while offset < len(data):
        if offset + _ATTRIBUTE.size > len(data):
            yield 0, b""
            return
        kind, length = _ATTRIBUTE.unpack_from(data, offset)
        offset += _ATTRIBUTE.size
        yield (kind, data[offset : offset + length]) if offset + length <= len(data) else (0, b"")
        offset += length + -length % 4


def _seal(kind: int, transaction_id: bytes, attributes: bytes, key: bytes) -> bytes:
    length = len(attributes) + _SEAL_BYTES
    covered = _HEADER.pack(kind, length - _FINGERPRINT_BYTES, _COOKIE_BYTES, transaction_id) + attributes
    integrity = _INTEGRITY_HEADER + hmac.digest(key, covered, "sha1")
    message = _HEADER.pack(kind, length, _COOKIE_BYTES, transaction_id) + attributes + integrity
    return message + _FINGERPRINT_HEADER + _fingerprint(message)


def _is_sealed(message: bytes, kind: int, key: bytes) -> bool:
    """Tell whether this is a message of that kind, made by somebody who knows the key."""
    if len(message) < _HEADER.size + _SEAL_BYTES:
        return False
    if message[:8] != _HEADER.pack(kind, len(message) - _HEADER.size, _COOKIE_BYTES, b"")[:8]:
        return False
    if message[-8:-4] != _FINGERPRINT_HEADER or message[-32:-28] != _INTEGRITY_HEADER:
        return False
    if message[-4:] != _fingerprint(message[:-_FINGERPRINT_BYTES]):
        return False
    # RFC 8489 section 14.5: the length up to the end of the attribute itself.
    length = len(message) - _HEADER.size - _FINGERPRINT_BYTES
    covered = message[:2] + length.to_bytes(2, "big") + message[4:-_SEAL_BYTES]
    return hmac.compare_digest(message[-28:-8], hmac.digest(key, covered, "sha1"))


def _fingerprint(message: bytes) -> bytes:
    return (zlib.crc32(message) ^ _FINGERPRINT_XOR).to_bytes(4, "big")


def _xor_address(host: str, port: int, transaction_id: bytes) -> bytes:
    family, packed = _packed(host)
    mask = (_COOKIE_BYTES + transaction_id)[: len(packed)]
    masked = int.from_bytes(packed, "big") ^ int.from_bytes(mask, "big")
    return family + (port ^ _COOKIE >> 16).to_bytes(2, "big") + masked.to_bytes(len(packed), "big")


@lru_cache(maxsize=1024)
def _packed(host: str) -> tuple[bytes, bytes]:
    address = ip_address(host)
    return (b"\x00\x01" if address.version == 4 else b"\x00\x02"), address.packed
