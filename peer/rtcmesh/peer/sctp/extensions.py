"""What an end can do beyond RFC 9260, as it says in its INIT or INIT ACK (RFC 5061 section 4.2.7)."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntFlag

from .chunks import ChunkType
from .errors import ProtocolError
from .parameters import Cause, Parameter, ParameterType


class Extensions(IntFlag):
    """One bit each; they are part of the state cookie."""

    PARTIAL_RELIABILITY = 1
    """RFC 3758."""
    RECONFIGURATION = 2
    """RFC 6525."""
    INTERLEAVING = 4
    """RFC 8260."""
    ZERO_CHECKSUM = 16
    """RFC 9653: the end takes packets without a checksum, since DTLS detects errors."""
    OURS = 8
    """The end is one of this package."""


_IGNORED = {5, 6, 9, 11, 12}
"""Addresses of multi-homed ends, and what else RFC 9260 section 3.3.2 has that means nothing over DTLS."""

_BY_CHUNK: dict[int, Extensions] = {
    ChunkType.FORWARD_TSN: Extensions.PARTIAL_RELIABILITY,
    ChunkType.RE_CONFIG: Extensions.RECONFIGURATION,
    ChunkType.I_DATA: Extensions.INTERLEAVING,
}

_OVER_DTLS = (1).to_bytes(4, "big")
"""The error detection method of RFC 9653 section 7.2."""

_STOP_UNLESS, _REPORT = 0x8000, 0x4000


def offer(*, interleaving: bool, zero_checksum: bool) -> list[Parameter]:
    """Return the parameters that say what this end can do."""
    chunks = [ChunkType.RE_CONFIG, ChunkType.FORWARD_TSN]
    if interleaving:
        chunks += [ChunkType.I_DATA, ChunkType.I_FORWARD_TSN]
    return [
        Parameter(ParameterType.FORWARD_TSN_SUPPORTED, b""),
        Parameter(ParameterType.SUPPORTED_EXTENSIONS, bytes(chunks)),
        *([Parameter(ParameterType.ZERO_CHECKSUM_ACCEPTABLE, _OVER_DTLS)] if zero_checksum else []),
        Parameter(ParameterType.RTCMESH, b"\x01"),
    ]


def read(parameters: Sequence[Parameter]) -> tuple[Extensions, list[Parameter]]:
    """Return what the other end can do, and the parameters that it wants to hear of when they are not understood."""
    extensions = Extensions(0)
    unrecognized: list[Parameter] = []
    for parameter in parameters:
        match parameter.kind:
            case ParameterType.FORWARD_TSN_SUPPORTED:
                extensions |= Extensions.PARTIAL_RELIABILITY
            case ParameterType.SUPPORTED_EXTENSIONS:
                for chunk in set(parameter.value) & _BY_CHUNK.keys():
                    extensions |= _BY_CHUNK[chunk]
            case ParameterType.ZERO_CHECKSUM_ACCEPTABLE if parameter.value == _OVER_DTLS:
                extensions |= Extensions.ZERO_CHECKSUM
            case ParameterType.RTCMESH:
                extensions |= Extensions.OURS
            case ParameterType.STATE_COOKIE | ParameterType.UNRECOGNIZED:
                pass
            case kind if kind in _IGNORED:
                pass
            case kind:
                # RFC 9260 section 3.2.1: the top bits say whether to report, and whether to go on.
                if kind & _REPORT:
                    unrecognized.append(parameter)
                if not kind & _STOP_UNLESS:
                    break
    return extensions, unrecognized


def cookie_of(parameters: Sequence[Parameter]) -> bytes:
    """Return the state cookie of an INIT ACK. Raises `ProtocolError`."""
    for parameter in parameters:
        if parameter.kind == ParameterType.STATE_COOKIE:
            return parameter.value
    raise ProtocolError(Cause.MISSING_PARAMETER, "an INIT ACK without a state cookie")
