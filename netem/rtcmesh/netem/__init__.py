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
from .link import Fate, Link, LinkConfig, LinkCounters
from .loop import VirtualEventLoop
from .models.jitter import NetemJitter, WanderingJitter
from .models.line import QueueDiscipline
from .models.loss import Bursts, FourState, GilbertElliott, LossPattern
from .models.packet_class import PacketClass
from .models.rate_trace import DeliveryOpportunities, RateStep, RateSteps
from .models.reconfiguration import Reconfiguration
from .models.rule import Rule
from .network import Network, Trace, TraceEntry
from .packet import Endpoint, Kind, Packet
from .randomness import seed_randomness
from .trace_file import load_losses, load_rate
from .typed_toml import DocumentInvalid

__all__ = [
    "Bursts",
    "Deadlock",
    "DeliveryOpportunities",
    "DocumentInvalid",
    "Endpoint",
    "Fate",
    "FourState",
    "GilbertElliott",
    "Host",
    "Kind",
    "Link",
    "LinkConfig",
    "LinkCounters",
    "LossPattern",
    "NetemError",
    "NetemJitter",
    "Network",
    "NoCurrentHost",
    "NoVirtualNetwork",
    "NotVirtualTime",
    "Packet",
    "PacketClass",
    "QueueDiscipline",
    "RateStep",
    "RateSteps",
    "Reconfiguration",
    "Rule",
    "Trace",
    "TraceEntry",
    "VirtualEventLoop",
    "VirtualNetwork",
    "VirtualTimeExceeded",
    "WanderingJitter",
    "current_host",
    "load_losses",
    "load_rate",
    "run_virtual",
    "seed_randomness",
    "virtual_aiortc",
    "virtual_webrtc",
]
