"""The session with one remote peer, above all paths: a machine without I/O.

It assumes nothing of a path: packets may be lost, repeated, reordered and delayed for minutes, and paths come and go.
Every packet names both sessions, so there is no handshake: what is said before anything was heard counts already.

    remote number unknown ──first packet──▶ bound ──a packet of a later session──▶ RemoteRestarted
    sending ──end()──▶ draining ──all acknowledged: END──▶ ending ──END_ACK──▶ ended
"""

from __future__ import annotations

from typing import assert_never

from rtcmesh.peer.delivery import Delivery, Priority
from rtcmesh.peer.errors import ProtocolViolation, RemoteRestarted
from rtcmesh.relay.frames import Urgency

from . import frames
from .acknowledgements import Acknowledgements
from .flight import Flight, Fragment
from .frames import Ack, Blocked, Data, Datagram, End, EndAck, Frame, Header, Hello, Messages, Open, Packet
from .inbound import InboundChannel, InboundStream, Together, open_inbound
from .outbound_channel import OutboundChannel
from .outbound_channels import OutboundChannels
from .packet_writer import PacketWriter
from .retry import Retry
from .session_events import Acknowledged, CreditGrew, Ended, MessagesReceived, RemoteEnded, SessionEvent

_INSTANCE_BITS = 32


class Session:
    """What two peers have told each other, independent of the paths.

    Guarantees: every accepted message is delivered as its `Delivery` says, or `undelivered` returns it. Memory per
    channel and direction is bounded by `window` bytes of cost, or one message, if that is larger; one at a time in
    the whole session when receiving. A number names a session and the process that has it: its upper 32 bits are the
    process's, and its lower ones count.
    """

    def __init__(self, number: int, *, window: int, remote_after: int = 0) -> None:
        """`remote_after`: the number of the last remote session that this one's predecessors spoke with, or 0.

        That session and those before it are not heard again.
        """
        assert number > 0, "session numbers start at 1"
        self.number = number
        self.remote_number = 0
        """The remote session's number; 0 until it was heard."""
        self.remote_after = remote_after
        self._window = window
        self._flights: dict[int, Flight] = {}
        self._silent: dict[int, None] = {}
        self._acknowledged_on: dict[Flight, None] = {}
        """Where something has arrived, by the packet that is being received."""
        self._outbound = OutboundChannels(window=window)
        self._turns = self._outbound.turns
        self._inbound: dict[int, InboundChannel] = {}
        self._acknowledgements = Acknowledgements()
        self._allowed: InboundStream | None = None
        self._greeting = Retry()
        self._greet = False
        self._answer = False
        self._ending = False
        self._end = Retry()
        self._end_due = False
        self._answer_end = False
        self._remote_ended = False
        self._blocked = Retry()
        self._blocked_due = False
        self._ended = False
        self._events: list[SessionEvent] = []

    # What is known

    @property
    def unacknowledged(self) -> int:
        """How many reliable messages the remote session does not have yet, as far as is known."""
        return sum(channel.unacknowledged for channel in self._outbound)

    @property
    def in_flight_bytes(self) -> int:
        """What was handed out and is neither acknowledged nor taken for lost."""
        return sum(flight.bytes for flight in self._flights.values())

    @property
    def ended(self) -> bool:
        """Whether the remote session has heard our END: everything was acknowledged before it."""
        return self._ended

    def undelivered(self) -> list[tuple[str, bytes]]:
        """Return what is lost with this session, with labels, in the order of each channel.

        That is reliable messages that were not acknowledged, but not those that an outbox keeps.
        """
        return [(channel.label, payload) for channel in self._outbound for payload in channel.undelivered()]

    def deadline(self) -> float | None:
        """When `handle_timeout` is due."""
        due = [self._acknowledgements.due_at, self._greeting.at, self._end.at, self._blocked.at]
        due += [flight.deadline() for flight in self._flights.values()]
        return min((at for at in due if at is not None), default=None)

    def events(self) -> list[SessionEvent]:
        """Return what has happened, in order, once."""
        events, self._events = self._events, []
        return events

    # Commands

    def channel(
        self,
        label: str,
        delivery: Delivery = Delivery.RELIABLE,
        priority: Priority = Priority.INTERACTIVE,
        *,
        stored: bool = False,
    ) -> OutboundChannel:
        """Return the sending end of a channel, which takes messages until `end`: keep it, and it costs one call each.

        What the first call for a label says of its delivery holds for all.
        """
        assert not self._ending, "channel() after end()"
        return self._outbound.open(label, delivery, priority, stored=stored)

    def taken(self, messages: MessagesReceived, now: float) -> None:
        """Note that the application has taken these messages; their sender gets credit for others."""
        channel = self._inbound[messages.channel]
        if channel.take(messages.cost):
            self._acknowledgements.owe(channel, now)
            if self._allowed is not None:
                self._pass_allowance(now)

    def hello(self) -> None:
        """Let the remote session know of this one, though there may be nothing to say; again until it is heard."""
        self._greet = True

    def release(self) -> list[tuple[str, bytes]]:
        """Let go of everything, for good, and return what `undelivered` does."""
        undelivered = self.undelivered()
        for flight in self._flights.values():
            flight.lose_all()
        for held in (self._outbound, self._inbound, self._flights, self._acknowledgements, self._events):
            held.clear()
        self._allowed = None
        return undelivered

    def end(self) -> None:
        """Take no more messages, on no channel; once everything is acknowledged, say so to the remote session."""
        self._ending = True
        self._end_if_drained()

    # Paths

    def path_opened(self, path: int, now: float) -> None:
        """Note a path; its number is used once."""
        self._flights[path] = Flight(now)

    def path_closed(self, path: int, now: float) -> None:
        """Note that a path is no more. What was on its way there is sent again."""
        self.path_doubted(path, now)
        self._flights.pop(path, None)
        self._silent.pop(path, None)

    def path_doubted(self, path: int, now: float) -> None:
        """Send again, on the path that carries from now on, what is on its way on this one."""
        del now
        if flight := self._flights.get(path):
            self._outbound.take_back(flight.lose_all())

    def silent_paths(self) -> list[int]:
        """Return the paths on which something is on its way and nothing was acknowledged for too long, each once."""
        silent, self._silent = list(self._silent), {}
        return silent

    def path_refused(self, path: int, now: float) -> None:
        """Note that a path did not take what was sent: it is sent again, after a pause."""
        if flight := self._flights.get(path):
            self._outbound.take_back(flight.refused(now))

    # Input

    def receive(self, packet: bytes, path: int, now: float) -> bool:
        """Take a packet of any path. Returns False for one of or for a session that came before.

        Raises `ProtocolViolation` for what an honest peer does not send, `RemoteRestarted` when this session must go;
        nothing else, whatever the bytes.
        """
        del path
        header = frames.decode_header(packet)
        if not self._is_current(header.source):
            return False
        if header.destination not in (0, self.number):
            self._answer = True  # meant for a session that this one replaced; the remote peer learns so
            return False
        received = frames.decode_frames(packet)
        self.remote_number = header.source
        self._greeting.stop()
        for frame in received:
            self._receive_frame(frame, now)
        acknowledged, self._acknowledged_on = list(self._acknowledged_on), {}
        for flight in acknowledged:
            self._outbound.take_back(flight.find_lost(now))
        return True

    def handle_timeout(self, now: float) -> None:
        """Do what is due: acknowledge, send again, note which paths are silent."""
        self._acknowledgements.handle_timeout(now)
        for path, flight in self._flights.items():
            self._outbound.take_back(flight.handle_timeout(now))
            if flight.has_fallen_silent(now):
                self._silent[path] = None
        if self._greeting.is_due(now):
            self._greeting.start(now)
            self._greet = True
        if self._end.is_due(now):
            self._end.start(now)
            self._end_due = True
        if self._blocked.is_due(now):
            self._blocked.start(now)
            self._blocked_due = True

    # Output

    def packets_to_send(self, path: int, budget_bytes: int, now: float) -> list[Packet]:
        """Return packets for the path that carries now: control first, then interactive frames, then bulk.

        Stops once they reach `budget_bytes` in sum, and when the path's window is full; the rest comes later.
        """
        if (flight := self._flights.get(path)) is None:
            return []
        control = self._control_frames(now)
        if not (control or self._answer or self._turns):
            self._watch_blocked(now)
            return []
        writer = PacketWriter(frames.encode_header(Header(self.number, self.remote_number)))
        for frame in control:
            writer.add(frame, Urgency.CONTROL)
        if self._answer:
            writer.say_something()
            self._answer = False
        before = -1
        # the last fragment of a large message makes way for small ones, which are urgent
        while self._turns and before < writer.size:
            before = writer.size
            for urgency in (Urgency.INTERACTIVE, Urgency.BULK):
                self._write_data(writer, urgency, flight, budget_bytes, now)
        self._watch_blocked(now)
        return writer.packets()

    # Rules: what goes out

    def _control_frames(self, now: float) -> list[bytes]:
        control: list[bytes] = []
        if self._greet:
            self._greet = False
            if self._greeting.at is None:
                self._greeting.start(now)
            control.append(frames.HELLO)
        control += self._acknowledgements.frames(now, company=bool(self._turns))
        if self._blocked_due:
            self._blocked_due = False
            control += [frames.encode_blocked(c.number) for c in self._outbound if c.is_blocked]
        if self._end_due:
            self._end_due = False
            if self._end.at is None:
                self._end.start(now)
            control.append(frames.END)
        if self._answer_end:
            self._answer_end = False
            control.append(frames.END_ACK)
        return control

    def _write_data(
        self, writer: PacketWriter, urgency: Urgency, flight: Flight, budget_bytes: int, now: float
    ) -> None:
        """Let the channels of one urgency have a fragment each in turn."""
        while writer.size < budget_bytes and (channel := self._turns.first(urgency)) is not None:
            if not flight.takes(urgency, now):
                return
            self._turns.end(channel, urgency)
            frame, fragment = channel.next_frame()
            writer.add_data(channel, frame, urgency)
            if fragment is not None:
                flight.sent(fragment, now)
            self._turns.give(channel)

    def _watch_blocked(self, now: float) -> None:
        if not any(channel.is_blocked for channel in self._outbound):
            self._blocked.stop()
        elif self._blocked.at is None:
            self._blocked.start(now)

    def _end_if_drained(self) -> None:
        if self._ending and not self._ended and all(channel.is_drained for channel in self._outbound):
            self._end_due = self._end_due or self._end.at is None

    # Rules: what comes in

    def _is_current(self, source: int) -> bool:
        """Whether a packet is of the remote session; False for one of its predecessors."""
        known = self.remote_number or self.remote_after
        if known == 0 or source == self.remote_number:
            return True
        if source >> _INSTANCE_BITS != known >> _INSTANCE_BITS:
            raise RemoteRestarted(another_process=True)
        if source <= known:
            return False
        if self.remote_number == 0:
            return True
        raise RemoteRestarted(another_process=False)

    def _receive_frame(self, frame: Frame, now: float) -> None:
        match frame:
            case Messages() | Data():
                self._receive_data(frame, now)
            case Ack():
                self._receive_ack(frame, now)
            case Datagram():
                self._receive_datagram(frame)
            case Open():
                self._receive_open(frame, now)
            case Blocked():
                channel = self._known(frame.channel)
                channel.owes_now = True
                self._acknowledgements.owe(channel, now)
            case Hello():
                self._answer = True
            case End():
                self._answer_end = True
                if not self._remote_ended:
                    self._remote_ended = True
                    self._events.append(RemoteEnded())
            case EndAck():
                if self._end.at is not None:
                    self._end.stop()
                    self._ended = True
                    self._events.append(Ended())
            case _:
                assert_never(frame)

    def _receive_data(self, data: Data | Messages, now: float) -> None:
        channel = self._known(data.channel)
        if isinstance(data, Data):
            size, deliverable = frames.cost(data.payload), channel.receive(data)
        else:
            size, deliverable = data.size, channel.receive_messages(data)
        for together in deliverable:
            self._deliver(channel, together)
        self._acknowledgements.arrived(channel, size, now)
        if isinstance(channel, InboundStream) and channel.wants_allowance:
            self._pass_allowance(now)

    def _receive_datagram(self, datagram: Datagram) -> None:
        channel = self._known(datagram.channel)
        if channel.receive_datagram(datagram.number):
            self._deliver(channel, Together((datagram.payload,), frames.cost(datagram.payload)))

    def _receive_ack(self, ack: Ack, now: float) -> None:
        channel = self._outbound.acknowledged_by(ack.channel)
        confirmed = channel.acknowledged_messages
        by_flight: dict[Flight, list[Fragment]] = {}
        for fragment in channel.acknowledge(ack):
            if fragment.flight is not None:
                by_flight.setdefault(fragment.flight, []).append(fragment)
        for flight, arrived in by_flight.items():
            flight.acknowledged(arrived, now, ack.delay)
            self._acknowledged_on[flight] = None
        if channel.acknowledged_messages > confirmed:
            self._events.append(Acknowledged(channel.label, channel.acknowledged_messages))
            self._events.append(CreditGrew(channel.label))
        self._turns.give(channel)
        self._end_if_drained()

    def _receive_open(self, frame: Open, now: float) -> None:
        known = self._inbound.get(frame.channel)
        if known is None:
            if frame.channel >= frames.MAX_CHANNELS:
                raise ProtocolViolation("too_many_channels", f"more than {frames.MAX_CHANNELS}")
            known = self._inbound[frame.channel] = open_inbound(frame, window=self._window)
        elif (known.label, known.delivery, known.stored) != (frame.label, frame.delivery, frame.stored):
            raise ProtocolViolation("bad_open", f"channel {frame.channel} was opened as another one")
        self._acknowledgements.owe(known, now)

    def _known(self, number: int) -> InboundChannel:
        channel = self._inbound.get(number)
        if channel is None:
            raise ProtocolViolation("unknown_channel", f"channel {number} was not opened")
        return channel

    def _deliver(self, channel: InboundChannel, together: Together) -> None:
        payloads, size = together
        self._events.append(
            MessagesReceived(channel.label, channel.number, payloads, channel.delivery, channel.stored, size)
        )

    def _pass_allowance(self, now: float) -> None:
        """Let one channel at a time, each in its turn, have a message that is larger than its window."""
        allowed, last = self._allowed, -1
        if allowed is not None:
            if allowed.needs_allowance:
                return
            allowed.withdraw()
            self._allowed, last = None, allowed.number
        wanting = [c for c in self._inbound.values() if isinstance(c, InboundStream) and c.wants_allowance]
        if wanting:
            channel = self._allowed = min(wanting, key=lambda c: (c.number <= last, c.number))
            channel.allow()
            self._acknowledgements.owe(channel, now)
