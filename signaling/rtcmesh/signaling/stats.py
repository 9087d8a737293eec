"""What the service counts."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from .codes import CloseCode, NackCode, RefusalCode
from .limits.traffic import Limited
from .session import Ending

REJECTIONS = (
    # TCP connections, at the door
    "sockets_full",
    "address_full",
    "address_rate",
    "crowded_out",
    "head_timeout",
    "head_too_large",
    "not_http",
    # requests
    "malformed",
    "not_websocket",
    "origin",
    "subprotocol",
    # POSTs of the HTTP fallback
    "post_invalid",
    "post_slow",
    "post_too_large",
    "post_unknown",
    "post_out_of_turn",
    "post_undeliverable",
)
"""Why somebody was turned away before there was a connection."""


def zeros(*names: str) -> Counter[str]:
    """Return a counter in which every name is there from the start."""
    return Counter(dict.fromkeys(names, 0))


@dataclass
class ServiceStats:
    """What the service has seen since it was made. Every reason is there from the start, at 0."""

    connections: int = 0
    """Connections now."""
    connections_accepted: int = 0
    """Connections that were let in; those that were not are among the endings."""
    joins: Counter[str] = field(default_factory=lambda: zeros("resumed", "snapshot"))
    """Successful joins, by what the welcome brought."""
    signals: Counter[str] = field(
        default_factory=lambda: zeros(
            "accepted", "repeated", *(code.value for code in NackCode if code is not NackCode.EPOCH_CHANGED)
        )
    )
    """Signals that were taken for delivery, those sent again on their connection, and refused ones by their code."""
    endings: Counter[str] = field(
        default_factory=lambda: zeros(
            *(code.value for code in RefusalCode), *(code.name.lower() for code in CloseCode), "other"
        )
    )
    """Connections that have ended, by their close code."""
    rejections: Counter[str] = field(default_factory=lambda: zeros(*REJECTIONS))
    """TCP connections and requests that were turned away before they became a connection."""

    limits: Counter[str] = field(default_factory=lambda: zeros(*(limit.value for limit in Limited)))
    """How often somebody was refused or slowed down for its rate, by the limit."""

    def count_ending(self, ending: Ending) -> str:
        """Count the end of a connection and return the name under which it was counted."""
        # A peer may close with any code; a refusal is what this side said.
        refusal = RefusalCode.from_close_code(ending.code) if ending.by_us else None
        if refusal is not None:
            name = refusal.value
        else:
            name = next((code.name.lower() for code in CloseCode if code == ending.code), "other")
        self.endings[name] += 1
        return name


class Trouble(StrEnum):
    """What can be wrong with a store that many servers share."""

    UNREACHABLE = "unreachable"
    """It does not answer: joins are refused, signals wait and are then refused."""
    DEAF = "deaf"
    """Its nudges do not arrive, so that events of other servers come late."""
    FULL = "full"
    """It has no memory left: joins and signals are refused."""


@dataclass
class RegistryStats:
    """How the place where rooms live fares, as one server sees it."""

    servers: int = 1
    """Servers that share the rooms, this one included."""
    rooms: int = 0
    """Rooms that have members at this server."""
    members: int = 0
    """Members at this server, and with rooms in memory the suspended ones too."""
    troubles: set["Trouble"] = field(default_factory=set["Trouble"])
    """What is wrong now; a server with any is not ready for more peers."""
    commands: Counter[str] = field(default_factory=Counter[str])
    """What was asked of a shared store, by what came of it."""
    resyncs: Counter[str] = field(default_factory=Counter[str])
    """How often rooms were read again because a nudge may have been missed, by what showed it."""
    evictions: Counter[str] = field(default_factory=Counter[str])
    """Attachments that were given up, by the reason."""
