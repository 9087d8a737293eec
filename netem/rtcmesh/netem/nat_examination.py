"""What to ask a NAT in order to know how it behaves, and what the answers mean (RFC 5780, section 4): machines.

Each is a generator of questions that is sent the answers and returns what it has found. Whoever asks plays the server
with two addresses and two ports, or asks a real one.
"""

from __future__ import annotations

import enum
from collections.abc import Generator
from typing import NamedTuple

from .packet import Endpoint
from .topology import Dependence


class Remote(enum.Enum):
    """An end of the server."""

    FIRST = enum.auto()
    OTHER_PORT = enum.auto()
    OTHER_ADDRESS = enum.auto()
    OTHER = enum.auto()
    """Another address, and another port as well."""


class SeenFrom(NamedTuple):
    """As whom does a socket look from there? It is the same one for all of these questions. None: no answer."""

    remote: Remote


class ReachedFrom(NamedTuple):
    """Is a socket reached from there that has written to the first end alone? Any such socket will do."""

    remote: Remote


def examine_mapping() -> Generator[SeenFrom, Endpoint | None, Dependence | None]:
    """Compare what one socket looks like from different ends (section 4.3). None: one of them does not see it."""
    first = yield SeenFrom(Remote.FIRST)
    second = yield SeenFrom(Remote.OTHER_ADDRESS)
    if first is None or second is None:
        return None
    if first == second:
        return Dependence.ENDPOINT_INDEPENDENT
    third = yield SeenFrom(Remote.OTHER)
    if third is None:
        return None
    return Dependence.ADDRESS_DEPENDENT if second == third else Dependence.ADDRESS_AND_PORT_DEPENDENT


def examine_filtering() -> Generator[ReachedFrom, bool, Dependence]:
    """Try to come in from ends to which nothing was sent (section 4.4)."""
    if (yield ReachedFrom(Remote.OTHER)):
        return Dependence.ENDPOINT_INDEPENDENT
    if (yield ReachedFrom(Remote.OTHER_PORT)):
        return Dependence.ADDRESS_DEPENDENT
    return Dependence.ADDRESS_AND_PORT_DEPENDENT
