"""What a peer can be behind, and a network with two of each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement

from rtcmesh.netem.topology import NATS, GatewaySpec, HostSpec, NatConfig, Topology, Uplink

OPEN, CARRIER_GRADE = "open", "carrier-grade"
SERVER = "server"

KINDS: dict[str, tuple[NatConfig, ...]] = {
    OPEN: (),
    "full-cone": (NATS["full-cone"],),
    "address-restricted": (NATS["address-restricted"],),
    "port-restricted": (NATS["port-restricted"],),
    "symmetric": (NATS["symmetric"],),
    CARRIER_GRADE: (NATS["port-restricted"], NATS["symmetric"]),
    "udp-blocked": (NATS["udp-blocked"],),
}
"""The gateways that a peer is behind, from the nearest on."""

ONE, OTHER = "one", "other"

Pair = tuple[str, str]

PAIRS: tuple[Pair, ...] = tuple(combinations_with_replacement(KINDS, 2))


_UNPREDICTABLE = {"symmetric", CARRIER_GRADE}
_STRICT = {"port-restricted", *_UNPREDICTABLE}


def can_be_direct(pair: Pair) -> bool:
    """Whether two peers can reach each other without a TURN server (RFC 5128, section 3.3).

    Not where UDP is blocked, nor where one lets in only whom it has sent to, and the other one has another port for
    everybody.
    """
    if "udp-blocked" in pair:
        return False
    one, other = pair
    return not ((one in _STRICT and other in _UNPREDICTABLE) or (other in _STRICT and one in _UNPREDICTABLE))


def host_of(kind: str, side: str) -> str:
    """Name the host of a side that is behind this."""
    return f"{kind} {side}"


def outermost(kind: str, side: str) -> str | None:
    """Name the gateway before such a host that the world sees; None where there is none."""
    return f"{kind} {side} {len(KINDS[kind]) - 1}" if KINDS[kind] else None


def network(pairs: Sequence[Pair]) -> Topology:
    """Return a network with both ends of these pairs, each behind gateways of its own, and a server."""
    hosts = [HostSpec(name=SERVER)]
    gateways: list[GatewaySpec] = []
    ends = dict.fromkeys([*((one, ONE) for one, _ in pairs), *((other, OTHER) for _, other in pairs)])
    for kind, side in ends:
        above = Uplink()
        for number, nat in reversed(list(enumerate(KINDS[kind]))):
            name = f"{kind} {side} {number}"
            gateways.append(GatewaySpec(name=name, nat=nat, uplink=above))
            above = Uplink(to=name)
        hosts.append(HostSpec(name=host_of(kind, side), uplinks=(above,)))
    return Topology(hosts=tuple(hosts), gateways=tuple(gateways))
