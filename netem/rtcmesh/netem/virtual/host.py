"""The machines that stand in a virtual network."""

import errno
import os
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from types import TracebackType
from typing import NamedTuple, Self, TypeVar

from rtcmesh.netem.errors import NoCurrentHost
from rtcmesh.netem.packet import Endpoint, Kind, ip_version

from .ports import WILDCARDS, Ports

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

T = TypeVar("T")

_hosts: ContextVar[tuple["Host", ...]] = ContextVar("rtcmesh.netem.hosts", default=())


class Binding(NamedTuple):
    """A port that a socket holds."""

    local: Endpoint
    """What the socket shows as its own address; a wildcard when it holds the port on all."""
    addresses: tuple[str, ...]
    """One address, or wildcards."""


class Host:
    """One machine of a virtual network: a name, IP addresses and ports.

    Code inside `with host:`, and every task and callback started there, opens its sockets on this host.
    """

    def __init__(self, name: str, addresses: Sequence[str]) -> None:
        self.name = name
        self.addresses = tuple(addresses)
        self.former_addresses: set[str] = set(addresses)
        """All that it ever had."""
        self._ports = Ports()

    def __repr__(self) -> str:
        return f"Host({self.name!r}, {', '.join(self.addresses)})"

    def __enter__(self) -> Self:
        _hosts.set((*_hosts.get(), self))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _hosts.set(_hosts.get()[:-1])

    @property
    def address(self) -> str:
        """The first address."""
        return self.addresses[0]

    def readdress(self, addresses: Sequence[str]) -> None:
        """Have other addresses from now on; sockets that are bound to one of the old ones are dead."""
        self.addresses = tuple(addresses)
        self.former_addresses.update(addresses)

    def bind(self, kind: Kind, address: str | None, port: int = 0) -> Binding:
        """Claim a port, an ephemeral one for 0, on one address or on all for None, "", "0.0.0.0" and "::".

        Raises OSError: EADDRINUSE, or EADDRNOTAVAIL when the host does not have the address.
        """
        addresses, shown = self._bindable(address)
        return Binding(Endpoint(shown, self._ports.claim(kind, addresses, port)), addresses)

    def unbind(self, kind: Kind, binding: Binding) -> None:
        """Give a port back."""
        self._ports.release(kind, binding.addresses, binding.local.port)

    def source_for(self, destination: str) -> str:
        """Return the address from which this host talks to `destination`. Raises OSError (ENETUNREACH)."""
        for own in self.addresses:
            if ip_version(own) == ip_version(destination):
                return own
        raise OSError(errno.ENETUNREACH, f"{os.strerror(errno.ENETUNREACH)}: {destination} from {self.name}")

    def find(self, bound: Mapping[tuple[str, str, int], T], destination: Endpoint) -> T | None:
        """Return what is bound where a packet came to, by (host, address, port): to its address, or to all."""
        address, port = destination
        if address not in self.addresses:
            return None
        found = bound.get((self.name, address, port))
        return bound.get((self.name, WILDCARDS[6 if ":" in address else 4], port)) if found is None else found

    def _bindable(self, address: str | None) -> tuple[tuple[str, ...], str]:
        if not address:
            return tuple(WILDCARDS.values()), WILDCARDS[ip_version(self.address)]
        if address in LOOPBACK_NAMES or address == self.name:
            return (self.address,), self.address
        if address in self.addresses:
            return (address,), address
        if address not in [WILDCARDS[ip_version(own)] for own in self.addresses]:
            raise OSError(
                errno.EADDRNOTAVAIL, f"{os.strerror(errno.EADDRNOTAVAIL)}: {self.name} has no {address}"
            )
        return (address,), address


def current_host() -> Host:
    """Return the host on which the running code stands. Raises `NoCurrentHost`."""
    hosts = _hosts.get()
    if not hosts:
        raise NoCurrentHost
    return hosts[-1]
