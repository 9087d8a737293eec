"""The seam to wherever rooms live: one process's memory, or a store that many servers share."""

from typing import Protocol

from .messages import Ack, Join, Nack, Presence, SendSignal
from .room import Admission, StreamEntry


class Sink(Protocol):
    """Where a registry pushes what one member is to see. No call waits or raises.

    First `welcome`, once. Then `deliver` for every entry after the admission's offset that concerns the member, in
    stream order, none twice. Last, if another join takes the membership over, `displace`; nothing after it.
    """

    def welcome(self, admission: Admission) -> None:
        """Tell the member that it is admitted, and replay what the admission holds."""
        ...

    def deliver(self, entry: StreamEntry) -> None:
        """Pass on one event of the room."""
        ...

    def displace(self, *, replaced: bool) -> None:
        """Drop the connection: the identity joined anew (tell it), or the peer itself came back elsewhere."""
        ...


class Attachment(Protocol):
    """One connection's hold on a membership. Every call may be repeated; see `Room` for what each guarantees.

    After `leave`, `suspend` or a displacement the first three raise `Detached` and the others do nothing.
    """

    async def signal(self, signal: SendSignal) -> Ack | Nack:
        """Put a signal into the stream, or say why not."""
        ...

    async def set_presence(self, presence: Presence) -> None:
        """Change the member's presence; raises `JoinRefused` for one that is not acceptable."""
        ...

    async def set_relay(self, relay: str | None) -> None:
        """Change the member's home relay."""
        ...

    async def leave(self) -> None:
        """End the membership at once."""
        ...

    async def suspend(self) -> None:
        """Keep the membership for the resume window without a connection."""
        ...


class Registry(Protocol):
    """Rooms by name. A room exists while it has members; a new one begins a new epoch."""

    async def attach(self, join: Join, sink: Sink) -> Attachment:
        """Admit a peer whose identity was proved and push its events into the sink until it is detached.

        Raises `JoinRefused`, and then the sink was not called. When cancelled, the peer may have become a member
        that is suspended.
        """
        ...
