"""What the relay counts."""

from collections import Counter
from dataclasses import dataclass, field

from rtcmesh.signaling.stats import REJECTIONS

from .codes import CloseCode, GoneReason, NackReason
from .frames import Urgency


def _by_urgency() -> list[int]:
    return [0 for _ in Urgency]


def _zeros(*names: str) -> Counter[str]:
    return Counter(dict.fromkeys(names, 0))


@dataclass(slots=True)
class SwitchStats:
    """What became of the frames. Lists are indexed by urgency; bytes are those of payloads."""

    frames_in: list[int] = field(default_factory=_by_urgency)
    bytes_in: list[int] = field(default_factory=_by_urgency)
    frames_out: list[int] = field(default_factory=_by_urgency)
    bytes_out: list[int] = field(default_factory=_by_urgency)
    datagrams_dropped: int = 0
    """Because newer ones came, or nobody was there."""
    nacks: Counter[str] = field(
        default_factory=lambda: _zeros(*(reason.name.lower() for reason in NackReason))
    )
    """Reliable frames that were refused, by reason."""
    gone: Counter[str] = field(
        default_factory=lambda: _zeros(*(reason.name.lower() for reason in GoneReason))
    )
    """Reliable frames that were refused because their receiver was gone, by reason."""


@dataclass(slots=True)
class RelayStats:
    """What the relay has seen since it was made. Every reason is there from the start, at 0."""

    connections: int = 0
    """Connections now."""
    connections_total: int = 0
    """Connections ever."""
    joins: int = 0
    """Joins that were accepted."""
    pauses: int = 0
    """How often a connection had sent too much, and was limited until it had made up for it."""
    endings: Counter[str] = field(
        default_factory=lambda: _zeros(*(code.name.lower() for code in CloseCode), "other")
    )
    """Connections that have ended, by their close code."""
    rejections: Counter[str] = field(default_factory=lambda: _zeros(*REJECTIONS))
    """TCP connections and requests that were turned away before they became a connection."""
