"""The seam to wherever rooms live: one process's memory, or a store that many servers share."""

from typing import Protocol

from .codes import RefusalCode
from .messages import Ack, Join, Nack, Presence, SendSignal
from .room import Admission
from .room_stream import StreamEntry
from .stats import RegistryStats


class Sink(Protocol):
    """Where a registry pushes what one member is to see. No call waits or raises.

    First `welcome`, once. Then `deliver` for every entry after the admission's offset that concerns the member, in
    stream order, none twice, and `answer` for each of its signals. Last, if the registry has to give the connection
    up, `end`; nothing after it.
    """

    def welcome(self, admission: Admission) -> None:
        """Tell the member that it is admitted, and replay what the admission holds."""
        ...

    def deliver(self, entry: StreamEntry) -> None:
        """Pass on one event of the room."""
        ...

    def answer(self, answer: Ack | Nack) -> None:
        """Pass on the answer to one of the member's signals."""
        ...

    def end(self, code: RefusalCode | None, message: str = "") -> None:
        """End the connection: refuse it with this code, or silently (None) when the peer itself is back elsewhere."""
        ...


class Attachment(Protocol):
    """One connection's hold on a membership. No call waits or raises: what comes of it goes to the sink.

    Signals take effect in their order. Of changes that come faster than they can be told, the newest is sure to be
    seen. After `leave`, `suspend` or the sink's `end`, the other calls do nothing.
    """

    def signal(self, signal: SendSignal) -> None:
        """Put a signal into the stream; the sink gets the answer, or `end` for an id that is out of turn.

        A signal whose id was answered is answered the same way and not delivered again. An id that is left out
        counts as refused: with this one accepted, it is never delivered.
        """
        ...

    def set_presence(self, presence: Presence) -> None:
        """Change the member's presence; the sink gets `end` for one that is not acceptable."""
        ...

    def set_relay(self, relay: str | None) -> None:
        """Change the member's home relay."""
        ...

    def leave(self) -> None:
        """End the membership as soon as the room can be told."""
        ...

    def suspend(self) -> None:
        """Keep the membership for the resume window without a connection. May follow the sink's `end`."""
        ...


class Registry(Protocol):
    """Rooms by name. A room exists while it has members; a new one begins a new epoch."""

    @property
    def stats(self) -> RegistryStats:
        """What it counts, and how it fares."""
        ...

    @property
    def servers(self) -> int:
        """How many servers share the rooms, this one included."""
        ...

    async def attach(self, join: Join, sink: Sink) -> Attachment:
        """Admit a peer whose identity was proved and push its events into the sink until it is detached.

        Raises `JoinRefused`, and then the sink was not called. When cancelled, the peer may have become a member
        that is suspended.
        """
        ...

    async def aclose(self) -> None:
        """Give up every attachment without telling anybody, and release what is held."""
        ...
