"""Our own end of a connection, as tests use it: waits for what happens instead of being called back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rtcmesh.peer.sctp import (
    Association,
    AssociationConnected,
    ChannelClosed,
    ChannelOpened,
    ChannelWritable,
    Event,
    MessagesReceived,
)
from rtcmesh.peer.webrtc import Connection, WebRtcConfig
from rtcmesh.peer.webrtc.ice import IceAgentFactory


class Endpoint:
    """A connection and everything it reported. Channels are known by their labels."""

    def __init__(self, config: WebRtcConfig | None = None, agent: IceAgentFactory | None = None) -> None:
        self.connection = Connection(self, (), config, agent=agent)
        self.association: Association | None = None
        self.is_connected = False
        self.reason: str | None = None
        self.opened: dict[str, ChannelOpened] = {}
        self.ids: dict[str, int] = {}
        self.received: dict[str, list[bytes | str]] = {}
        self.closed: set[str] = set()
        self.candidates: list[str] = []
        self.writable_at: list[float] = []
        """When channels fell to their low-water mark."""
        self.echoes = False
        """Whether messages on channels that the other end opened are sent back."""
        self._news = asyncio.Event()

    def open(
        self,
        label: str,
        *,
        ordered: bool = True,
        max_retransmits: int | None = None,
        max_lifetime: float | None = None,
        negotiated_id: int | None = None,
    ) -> None:
        """Open a channel."""
        assert self.association is not None
        self.ids[label] = self.association.open_channel(
            self._now,
            label=label,
            ordered=ordered,
            max_retransmits=max_retransmits,
            max_lifetime=max_lifetime,
            negotiated_id=negotiated_id,
        )
        self.received.setdefault(label, [])
        self.connection.schedule_flush()

    def send(self, label: str, data: bytes | str) -> None:
        """Send a message."""
        assert self.association is not None
        self.association.send(self.ids[label], data, self._now)
        self.connection.schedule_flush()

    def close_channel(self, label: str) -> None:
        """Close a channel."""
        assert self.association is not None
        self.association.close_channel(self.ids[label], self._now)
        self.connection.schedule_flush()

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until something happens that makes the condition true."""
        while not condition():
            self._news.clear()
            await self._news.wait()

    async def messages(self, label: str, count: int) -> list[bytes | str]:
        """Wait for so many messages of a channel, and return them."""
        await self.wait_for(lambda: len(self.received.get(label, [])) >= count)
        return self.received[label]

    @property
    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    # ConnectionListener

    def association_made(self, association: Association) -> None:
        self.association = association

    def candidate_gathered(self, candidate: str) -> None:
        self.candidates.append(candidate)
        self._news.set()

    def event_received(self, event: Event) -> None:
        match event:
            case AssociationConnected():
                self.is_connected = True
            case ChannelOpened():
                self.opened[event.label] = event
                self.ids[event.label] = event.channel_id
                self.received.setdefault(event.label, [])
            case ChannelClosed():
                self.closed |= {label for label, number in self.ids.items() if number == event.channel_id}
            case MessagesReceived():
                self._take(event)
            case ChannelWritable():
                self.writable_at.append(self._now)
            case _:
                pass
        self._news.set()

    def connection_ended(self, reason: str) -> None:
        self.reason = reason
        self._news.set()

    def _take(self, event: MessagesReceived) -> None:
        label = next(label for label, number in self.ids.items() if number == event.channel_id)
        for message in event.messages:
            data = message.decode() if event.text else message
            self.received[label].append(data)
            if self.echoes and self.opened[label].remote:
                self.send(label, data)
