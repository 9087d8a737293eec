"""The sending ends of all channels of a session, and whose turn it is: a machine without I/O."""

from __future__ import annotations

from collections.abc import Iterator

from rtcmesh.peer.delivery import Delivery, Priority
from rtcmesh.peer.errors import ProtocolViolation

from .flight import Fragment
from .frames import MAX_CHANNELS, Open
from .outbound import open_outbound
from .outbound_channel import OutboundChannel
from .turns import Turns


class OutboundChannels:
    """Opens each channel once, and numbers it. Those whose next frames are equally urgent take turns."""

    def __init__(self, *, window: int) -> None:
        self.turns = Turns()
        self._window = window
        self._channels: list[OutboundChannel] = []
        self._by_label: dict[str, OutboundChannel] = {}

    def __iter__(self) -> Iterator[OutboundChannel]:
        return iter(self._channels)

    def open(self, label: str, delivery: Delivery, priority: Priority, *, stored: bool) -> OutboundChannel:
        """Return the channel of this label. What the first call says of its delivery holds for all."""
        channel = self._by_label.get(label)
        if channel is None:
            number = len(self._channels)
            assert number < MAX_CHANNELS, "more channels than a session has"
            opening = Open(number, delivery, stored, label)
            channel = open_outbound(opening, priority, self.turns.give, window=self._window)
            self._channels.append(channel)
            self._by_label[label] = channel
        return channel

    def acknowledged_by(self, number: int) -> OutboundChannel:
        """Return the channel that a remote session speaks of. Raises `ProtocolViolation` if there is none."""
        if number >= len(self._channels):
            raise ProtocolViolation("bad_ack", f"channel {number} was never opened")
        return self._channels[number]

    def take_back(self, lost: list[Fragment]) -> None:
        """Have what was lost sent again."""
        for fragment in lost:
            channel = self._channels[fragment.channel]
            channel.lost(fragment)
            self.turns.give(channel)

    def clear(self) -> None:
        """Forget all channels."""
        for held in (self._channels, self._by_label, self.turns):
            held.clear()
