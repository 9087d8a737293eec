"""Which addresses the nodes of a topology have."""

from __future__ import annotations

from .topology import INTERNET, Topology

PUBLIC = "198.18"
"""Of the range for tests of networks (RFC 2544): no program takes these addresses for private ones it knows."""

PRIVATE = 10
"""The first byte of networks that hosts are in (RFC 1918)."""

CARRIER = 100
"""The first byte of networks that gateways are in (RFC 6598), whose second one begins at 64."""

HOSTS_PER_NETWORK = 64_000


class Addressing:
    """Gives out the addresses of each network in ascending order, none twice.

    Networks at one depth have the same range, as homes everywhere have the same few; networks that are behind one
    another never have.
    """

    def __init__(self, topology: Topology) -> None:
        self._prefixes = {INTERNET: PUBLIC}
        carriers = {gateway.uplink.to for gateway in topology.gateways}
        for gateway in topology.gateways:
            depth, above = 1, gateway.uplink.to
            while above != INTERNET:
                depth, above = depth + 1, topology.gateway(above).uplink.to
            is_carrier = gateway.name in carriers
            self._prefixes[gateway.name] = f"{CARRIER}.{63 + depth}" if is_carrier else f"{PRIVATE}.{depth}"
        self._given = dict.fromkeys(self._prefixes, 0)

    def next_address(self, network: str) -> str:
        """Return an address of the network below a gateway, or of the internet. Raises ValueError when none is left."""
        self._given[network] += 1
        if self._given[network] > HOSTS_PER_NETWORK:
            raise ValueError(f"the network of {network!r} has no address left")
        high, low = divmod(self._given[network] - 1, 250)
        return f"{self._prefixes[network]}.{high}.{low + 2}"
