"""Where a connection comes from, as far as limits are concerned."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NewType, TypeAlias

Address = NewType("Address", str)
"""An IPv4 address, or the first 64 bits of an IPv6 address: what one host can have as many of as it likes is one."""

Network: TypeAlias = IPv4Network | IPv6Network

UNKNOWN = Address("unknown")
"""Where nobody knows; it has no limits of its own."""

LOOPBACK: tuple[Network, ...] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
"""This machine, where a reverse proxy may run."""

_REMEMBERED = 4096
"""Hosts whose address is not worked out again: whoever comes often, as a flood does, is to cost little."""


@lru_cache(_REMEMBERED)
def address_of(host: str) -> Address:
    """Return the address of a host that a socket or a proxy names; all that cannot be read are one."""
    parsed = _parse(host)
    return UNKNOWN if parsed is None else _address(parsed)


def parse_network(text: str) -> Network:
    """Return an address or a network (`10.0.0.0/8`); raise `ValueError` for what is none."""
    return ip_network(text, strict=False)


def is_within(host: str, networks: Sequence[Network]) -> bool:
    """Whether a host is in one of the networks."""
    parsed = _parse(host)
    return parsed is not None and any(parsed in network for network in networks)


def origin_of(host: str, forwarded_for: str, trusted: Sequence[Network]) -> Address:
    """Return where a request comes from that `host` handed over, with its `X-Forwarded-For`.

    Each proxy appends whom it heard, so the list is read from its end for as long as whoever said so is trusted: what
    a stranger wrote is never believed. Where a trusted proxy names nobody, nobody knows.
    """
    heard = [entry.strip() for entry in forwarded_for.split(",") if entry.strip()]
    while is_within(host, trusted):
        if not heard:
            return UNKNOWN
        host = heard.pop()
    return address_of(host)


@lru_cache(_REMEMBERED)
def _parse(host: str) -> IPv4Address | IPv6Address | None:
    try:
        parsed = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped
    return parsed


def _address(parsed: IPv4Address | IPv6Address) -> Address:
    if isinstance(parsed, IPv6Address):
        return Address(str(ip_network((parsed, 64), strict=False)))
    return Address(str(parsed))
