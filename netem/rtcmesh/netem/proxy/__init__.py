"""Impaired networks for any program on any machine: proxies for UDP and TCP on loopback, without privileges.

async with ProxyNetwork(topology, seed=7) as network:
    port = await network.udp("client", "server", ("127.0.0.1", 7000))     # where the client finds the server
    await network.apply(Cut(node="client"))
"""

from .candidates import candidate_endpoints, rewrite_candidates
from .network import ProxyNetwork
from .tcp import TcpProxy
from .toxics import Toxics
from .udp import UdpProxy

__all__ = ["ProxyNetwork", "TcpProxy", "Toxics", "UdpProxy", "candidate_endpoints", "rewrite_candidates"]
