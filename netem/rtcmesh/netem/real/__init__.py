"""The laboratory with real processes: Linux network namespaces, joined by links that can be impaired.

    async with joined_hosts(LinkConfig(delay=0.025, loss=0.01)) as lab:
        server = await lab.left.spawn("python3", "server.py", "--host", lab.left.address)
        client = await lab.right.spawn("python3", "client.py", lab.left.address)

Needs Linux and root. Whatever ends the program that holds a laboratory, `kill -9` included, nothing of it is left.
"""

from .audit import Audit
from .errors import LaboratoryUnavailable, LinkProcessFailed
from .hosts import JoinedHosts, RealHost, joined_hosts
from .namespace import Namespace

__all__ = [
    "Audit",
    "JoinedHosts",
    "LaboratoryUnavailable",
    "LinkProcessFailed",
    "Namespace",
    "RealHost",
    "joined_hosts",
]
