"""Which channel may send next: a machine without I/O."""

from __future__ import annotations

from rtcmesh.relay.frames import Urgency

from .outbound_channel import OutboundChannel


class Turns:
    """Channels whose next frames are equally urgent take turns, fragment by fragment."""

    def __init__(self) -> None:
        self._waiting: dict[Urgency, dict[int, OutboundChannel]] = {urgency: {} for urgency in Urgency}

    def __bool__(self) -> bool:
        return any(self._waiting.values())

    def give(self, channel: OutboundChannel) -> None:
        """Give the channel a turn after the others of its urgency, if it has something to send and no turn yet."""
        if channel.has_frames:
            channel.has_turn = True
            self._waiting[channel.urgency].setdefault(channel.number, channel)

    def first(self, urgency: Urgency) -> OutboundChannel | None:
        """Return the channel whose turn it is; it stays so until `end`."""
        waiting = self._waiting[urgency]
        while waiting:
            channel = next(iter(waiting.values()))
            if channel.has_frames and channel.urgency is urgency:
                return channel
            self.end(channel, urgency)
            self.give(channel)
        return None

    def end(self, channel: OutboundChannel, urgency: Urgency) -> None:
        """Take the turn away."""
        channel.has_turn = False
        del self._waiting[urgency][channel.number]

    def clear(self) -> None:
        """Forget all channels."""
        for waiting in self._waiting.values():
            waiting.clear()
