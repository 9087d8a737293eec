"""The session with one remote peer, above whatever path there is: a machine without I/O.

It numbers and keeps reliable messages per channel until the remote session has them, so that a new path continues
where the old one broke off. Its state is small: bound to a remote session or not; a path that is synchronised
(the remote RESUME has come on it), opening, or none; ending or not.

    path opened ──▶ send RESUME ──▶ remote RESUME comes ──▶ rewind every channel, send what is missing, go on
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import assert_never

from . import frames
from .errors import MeshError, ProtocolViolation
from .frames import Ack, Data, End, Open, Progress, Resume
from .inbound import InboundChannel
from .outbound import OutboundChannel

PACKET_BYTES = 16 * 1024
"""Small frames share a packet up to this size; a single larger frame has one of its own."""

ACK_DELAY = 0.02
"""How long progress may wait for company before it is reported, in seconds."""


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """A message was admitted. Give it back to `taken` when the application has it."""

    label: str
    channel: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class CreditGrew:
    """Messages that did not fit on this channel may fit now."""

    label: str


@dataclass(frozen=True, slots=True)
class RemoteEnded:
    """The remote session ended in order: everything it sent has come."""


SessionEvent = MessageReceived | CreditGrew | RemoteEnded


class RemoteRestarted(MeshError):
    """Another session answers for the remote peer: the one we knew is lost, and this one cannot go on.

    The packet that revealed it belongs to the session that takes this one's place.
    """


class Session:
    """What two peers have told each other, independent of the path.

    Guarantees: every accepted message is delivered once and in the order of its channel, or the session ends with a
    typed event and `unacknowledged` says how many may be missing. Memory per channel and direction is bounded by
    `window` bytes of cost, and the number of channels by `frames.MAX_CHANNELS`.
    """

    def __init__(self, number: int, *, window: int) -> None:
        assert number > 0, "session numbers start at 1"
        self.number = number
        self._window = window
        self._remote_window: int | None = None
        self._remote_number = 0
        self._outbound: list[OutboundChannel] = []
        self._outbound_by_label: dict[str, OutboundChannel] = {}
        self._inbound: dict[int, InboundChannel] = {}
        self._sendable: dict[int, OutboundChannel] = {}
        self._control: list[bytes] = []
        self._synchronised = False
        self._has_path = False
        self._ending = False
        self._end_sent = False
        self._ack_at: float | None = None
        self._events: list[SessionEvent] = []

    # What is known

    @property
    def unacknowledged(self) -> int:
        """How many accepted messages the remote session does not have yet, as far as is known."""
        return sum(channel.unacknowledged for channel in self._outbound)

    @property
    def ended(self) -> bool:
        """Whether our END has been handed out: everything was acknowledged before it."""
        return self._end_sent

    def deadline(self) -> float | None:
        """When `handle_timeout` is due."""
        return self._ack_at

    def events(self) -> list[SessionEvent]:
        """Return what has happened, in order, once."""
        events, self._events = self._events, []
        return events

    # Commands

    def fits(self, label: str, payload: bytes) -> bool:
        """Whether `send` would take this message now."""
        channel = self._outbound_by_label.get(label)
        return channel is None or channel.fits(payload)  # every window takes one message of the largest size

    def send(self, label: str, payload: bytes) -> None:
        """Take a message that fits; its place in the order of the channel is fixed by this call."""
        assert not self._ending, "send() after end()"
        channel = self._outbound_by_label.get(label)
        if channel is None:
            channel = self._open_channel(label)
        channel.accept(payload)
        self._make_sendable(channel)

    def taken(self, message: MessageReceived, now: float) -> None:
        """Note that the application has taken a message; its sender gets credit for another."""
        channel = self._inbound[message.channel]
        channel.take(message.payload)
        self._owe(channel, now)

    def end(self) -> None:
        """Take no more messages; once everything is acknowledged, say so to the remote session."""
        self._ending = True
        self._end_if_drained()

    # The path

    def path_opened(self) -> None:
        """Start over on a new path. From now on `receive` is given the packets of this one only."""
        self._has_path, self._synchronised = True, False
        progress = tuple(channel.progress() for channel in self._inbound.values())
        resume = Resume(self.number, self._remote_number, self._window, progress)
        self._control = [frames.encode_resume(resume)]
        self._ack_at = None
        self._end_sent = False

    def path_lost(self) -> None:
        """Hold everything back until there is another path."""
        self._has_path = self._synchronised = False
        self._control = []
        self._ack_at = None

    # Input and output

    def receive(self, packet: bytes, now: float) -> None:
        """Take a packet of the current path.

        Raises `ProtocolViolation` when the path must go, `RemoteRestarted` when this session must; nothing else,
        whatever the bytes.
        """
        for frame in frames.decode_packet(packet):
            match frame:
                case Data():
                    self._receive_data(frame, now)
                case Ack():
                    self._receive_ack(frame.progress)
                case Open():
                    self._receive_open(frame)
                case Resume():
                    self._receive_resume(frame, now)
                case End():
                    self._events.append(RemoteEnded())
                case _:
                    assert_never(frame)

    def handle_timeout(self, now: float) -> None:
        """Report progress if it has waited long enough."""
        if self._ack_at is not None and now >= self._ack_at:
            self._acknowledge()

    def packets_to_send(self, budget_bytes: int) -> list[bytes]:
        """Return packets for the path, once: control first, then data of all channels in turn.

        Stops at the first packet that reaches `budget_bytes` in sum; what is held back comes with a later call.
        """
        packets: list[bytes] = []
        packet = bytearray()
        for frame in self._frames_to_send():
            if packet and len(packet) + len(frame) > PACKET_BYTES:
                packets.append(bytes(packet))
                budget_bytes -= len(packet)
                packet.clear()
            packet += frame
            if len(packet) >= budget_bytes:
                break
        if packet:
            packets.append(bytes(packet))
        return packets

    # Rules

    def _frames_to_send(self) -> Iterator[bytes]:
        if not self._has_path:
            return
        while self._control:
            yield self._control.pop(0)
        while self._synchronised and self._sendable:
            channel = self._sendable.pop(next(iter(self._sendable)))
            frame = channel.next_frame()
            self._make_sendable(channel)
            yield frame

    def _receive_data(self, data: Data, now: float) -> None:
        channel = self._inbound.get(data.channel)
        if channel is None:
            raise ProtocolViolation(
                "unknown_channel", f"a message on channel {data.channel}, which was not opened"
            )
        if channel.admit(data):
            self._events.append(MessageReceived(channel.label, data.channel, data.payload))
        self._owe(channel, now)

    def _receive_ack(self, progress: Progress) -> None:
        if progress.channel >= len(self._outbound):
            raise ProtocolViolation("bad_ack", f"channel {progress.channel} was never opened")
        channel = self._outbound[progress.channel]
        if channel.acknowledge(progress):
            self._events.append(CreditGrew(channel.label))
        self._make_sendable(channel)
        self._end_if_drained()

    def _receive_open(self, frame: Open) -> None:
        known = self._inbound.get(frame.channel)
        if known is not None:
            if known.label != frame.label:
                raise ProtocolViolation("bad_open", f"channel {frame.channel} was opened with another label")
        elif frame.channel != len(self._inbound):
            raise ProtocolViolation("bad_open", f"channel {frame.channel} is out of turn")
        elif len(self._inbound) >= frames.MAX_CHANNELS:
            raise ProtocolViolation("too_many_channels", f"more than {frames.MAX_CHANNELS}")
        else:
            self._inbound[frame.channel] = InboundChannel(frame.channel, frame.label, self._window)

    def _receive_resume(self, resume: Resume, now: float) -> None:
        if resume.remote_session not in (0, self.number):
            return  # meant for a session that this one replaced; the remote peer will learn so and start over
        if self._synchronised:
            raise ProtocolViolation("bad_resume", "a second time on one path")
        if self._remote_number not in (0, resume.session):
            raise RemoteRestarted
        self._remote_number, self._remote_window = resume.session, resume.window
        progress = {entry.channel: entry for entry in resume.progress}
        for channel in self._outbound:
            unopened = Progress(channel.number, 0, resume.window)
            if channel.rewind(progress.pop(channel.number, unopened)):
                self._events.append(CreditGrew(channel.label))
        if progress:
            raise ProtocolViolation("bad_resume", f"{len(progress)} channels that were never opened")
        self._synchronised = self._has_path
        self._sendable.clear()
        for channel in self._outbound:
            self._make_sendable(channel)
        self._ack_at = now  # for what the application took between our RESUME and this one
        self._end_if_drained()

    def _open_channel(self, label: str) -> OutboundChannel:
        assert len(self._outbound) < frames.MAX_CHANNELS, "more channels than a session has"
        channel = OutboundChannel(len(self._outbound), label, self._window)
        if self._remote_window is not None:
            channel.acknowledge(Progress(channel.number, 0, self._remote_window))
        self._outbound.append(channel)
        self._outbound_by_label[label] = channel
        return channel

    def _make_sendable(self, channel: OutboundChannel) -> None:
        """Give the channel a turn after the others, if it has something to send and no turn yet."""
        if channel.has_frames:
            self._sendable.setdefault(channel.number, channel)

    def _owe(self, channel: InboundChannel, now: float) -> None:
        if not self._synchronised:
            return  # RESUME reports all there is, and what comes after it is reported once the remote RESUME has come
        if channel.owes_much:
            self._control.append(frames.encode_ack(channel.progress()))
        elif self._ack_at is None:
            self._ack_at = now + ACK_DELAY

    def _acknowledge(self) -> None:
        self._ack_at = None
        self._control += [
            frames.encode_ack(channel.progress()) for channel in self._inbound.values() if channel.owes
        ]

    def _end_if_drained(self) -> None:
        if self._ending and self._synchronised and not self._end_sent and not self.unacknowledged:
            self._end_sent = True
            self._control.append(frames.encode_end())
