"""The laboratory: networks that can be impaired on purpose."""

from .errors import (
    Deadlock,
    NetemError,
    NoCurrentHost,
    NotVirtualTime,
    NoVirtualNetwork,
    VirtualTimeExceeded,
)
from .host import Host, current_host
from .laboratory import VirtualNetwork, run_virtual, virtual_aiortc, virtual_webrtc
from .link import Link, LinkConfig, LinkCounters
from .loop import VirtualEventLoop
from .network import Network, Trace, TraceEntry
from .packet import Endpoint, Kind, Packet
from .randomness import seed_randomness

__all__ = [
    "Deadlock",
    "Endpoint",
    "Host",
    "Kind",
    "Link",
    "LinkConfig",
    "LinkCounters",
    "NetemError",
    "Network",
    "NoCurrentHost",
    "NoVirtualNetwork",
    "NotVirtualTime",
    "Packet",
    "Trace",
    "TraceEntry",
    "VirtualEventLoop",
    "VirtualNetwork",
    "VirtualTimeExceeded",
    "current_host",
    "run_virtual",
    "seed_randomness",
    "virtual_aiortc",
    "virtual_webrtc",
]
