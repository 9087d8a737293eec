"""Puts frames into packets: a machine without I/O."""

from __future__ import annotations

from rtcmesh.peer.delivery import Delivery
from rtcmesh.relay.frames import Urgency

from .frames import PACKET_BYTES, Packet, encode_open
from .outbound_channel import OutboundChannel


class PacketWriter:
    """Fills packets with the frames of one turn of the loop, so that small ones share a packet.

    Bulk never rides with what is urgent, nor what must arrive with what need not. Every packet that has frames of a
    channel which the remote session may not know has its OPEN before them.
    """

    def __init__(self, header: bytes) -> None:
        self._header = header
        self._packets: list[Packet] = []
        self._frames: list[bytes] = [header]
        self._frames_size = len(header)
        self._urgency = Urgency.CONTROL
        self._datagram = False
        self._opened: set[int] = set()
        self._filled = 0

    @property
    def size(self) -> int:
        """How many bytes were written."""
        return self._filled + self._frames_size - len(self._header)

    def say_something(self) -> None:
        """Make sure that there is a packet."""
        if not self._packets and len(self._frames) == 1:
            self._close()

    def add(self, frame: bytes, urgency: Urgency) -> None:
        """Add a frame that must arrive."""
        self._make_room(len(frame), urgency, datagram=False)
        self._append(frame)

    def add_data(self, channel: OutboundChannel, frame: bytes, urgency: Urgency) -> None:
        """Add a frame of a channel."""
        self._make_room(len(frame), urgency, datagram=channel.delivery is Delivery.BEST_EFFORT)
        if not channel.known and channel.number not in self._opened:
            opening = encode_open(channel.opening)
            self._make_room(len(opening) + len(frame), urgency, datagram=self._datagram)
            self._opened.add(channel.number)
            self._append(opening)
        self._append(frame)

    def packets(self) -> list[Packet]:
        """Return what was written."""
        if len(self._frames) > 1:
            self._close()
        return self._packets

    def _append(self, frame: bytes) -> None:
        self._frames.append(frame)
        self._frames_size += len(frame)

    def _make_room(self, size: int, urgency: Urgency, *, datagram: bool) -> None:
        """Begin another packet if the frame does not fit, or does not belong into this one."""
        if len(self._frames) > 1 and (
            self._frames_size + size > PACKET_BYTES
            or datagram != self._datagram
            or (urgency is Urgency.BULK and self._urgency is not Urgency.BULK)
        ):
            self._close()
        self._urgency = max(self._urgency, urgency)
        self._datagram = datagram

    def _close(self) -> None:
        self._packets.append(Packet(b"".join(self._frames), self._urgency, self._datagram))
        self._filled += self._frames_size
        self._frames = [self._header]
        self._frames_size = len(self._header)
        self._urgency = Urgency.CONTROL
        self._opened.clear()
