"""The channels of a mesh by label, and the messages that wait for those that nobody has opened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rtcmesh.signaling.identity import PeerId

from .channel import Channel, ChannelKind, ChannelSender
from .config import MeshConfig
from .conversation import Conversation
from .delivery import Delivery
from .errors import Closed, NotDecodable
from .inbox import Inbox
from .outbox.outboxes import Outboxes
from .session.frames import MAX_CHANNELS, MAX_LABEL_BYTES
from .session.session_events import MessagesReceived

MAX_OPEN_CHANNELS = MAX_CHANNELS - 1
"""How many channels an application has: each session needs one for the receipts of what the other's outbox sent."""


class Channels:
    """Opens each channel once, and gives every label an inbox from its first message on."""

    def __init__(
        self,
        sender: ChannelSender,
        outboxes: Outboxes,
        config: MeshConfig,
        *,
        rejected: Callable[[PeerId, str, NotDecodable], None],
    ) -> None:
        self._sender = sender
        self._rejected = rejected
        self._outboxes = outboxes
        self._config = config
        self._channels: dict[str, Channel[Any]] = {}
        self._inboxes: dict[str, Inbox] = {}
        self._closed = False

    def open(self, label: str, kind: ChannelKind) -> Channel[Any]:
        """Return the channel of this label. See `Mesh.channel`."""
        known = self._channels.get(label)
        if known is not None:
            if known.kind != kind:
                raise ValueError(f"channel {label!r} is open with another type, delivery, priority or outbox")
            return known
        if not 1 <= len(label.encode()) <= MAX_LABEL_BYTES or label.startswith("\0"):
            raise ValueError(
                f"a channel's label has 1 to {MAX_LABEL_BYTES} bytes in UTF-8 and begins with no NUL"
            )
        if len(self._channels) >= MAX_OPEN_CHANNELS:
            raise ValueError(f"a mesh has at most {MAX_OPEN_CHANNELS} channels")
        if kind.outbox is not None:
            if kind.delivery is not Delivery.RELIABLE:
                raise ValueError(f"an outbox keeps reliable messages, not {kind.delivery.value} ones")
            self._outboxes.open(kind.outbox, label, kind.priority)
        channel = self._channels[label] = Channel(
            label,
            kind,
            self._inbox(label),
            sender=self._sender,
            outboxes=self._outboxes,
            rejected=self._rejected,
            max_message_bytes=self._config.max_message_bytes,
        )
        return channel

    def messages_received(self, conversation: Conversation, messages: MessagesReceived) -> None:
        """Put messages where the application takes them."""
        self._inbox(messages.label).put(conversation, messages)

    def conversation_ended(self, conversation: Conversation) -> int:
        """Bound what departed peers left unread: on each open channel, and on all that were never opened together."""
        dropped = 0
        unopened = [inbox for label, inbox in self._inboxes.items() if label not in self._channels]
        opened = [[channel.inbox] for channel in self._channels.values()]
        for group in (unopened, *opened):
            if sum(inbox.left_behind_bytes for inbox in group) > self._config.channel_window_bytes:
                dropped += sum(inbox.drop(conversation) for inbox in group)
        self._inboxes = {
            label: inbox
            for label, inbox in self._inboxes.items()
            if label in self._channels or not inbox.is_empty
        }
        return dropped

    def close(self) -> None:
        """Let readers have what has come, and end."""
        self._closed = True
        for inbox in self._inboxes.values():
            inbox.close(Closed)

    def _inbox(self, label: str) -> Inbox:
        inbox = self._inboxes.get(label)
        if inbox is None:
            inbox = self._inboxes[label] = Inbox(self._config.channel_window_bytes)
            if self._closed:
                inbox.close(Closed)
        return inbox
