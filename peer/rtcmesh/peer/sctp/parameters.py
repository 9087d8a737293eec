"""Type, length, value: optional parameters and error causes (RFC 9260 sections 3.2.1, 3.3.10).

 0                   1                   2                   3
 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
+-------------------------------+-------------------------------+
|             type              |   length, without padding     |
+-------------------------------+-------------------------------+
|              value, padded to a multiple of 4                 |
+---------------------------------------------------------------+
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from struct import Struct
from typing import NamedTuple

from .errors import ProtocolError

_HEADER = Struct("!HH")


class ParameterType(IntEnum):
    """The parameters that are understood here."""

    HEARTBEAT_INFO = 1
    STATE_COOKIE = 7
    UNRECOGNIZED = 8
    OUTGOING_RESET_REQUEST = 13
    INCOMING_RESET_REQUEST = 14
    ASSOCIATION_RESET_REQUEST = 15
    RECONFIGURATION_RESPONSE = 16
    ADD_OUTGOING_STREAMS = 17
    ADD_INCOMING_STREAMS = 18
    ZERO_CHECKSUM_ACCEPTABLE = 0x8001
    """What else detects errors, so that packets need no checksum (RFC 9653 section 4)."""
    SUPPORTED_EXTENSIONS = 0x8008
    """The chunk types beyond RFC 9260 that an end understands (RFC 5061 section 4.2.7)."""
    RTCMESH = 0xBF52
    """Not registered: says that the sender is an end of this package. The top bits say "skip silently"."""
    FORWARD_TSN_SUPPORTED = 0xC000


class Cause(IntEnum):
    """Why an association is aborted or something was refused (RFC 9260 section 3.3.10)."""

    INVALID_STREAM = 1
    MISSING_PARAMETER = 2
    STALE_COOKIE = 3
    OUT_OF_RESOURCE = 4
    UNRECOGNIZED_CHUNK = 6
    INVALID_PARAMETER = 7
    UNRECOGNIZED_PARAMETERS = 8
    NO_USER_DATA = 9
    COOKIE_WHILE_SHUTTING_DOWN = 10
    USER_INITIATED_ABORT = 12
    PROTOCOL_VIOLATION = 13


class Parameter(NamedTuple):
    """A parameter or an error cause."""

    kind: int
    value: bytes

    def encode(self) -> bytes:
        """Return it without padding."""
        return _HEADER.pack(self.kind, 4 + len(self.value)) + self.value


def encode(parameters: Iterable[Parameter]) -> bytes:
    """Return the parameters one after the other; the padding of the last one is that of the chunk (section 3.2)."""
    encoded = b""
    for parameter in parameters:
        encoded += bytes(-len(encoded) % 4) + parameter.encode()
    return encoded


def decode(value: bytes) -> list[Parameter]:
    """Return the parameters in `value`. Raises `ProtocolError` when a length is wrong."""
    parameters: list[Parameter] = []
    offset = 0
    while offset + 4 <= len(value):
        kind, length = _HEADER.unpack_from(value, offset)
        if length < 4 or offset + length > len(value):
            raise ProtocolError(Cause.PROTOCOL_VIOLATION, f"a parameter {kind} of {length} bytes")
        parameters.append(Parameter(kind, value[offset + 4 : offset + length]))
        offset += (length + 3) & ~3
    return parameters


def describe(causes: Iterable[Parameter]) -> str:
    """Return error causes for people; what the remote end wrote is cut and made printable."""
    return ", ".join(_describe(cause) for cause in causes) or "no cause given"


def _describe(cause: Parameter) -> str:
    try:
        name = Cause(cause.kind).name.lower().replace("_", " ")
    except ValueError:
        name = f"cause {cause.kind}"
    text = cause.value[:80].decode("ascii", "replace")
    return f"{name}: {text}" if text and text.isprintable() else name
