"""What the client link tells the application: the events of the room, and how the link itself fares."""

from dataclasses import dataclass
from typing import TypeAlias

from .messages import IceServersRenewed, RelayTicketRenewed, RoomEvent, Welcome


@dataclass(frozen=True, slots=True)
class LinkLost:
    """The connection to the server is gone; the link is already on its way back."""

    reason: str


@dataclass(frozen=True, slots=True)
class LinkResumed:
    """The link is a member again.

    `resumed` true: nothing was missed, the events that happened meanwhile follow. `resumed` false: the
    members of `welcome` replace all earlier knowledge, and unacknowledged signals have been settled.
    """

    resumed: bool
    welcome: Welcome


LinkEvent: TypeAlias = RoomEvent | IceServersRenewed | RelayTicketRenewed | LinkLost | LinkResumed
