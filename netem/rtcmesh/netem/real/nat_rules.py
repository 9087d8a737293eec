"""The rules of nftables that make a gateway translate and filter as a `NatConfig` says (RFC 4787).

What leaves, and from which external port, is learnt on its way out:

    mapping     from the end within, and as much of the remote end as the mapping depends on, to the external port
    inside      from the external port to the end within
    permitted   external ports and the addresses to which something went from there

A later flow with the same key gets the same port; what comes in is let in by the latter two. Filtering that depends on
address and port is what connection tracking does by itself. Where hairpinning is on, what comes from within is not
filtered.
"""

from __future__ import annotations

import math

from rtcmesh.netem.topology import Dependence, NatConfig, PortAssignment

OUTSIDE = "up0"
"""What a gateway calls its interface to what it is behind."""

_CONTIGUOUS_FROM = 49_152
_CONTIGUOUS = 4096
_SHIFTS = 1000
_STEP = 97

_REMOTE_PARTS = {
    Dependence.ENDPOINT_INDEPENDENT: ((), ()),
    Dependence.ADDRESS_DEPENDENT: (("ip daddr",), ("ipv4_addr",)),
    Dependence.ADDRESS_AND_PORT_DEPENDENT: (("ip daddr", "udp dport"), ("ipv4_addr", "inet_service")),
}

_REPLACE = "table ip gateway\ndelete table ip gateway\n"

SILENT_RULES = f"""{_REPLACE}
table ip gateway {{
    chain incoming {{ type filter hook prerouting priority -400; policy drop; }}
    chain outgoing {{ type filter hook output priority -400; policy drop; }}
}}
"""
"""What a gateway does while it starts: nothing."""


def lifetime_of(nat: NatConfig) -> int:
    """Return its lifetime in whole seconds, as the kernel counts."""
    return max(1, math.ceil(nat.udp_lifetime))


def rules(nat: NatConfig, *, external: str, inside: str, generation: int = 0) -> str:
    """Return rules that replace those there are, and with them all that they have learnt.

    `external` is the address that the world sees, `inside` the network below. Each `generation` gives the same flows
    other ports than the one before.
    """
    remote, remote_types = _REMOTE_PARTS[nat.mapping]
    key = " . ".join(("ip saddr", "udp sport", *remote))
    learnt_key = " . ".join(("ct original ip saddr", "ct original proto-src", *remote))
    key_type = " . ".join(("ipv4_addr", "inet_service", *remote_types))
    flags = f"size 65535; flags dynamic,timeout; timeout {lifetime_of(nat)}s;"
    return f"""{_REPLACE}
table ip gateway {{
    map mapping {{ type {key_type} : inet_service; {flags} }}
    map inside {{ type inet_service : ipv4_addr . inet_service; {flags} }}
    set permitted {{ type inet_service . ipv4_addr; {flags} }}
    chain forward {{
        type filter hook forward priority 0;
        {"meta l4proto udp drop" if nat.blocks_udp else ""}
        iifname "{OUTSIDE}" ct state new ct status ! dnat drop
    }}
    chain own {{
        type filter hook input priority 0;
        iifname "{OUTSIDE}" ct state != {{ established, related }} drop
        ip daddr {external} meta l4proto udp drop
    }}
    chain translate {{
        type nat hook postrouting priority 100;
        ip saddr != {inside} return
        meta l4proto != udp snat ip to {external}
        {key} @mapping meta l4proto udp snat ip to {external} : {key} map @mapping
        {_new_port(nat, external, generation)}
    }}
    chain learn {{
        type filter hook postrouting priority 150;
        oifname != "{OUTSIDE}" return
        meta l4proto != udp return
        update @permitted {{ udp sport . ip daddr }}
        ct direction reply update @inside {{ udp sport : ct reply ip saddr . ct reply proto-src }} return
        update @inside {{ udp sport : ct original ip saddr . ct original proto-src }}
        meta l4proto udp update @mapping {{ {learnt_key} : udp sport }}
    }}
    chain admit {{
        type nat hook prerouting priority -100;
        {_ADMISSIONS[nat.filtering]}
        {_hairpin(external, inside) if nat.hairpinning else ""}
    }}
}}
"""


_ADMISSIONS = {
    Dependence.ENDPOINT_INDEPENDENT: f'iifname "{OUTSIDE}" dnat ip to udp dport map @inside',
    Dependence.ADDRESS_DEPENDENT: (
        f'iifname "{OUTSIDE}" udp dport . ip saddr @permitted dnat ip to udp dport map @inside'
    ),
    Dependence.ADDRESS_AND_PORT_DEPENDENT: "",
}


def _hairpin(external: str, inside: str) -> str:
    return f"ip saddr {inside} ip daddr {external} dnat ip to udp dport map @inside"


def _new_port(nat: NatConfig, external: str, generation: int) -> str:
    """Return the rules for the port of a new mapping."""
    random = f"snat ip to {external} fully-random"
    shift = generation * _STEP % _SHIFTS
    match nat.ports:
        case PortAssignment.RANDOM:
            return random
        case PortAssignment.PRESERVED:
            # In later generations the port with some low bits turned: as unique, and another one.
            port = f"udp sport ^ {shift}" if shift else "udp sport"
            return f"{port} != @inside meta l4proto udp snat ip to {external} : {port}\n        {random}"
        case PortAssignment.CONTIGUOUS:
            # By a map, since a number counts in the byte order of the machine, a port in that of the network.
            ports = ", ".join(
                f"{number} : {_CONTIGUOUS_FROM + shift + number}" for number in range(_CONTIGUOUS)
            )
            return f"meta l4proto udp snat ip to {external} : numgen inc mod {_CONTIGUOUS} map {{ {ports} }}"
