"""The laboratory: networks that can be impaired on purpose."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .errors import (
        Deadlock,
        NetemError,
        NoCurrentHost,
        NotVirtualTime,
        NoVirtualNetwork,
        VirtualTimeExceeded,
    )
    from .link import Fate, Link, LinkConfig, LinkCounters
    from .models.jitter import NetemJitter, WanderingJitter
    from .models.line import QueueDiscipline
    from .models.loss import Bursts, FourState, GilbertElliott, LossPattern
    from .models.packet_class import PacketClass
    from .models.rate_trace import DeliveryOpportunities, RateStep, RateSteps
    from .models.reconfiguration import Reconfiguration
    from .models.rule import Rule
    from .packet import Endpoint, Kind, Packet
    from .topology import GatewaySpec, HostSpec, NatConfig, Topology, Uplink
    from .trace_file import load_losses, load_rate
    from .typed_toml import DocumentInvalid
    from .virtual.host import Host, current_host
    from .virtual.laboratory import VirtualNetwork, run_virtual, virtual_aiortc, virtual_webrtc
    from .virtual.loop import VirtualEventLoop
    from .virtual.nat import Nat
    from .virtual.nat_check import NatBehaviour, check_nat
    from .virtual.network import Network, Trace, TraceEntry
    from .virtual.randomness import seed_randomness
    from .virtual.stun_server import stun_server

__all__ = [
    "Bursts",
    "Deadlock",
    "DeliveryOpportunities",
    "DocumentInvalid",
    "Endpoint",
    "Fate",
    "FourState",
    "GatewaySpec",
    "GilbertElliott",
    "Host",
    "HostSpec",
    "Kind",
    "Link",
    "LinkConfig",
    "LinkCounters",
    "LossPattern",
    "Nat",
    "NatBehaviour",
    "NatConfig",
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
    "Topology",
    "Trace",
    "TraceEntry",
    "Uplink",
    "VirtualEventLoop",
    "VirtualNetwork",
    "VirtualTimeExceeded",
    "WanderingJitter",
    "check_nat",
    "current_host",
    "load_losses",
    "load_rate",
    "run_virtual",
    "seed_randomness",
    "stun_server",
    "virtual_aiortc",
    "virtual_webrtc",
]

_HOMES = {
    "errors": (
        "Deadlock",
        "NetemError",
        "NoCurrentHost",
        "NotVirtualTime",
        "NoVirtualNetwork",
        "VirtualTimeExceeded",
    ),
    "virtual.host": (
        "Host",
        "current_host",
    ),
    "virtual.laboratory": (
        "VirtualNetwork",
        "run_virtual",
        "virtual_aiortc",
        "virtual_webrtc",
    ),
    "link": (
        "Fate",
        "Link",
        "LinkConfig",
        "LinkCounters",
    ),
    "virtual.loop": ("VirtualEventLoop",),
    "models.jitter": (
        "NetemJitter",
        "WanderingJitter",
    ),
    "models.line": ("QueueDiscipline",),
    "models.loss": (
        "Bursts",
        "FourState",
        "GilbertElliott",
        "LossPattern",
    ),
    "models.packet_class": ("PacketClass",),
    "models.rate_trace": (
        "DeliveryOpportunities",
        "RateStep",
        "RateSteps",
    ),
    "models.reconfiguration": ("Reconfiguration",),
    "models.rule": ("Rule",),
    "virtual.nat": ("Nat",),
    "virtual.nat_check": (
        "NatBehaviour",
        "check_nat",
    ),
    "virtual.network": (
        "Network",
        "Trace",
        "TraceEntry",
    ),
    "packet": (
        "Endpoint",
        "Kind",
        "Packet",
    ),
    "virtual.randomness": ("seed_randomness",),
    "virtual.stun_server": ("stun_server",),
    "topology": (
        "GatewaySpec",
        "HostSpec",
        "NatConfig",
        "Topology",
        "Uplink",
    ),
    "trace_file": (
        "load_losses",
        "load_rate",
    ),
    "typed_toml": ("DocumentInvalid",),
}
"""Where each name is defined. A module is imported when one of its names is used: pytest loads this package's plugin in
every project, and most need nothing of it."""


def __getattr__(name: str) -> object:
    for module, names in _HOMES.items():
        if name in names:
            globals()[name] = found = getattr(import_module(f"{__name__}.{module}"), name)
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
