"""A box that translates addresses, as RFC 4787 describes such boxes. No I/O and no clock."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from rtcmesh.netem.packet import Endpoint, Kind
from rtcmesh.netem.topology import Dependence, NatConfig, PortAssignment

TCP_LIFETIME = 7440.0
"""Seconds without an outgoing segment after which a mapping of TCP is forgotten (RFC 5382, REQ-5)."""

FIRST_UNPRIVILEGED = 1024
LAST_PORT = 65535


class Refusal(enum.Enum):
    """Why a packet does not pass."""

    BLOCKED = "blocked"
    """It is UDP, and none may pass."""
    UNMAPPED = "unmapped"
    """It comes from outside to a port that stands for nobody."""
    FILTERED = "filtered"
    """It comes from outside, from somebody to whom nothing was sent."""
    EXHAUSTED = "exhausted"
    """It needs a port, and none is left."""
    NOT_HAIRPINNED = "not hairpinned"
    """It is for the box's own outer address, and comes from inside."""


@dataclass(slots=True)
class NatCounters:
    """What a box did; every packet that it saw is in one of the last eight."""

    mapped: int = 0
    """Mappings that were made."""
    expired: int = 0
    """Mappings that were forgotten because nothing went out for their lifetime."""
    sent_out: int = 0
    let_in: int = 0
    hairpinned: int = 0
    blocked: int = 0
    unmapped: int = 0
    filtered: int = 0
    exhausted: int = 0
    not_hairpinned: int = 0


_Scope = None | str | Endpoint


@dataclass(slots=True)
class _Mapping:
    """An external port and whom it stands for."""

    kind: Kind
    internal: Endpoint
    scope: _Scope
    external: Endpoint
    expires_at: float = 0.0
    welcome: dict[_Scope, float] = field(default_factory=dict[_Scope, float])
    """From whom packets may come in, and until when."""


class Nat:
    """Maps internal endpoints to ports of one external address, and decides what may come in.

    - Two packets share a mapping when they are of one protocol, from one internal endpoint, and to remote endpoints
      that `NatConfig.mapping` does not tell apart (REQ-1 asks for `ENDPOINT_INDEPENDENT`).
    - No external port stands for two internal endpoints at once (REQ-3); those below 1024 are for internal ports below
      1024 (REQ-3 a).
    - A packet comes in if one went out through the same mapping, within the lifetime, to a remote endpoint that
      `NatConfig.filtering` does not tell apart from its sender (section 5).
    - Outgoing packets alone keep mapping and filter alive (REQ-6; that incoming ones do as well is allowed there, and
      open to attack).
    - Two hosts behind it see each other's external addresses when they talk through it (REQ-9 a).

    TCP is treated alike, with a lifetime of its own; a segment in the midst of a connection is mapped like a first one,
    as Linux does it.
    """

    def __init__(self, config: NatConfig, address: str, random: Random) -> None:
        self.config = config
        self.address = address
        """The external address."""
        self.counters = NatCounters()
        self._random = random
        self._mapping_scope = _SCOPES[config.mapping]
        self._filtering_scope = _SCOPES[config.filtering]
        self._mappings: dict[tuple[Kind, Endpoint, _Scope], _Mapping] = {}
        self._by_port: dict[tuple[Kind, int], _Mapping] = {}
        self._retired: frozenset[tuple[Kind, int]] = frozenset()
        self._last_port = FIRST_UNPRIVILEGED - 1
        self._sweep_at = 0.0

    @property
    def mappings(self) -> int:
        """How many mappings it holds; some may have expired."""
        return len(self._by_port)

    def outbound(self, kind: Kind, internal: Endpoint, remote: Endpoint, now: float) -> Endpoint | Refusal:
        """Return the external source of a packet that goes out."""
        external = self._map(kind, internal, remote, now)
        if isinstance(external, Endpoint):
            self.counters.sent_out += 1
        return external

    def inbound(self, kind: Kind, remote: Endpoint, port: int, now: float) -> Endpoint | Refusal:
        """Return for whom a packet is that came from outside to an external port."""
        internal = self._admit(kind, remote, port, now)
        if isinstance(internal, Endpoint):
            self.counters.let_in += 1
        return internal

    def hairpin(
        self, kind: Kind, internal: Endpoint, port: int, now: float
    ) -> tuple[Endpoint, Endpoint] | Refusal:
        """Return source and destination of a packet from inside to an external port of this box."""
        if not self.config.hairpinning:
            self.counters.not_hairpinned += 1
            return Refusal.NOT_HAIRPINNED
        source = self._map(kind, internal, Endpoint(self.address, port), now)
        if isinstance(source, Refusal):
            return source
        destination = self._admit(kind, source, port, now)
        if isinstance(destination, Refusal):
            return destination
        self.counters.hairpinned += 1
        return source, destination

    def forget(self) -> None:
        """Forget every mapping, as a box does that starts anew."""
        self._mappings.clear()
        self._by_port.clear()
        self._retired = frozenset()

    def rebind(self) -> None:
        """Forget every mapping, and give none of the ports that were in use to anybody until the next time."""
        taken = frozenset(self._by_port)
        self.forget()
        self._retired = taken

    def _map(self, kind: Kind, internal: Endpoint, remote: Endpoint, now: float) -> Endpoint | Refusal:
        if kind is Kind.UDP and self.config.blocks_udp:
            self.counters.blocked += 1
            return Refusal.BLOCKED
        key = (kind, internal, self._mapping_scope(remote))
        mapping = self._mappings.get(key)
        if mapping is None or mapping.expires_at <= now:
            mapping = self._make_mapping(*key, now)
            if mapping is None:
                self.counters.exhausted += 1
                return Refusal.EXHAUSTED
        mapping.expires_at = now + (self.config.udp_lifetime if kind is Kind.UDP else TCP_LIFETIME)
        mapping.welcome[self._filtering_scope(remote)] = mapping.expires_at
        return mapping.external

    def _admit(self, kind: Kind, remote: Endpoint, port: int, now: float) -> Endpoint | Refusal:
        if kind is Kind.UDP and self.config.blocks_udp:
            self.counters.blocked += 1
            return Refusal.BLOCKED
        mapping = self._by_port.get((kind, port))
        if mapping is None or mapping.expires_at <= now:
            self.counters.unmapped += 1
            return Refusal.UNMAPPED
        if mapping.welcome.get(self._filtering_scope(remote), now) <= now:
            self.counters.filtered += 1
            return Refusal.FILTERED
        return mapping.internal

    def _make_mapping(self, kind: Kind, internal: Endpoint, scope: _Scope, now: float) -> _Mapping | None:
        if now >= self._sweep_at:
            self._sweep(now)
        expired = self._mappings.get((kind, internal, scope))
        if expired is not None:
            self._expire(expired)
        port = self._free_port(kind, internal.port, now)
        if port is None:
            return None
        mapping = _Mapping(kind, internal, scope, Endpoint(self.address, port))
        self._mappings[kind, internal, scope] = self._by_port[kind, port] = mapping
        self.counters.mapped += 1
        return mapping

    def _free_port(self, kind: Kind, internal: int, now: float) -> int | None:
        """Find a port in the same part of the range as the internal one."""
        low, high = (
            (1, FIRST_UNPRIVILEGED - 1) if internal < FIRST_UNPRIVILEGED else (FIRST_UNPRIVILEGED, LAST_PORT)
        )
        match self.config.ports:
            case PortAssignment.PRESERVED:
                first = internal
            case PortAssignment.CONTIGUOUS:
                first = self._last_port + 1
            case PortAssignment.RANDOM:
                first = self._random.randint(low, high)
        count = high - low + 1
        for step in range(count):
            port = low + (first - low + step) % count
            if (kind, port) not in self._retired and self._is_free(kind, port, now):
                self._last_port = port
                return port
        return None

    def _is_free(self, kind: Kind, port: int, now: float) -> bool:
        mapping = self._by_port.get((kind, port))
        if mapping is not None and mapping.expires_at <= now:
            self._expire(mapping)
            mapping = None
        return mapping is None

    def _sweep(self, now: float) -> None:
        """Let go of what has expired, once in a lifetime: the table holds no more than what two of them brought."""
        self._sweep_at = now + self.config.udp_lifetime
        for mapping in list(self._by_port.values()):
            if mapping.expires_at <= now:
                self._expire(mapping)
            else:
                mapping.welcome = {who: until for who, until in mapping.welcome.items() if until > now}

    def _expire(self, mapping: _Mapping) -> None:
        self.counters.expired += 1
        del self._mappings[mapping.kind, mapping.internal, mapping.scope]
        del self._by_port[mapping.kind, mapping.external.port]


def _nothing(_: Endpoint) -> _Scope:
    return None


def _address(remote: Endpoint) -> _Scope:
    return remote.address


def _address_and_port(remote: Endpoint) -> _Scope:
    return remote


_SCOPES: dict[Dependence, Callable[[Endpoint], _Scope]] = {
    Dependence.ENDPOINT_INDEPENDENT: _nothing,
    Dependence.ADDRESS_DEPENDENT: _address,
    Dependence.ADDRESS_AND_PORT_DEPENDENT: _address_and_port,
}
"""What of a remote endpoint counts."""
