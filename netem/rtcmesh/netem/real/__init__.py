"""The laboratory with real processes: Linux network namespaces, joined by links that can be impaired.

    async with real_topology(topology) as lab:
        server = await lab.host("server").spawn("python3", "server.py")
        client = await lab.host("ann").spawn("python3", "client.py", lab.host("server").address)
        await lab.apply(Rebind(node="home"))

Linux alone has it. Root may, and everybody where the system lets users have namespaces of their own. Whatever ends the
program that holds a laboratory, `kill -9` included, nothing of it is left.
"""

from .audit import Audit
from .coturn import Coturn, start_coturn
from .errors import LaboratoryUnavailable, LinkProcessFailed
from .hosts import RealHost
from .joined import JoinedHosts, joined_hosts
from .namespace import Namespace
from .topology import LostPacket, RealTopology, real_topology

__all__ = [
    "Audit",
    "Coturn",
    "JoinedHosts",
    "LaboratoryUnavailable",
    "LinkProcessFailed",
    "LostPacket",
    "Namespace",
    "RealHost",
    "RealTopology",
    "joined_hosts",
    "real_topology",
    "start_coturn",
]
