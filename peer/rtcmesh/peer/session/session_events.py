"""What a session tells its owner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rtcmesh.peer.delivery import Delivery


class MessagesReceived(NamedTuple):
    """Messages may be delivered, in this order. Give it back to `taken` when the application has all of them."""

    label: str
    channel: int
    payloads: Sequence[bytes]
    """One or more, which came together."""
    delivery: Delivery
    stored: bool
    cost: int
    """What they take of the sender's credit until they are taken."""


@dataclass(frozen=True, slots=True)
class CreditGrew:
    """Messages that did not fit on this channel may fit now."""

    label: str


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The remote session has all messages of this channel up to this number."""

    label: str
    number: int


@dataclass(frozen=True, slots=True)
class RemoteEnded:
    """The remote session ended in order: everything it sent has come."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The remote session has heard that this one ended."""


SessionEvent = MessagesReceived | CreditGrew | Acknowledged | RemoteEnded | Ended
