"""The association: all of it together, behind one face (RFC 9260 section 4).

connect ──▶ Handshake ── agreement ──▶ Established                  who is there, and what it can do
send ──▶ Channels ──▶ Outbound ──▶ Sender ──▶ packets_to_send       what waits, what is on its way
receive_packets ──▶ Inbound ──▶ Channels ──▶ events                 what has arrived, messages
close_channel ──▶ Channels ──▶ StreamReset                          how channels end
shutdown ──▶ Shutdown                                               how all of it ends
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from random import Random

from msgspec.structs import replace

from . import parameters
from .channels import Channels
from .chunks import CHUNK_HEADER, FLAG_T, ChunkType, encode_causes, encode_chunk
from .config import SctpConfig
from .dcep import MAX_NAME_BYTES, Open
from .errors import BufferFull, ChannelNotOpen, MessageTooLarge, NotEstablished, ProtocolError
from .established import Established
from .events import (
    AssociationAnswered,
    AssociationClosed,
    AssociationConnected,
    AssociationRestarted,
    ChannelWritable,
    CloseReason,
    Event,
)
from .first_data import FirstData
from .handshake import Handshake, HandshakeState, Verdict
from .outbound import MESSAGE_OVERHEAD_BYTES, Outbound
from .packet import HEADER_BYTES, Envelope, tag_of
from .parameters import Cause, Parameter
from .shutdown import ShutdownState, answer_out_of_the_blue
from .stats import AssociationStats, ChannelStats

DEFAULT_REMOTE_MAX_MESSAGE_BYTES = 65_536
"""RFC 8841 section 6.1."""


class Association:
    """One SCTP association for data channels: a machine without I/O, clock or randomness of its own.

    Reliable messages arrive once, and in order on ordered channels, or `AssociationClosed` says why not. The shell puts
    in one input, then takes `events()` and `packets_to_send(now)`, and calls `handle_timeout(now)` at `deadline()`.
    No bytes from the network raise; misuse by the caller raises a `SctpError`.
    """

    def __init__(self, config: SctpConfig, random: Random) -> None:
        self.remote_max_message_bytes = DEFAULT_REMOTE_MAX_MESSAGE_BYTES
        """What the session description of the remote end says (RFC 8841); 0: any size."""
        self._may_grow = True
        self._config = config
        self._max_buffered_bytes = config.max_buffered_bytes
        self._random = random
        self._outbound = Outbound()
        self._channels = Channels(config.role, self._outbound, config.max_streams)
        self._first_data = FirstData(config, self._outbound)
        self._handshake = Handshake(config, self._first_data, random)
        self._established: Established | None = None
        self._answered = False
        self._shutting_down = False
        self._closed = False
        self._events: list[Event] = []
        self._packets: list[bytes] = []
        self._packets_sent = self._bytes_sent = 0
        self._packets_received = self._bytes_received = self._packets_discarded = 0
        self._last_stats = AssociationStats(mtu=config.packet_bytes)

    # The face: the network

    def connect(self, now: float) -> None:
        """Start the handshake. Either end may, or both, which is best; an end that does not call it answers."""
        if self._handshake.state is HandshakeState.CLOSED and not self._closed:
            self._handshake.connect(now)

    def path_selected(self, now: float, *, may_grow: bool) -> None:
        """Note over what packets go from now on, and whether they may grow there beyond `SctpConfig.packet_bytes`.

        They may not where a relay may cut what is too large in pieces: a probe that arrives proves nothing there.
        """
        self._may_grow = may_grow
        if self._established is not None:
            self._established.path_changed(now, may_grow=may_grow)

    def receive_packets(self, packets: Sequence[bytes], now: float) -> None:
        """Take the packets of one read batch. At most 64 at a time, or the two ends take turns."""
        self._packets_received += len(packets)
        self._bytes_received += sum(map(len, packets))
        established = self._established
        index = 0
        while index < len(packets):
            packet = packets[index]
            if established is not None and established.incoming.fits(packet):
                if count := established.receive_run(packets, index, now):
                    index += count
                    continue
                try:
                    established.receive(packet, now)
                except ProtocolError as error:
                    self._violated(established, error)
                    break
            else:
                self._receive_stranger(packet, now)
                established = self._established
            index += 1
        if established is not None:
            established.batch_ended(now)
            self._look_for_the_end(established)

    def packets_to_send(self, now: float) -> list[bytes]:
        """Return what is to be sent now, in order, each packet at most `stats().mtu` bytes, except MTU probes.

        Call it once after every batch of inputs, not after each `send`: what is queued by then shares packets.
        Packets of bulk data are of equal size, except the last of a run.
        """
        packets, self._packets = self._packets, []
        packets += self._handshake.packets_to_send(now)
        established = self._established
        if established is not None:
            packets += established.packets(now)
            self._look_for_the_end(established)
        self._packets_sent += len(packets)
        self._bytes_sent += sum(map(len, packets))
        return packets

    def deadline(self) -> float | None:
        """When `handle_timeout` is due; None while nothing is pending. Changes with every input."""
        due = self._handshake.deadline()
        if self._established is not None:
            due = min(due, self._established.deadline())
        return None if due == inf or self._closed else due

    def handle_timeout(self, now: float) -> None:
        """Do what is due. Harmless when nothing is."""
        self._handshake.handle_timeout(now)
        if self._handshake.failed and not self._closed:
            self._close(CloseReason.HANDSHAKE_TIMEOUT, "the remote end did not answer")
        if self._established is not None:
            self._established.handle_timeout(now)
            self._look_for_the_end(self._established)

    # The face: the application

    def events(self) -> list[Event]:
        """Return what happened since the last call."""
        if self._channels.events:
            self._take_channel_events()
        if self._outbound.writable:
            self._events += [ChannelWritable(channel_id) for channel_id in self._outbound.writable]
            self._outbound.writable = []
        events, self._events = self._events, []
        return events

    def open_channel(
        self,
        now: float,
        *,
        label: str = "",
        protocol: str = "",
        ordered: bool = True,
        max_retransmits: int | None = None,
        max_lifetime: float | None = None,
        priority: int = 256,
        negotiated_id: int | None = None,
    ) -> int:
        """Open a data channel and return its id; it takes data at once, also before the handshake is over.

        `negotiated_id` opens one that both ends open with the same id (nothing is sent), else the remote end is told
        (RFC 8832). `max_lifetime` is in seconds.
        """
        del now
        if self._closed or self._shutting_down:
            raise NotEstablished("the association is over or ending")
        if max_retransmits is not None and max_lifetime is not None:
            raise ValueError("max_retransmits and max_lifetime exclude one another")
        if len(label.encode()) > MAX_NAME_BYTES or len(protocol.encode()) > MAX_NAME_BYTES:
            raise ValueError(f"a label or protocol of more than {MAX_NAME_BYTES} bytes")
        opening = Open(label, protocol, ordered, max_retransmits, max_lifetime, priority)
        return self._channels.open(opening, negotiated_id)

    def close_channel(self, channel_id: int, now: float) -> None:
        """Close a channel: what was sent before is still delivered, then both directions end (RFC 8831 section 6.7)."""
        del now
        self._channels.close(channel_id)

    def send(
        self, channel_id: int, data: bytes | bytearray | memoryview | str, now: float | None = None
    ) -> bool:
        """Queue a message; a str is a text message. Returns whether the channel is below its high-water mark.

        When it returns False, `ChannelWritable` follows. `now` is needed on channels with a lifetime for messages,
        which begins then. Raises `ChannelNotOpen`, `MessageTooLarge`, `BufferFull`, `NotEstablished`, and ValueError
        where `now` is needed.
        """
        channel = self._channels.by_id.get(channel_id)
        if channel is None or not channel.takes_messages:
            raise self._refusal(channel_id)
        delivery = channel.binary
        if delivery is None or not data or not isinstance(data, bytes):
            delivery, data = channel.prepare(data, now)
        size = len(data)
        if size > self.remote_max_message_bytes > 0:
            raise MessageTooLarge(size, self.remote_max_message_bytes)
        outbound, stream = self._outbound, channel.stream
        if outbound.buffered + size + MESSAGE_OVERHEAD_BYTES * len(stream.queue) > self._max_buffered_bytes:
            raise BufferFull(self._max_buffered_bytes)
        outbound.add(stream, delivery, data)
        if size == 1:
            channel.sent_one_byte(delivery)
        if stream.buffered < stream.high_water:
            return True
        stream.blocked = True
        return False

    def set_water_marks(self, channel_id: int, *, low_bytes: int, high_bytes: int) -> None:
        """Say when `send` returns False, and when `ChannelWritable` follows. Default: 16 and 64 KiB."""
        if not 0 <= low_bytes <= high_bytes:
            raise ValueError(f"{low_bytes} and {high_bytes} are no water marks")
        stream = self._channels[channel_id].stream
        stream.low_water, stream.high_water = low_bytes, high_bytes

    def buffered_amount(self, channel_id: int) -> int:
        """Bytes of messages that wait to be sent for the first time. Raises `ChannelNotOpen`."""
        return self._channels[channel_id].stream.buffered

    @property
    def has_events(self) -> bool:
        """Whether `events` would return something."""
        return bool(self._events or self._outbound.writable or self._channels.events)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is on its way, so that what is sent now need not wait for company."""
        established = self._established
        return established is not None and not established.sender.recovery.outstanding

    def consumed(self, size_bytes: int, messages: int = 1) -> None:
        """Say that the application has taken so many messages of so many bytes together: the window opens again."""
        if self._established is not None:
            self._established.inbound.consumed(size_bytes, messages)

    def shutdown(self, now: float) -> None:
        """End in order: what was sent is delivered first, then `AssociationClosed(SHUTDOWN)` follows at both ends."""
        del now
        self._shutting_down = True
        self._channels.end()
        if self._established is not None:
            self._established.shutdown.request()
        elif self._handshake.state is HandshakeState.CLOSED and not self._closed:
            self._close(CloseReason.SHUTDOWN, "before the association was established")

    def abort(self, reason: str = "") -> None:
        """End at once and tell the remote end; `packets_to_send` returns the ABORT."""
        if self._closed:
            return
        self._send_abort(Parameter(Cause.USER_INITIATED_ABORT, reason.encode()[:256]))
        self._close(CloseReason.LOCAL_ABORT, reason)

    def stats(self) -> AssociationStats:
        """Return the figures of the association."""
        if self._established is None:
            return self._last_stats
        return replace(
            self._established.stats(),
            packets_sent=self._packets_sent,
            packets_received=self._packets_received,
            bytes_sent=self._bytes_sent,
            bytes_received=self._bytes_received,
            packets_discarded=self._packets_discarded,
        )

    def channel_stats(self, channel_id: int) -> ChannelStats:
        """Return the figures of a channel. Raises `ChannelNotOpen`."""
        return self._channels[channel_id].stats()

    # Packets that are not of the established association

    def _receive_stranger(self, packet: bytes, now: float) -> None:
        """Take a packet of the handshake, or one whose tag is another (RFC 9260 sections 5, 8.4, 8.5)."""
        config = self._config
        tag = tag_of(packet, config.remote_port, config.local_port, zero_checksum=config.zero_checksum)
        if tag is None or len(packet) < HEADER_BYTES + CHUNK_HEADER.size:
            self._packets_discarded += 1
            return
        kind, flags, length = CHUNK_HEADER.unpack_from(packet, HEADER_BYTES)
        value = packet[HEADER_BYTES + CHUNK_HEADER.size : HEADER_BYTES + length]
        known = False
        if self._closed:
            known = kind == ChunkType.SHUTDOWN_ACK and tag == self._handshake.local_tag
            if known:
                # Our SHUTDOWN COMPLETE was lost, and nothing is left here but the tag.
                self._packets.append(self._seal(answer_out_of_the_blue(), tag))
        elif self._established is not None and kind in (ChunkType.ABORT, ChunkType.SHUTDOWN_COMPLETE):
            known = bool(flags & FLAG_T) and tag == self._established.outgoing.tag
            if known:
                self._established.handlers[kind](flags, value, now)
        else:
            known = self._receive_handshake(packet, kind, value, tag, now)
        if not known:
            self._packets_discarded += 1

    def _receive_handshake(self, packet: bytes, kind: int, value: bytes, tag: int, now: float) -> bool:
        """Take a packet of the handshake. Returns whether it was one; what is wrong with it changes nothing."""
        handshake = self._handshake
        try:
            if kind == ChunkType.INIT and tag == 0:
                handshake.receive_init(value, now)
            elif kind == ChunkType.COOKIE_ECHO:
                return self._receive_cookie_echo(packet, value, tag, now)
            elif tag != handshake.local_tag or self._established is not None:
                return False
            elif kind == ChunkType.INIT_ACK:
                if handshake.receive_init_ack(value, now) and not self._answered:
                    self._answered = True
                    self._events.append(AssociationAnswered())
            elif kind == ChunkType.ABORT and handshake.state is not HandshakeState.CLOSED:
                self._close(CloseReason.REMOTE_ABORT, parameters.describe(parameters.decode(value)))
            elif kind == ChunkType.ERROR:
                handshake.receive_error(parameters.decode(value), now)
            elif handshake.receive_cookie_ack():
                # A COOKIE ACK; or anything else that only an end can send that has our cookie: its COOKIE ACK was lost.
                self._receive_first(packet, HEADER_BYTES, now)
            else:
                return False
        except ProtocolError:
            return False
        return True

    def _receive_cookie_echo(self, packet: bytes, value: bytes, tag: int, now: float) -> bool:
        verdict = self._handshake.receive_cookie_echo(value, tag, now)
        if verdict is Verdict.IGNORED:
            return False
        if verdict is Verdict.RESTARTED:
            self._channels.restarted()
            self._take_channel_events()
            self._events.append(AssociationRestarted())
        self._receive_first(packet, HEADER_BYTES + CHUNK_HEADER.size + ((len(value) + 3) & ~3), now)
        return True

    def _receive_first(self, packet: bytes, offset: int, now: float) -> None:
        """Become established, by the packet that has what else it may from `offset` on."""
        agreement = self._handshake.agreement
        assert agreement is not None
        established = Established(self._config, agreement, self._outbound, self._channels, self._random, now)
        if offset > HEADER_BYTES:
            established.control.append(encode_chunk(ChunkType.COOKIE_ACK))
        established.takes_cookie = self._takes_cookie
        established.path_changed(now, may_grow=self._may_grow)
        self._first_data.hand_over(established.sender.recovery)
        if self._handshake.round_trip is not None:
            established.sender.recovery.round_trip.measured(self._handshake.round_trip, now)
        if self._shutting_down:
            established.shutdown.request()
        if self._established is None:
            self._events.append(AssociationConnected())
        self._established = established
        self._channels.connected(min(agreement.remote_inbound_streams, agreement.remote_outbound_streams))
        try:
            established.receive(packet, now, offset)
        except ProtocolError as error:
            self._violated(established, error)

    def _takes_cookie(self, value: bytes, now: float) -> bool:
        """Take a COOKIE ECHO in the midst of the association: only the one that made it is answered."""
        established, handshake = self._established, self._handshake
        if established is None:
            return False
        if handshake.receive_cookie_echo(value, established.incoming.tag, now) is not Verdict.REPEATED:
            return False
        established.control.insert(0, encode_chunk(ChunkType.COOKIE_ACK))
        return True

    # The end

    def _violated(self, established: Established, error: ProtocolError) -> None:
        if not self._closed:
            self._send_abort(Parameter(error.cause, error.detail.encode()))
            established.ended = AssociationClosed(CloseReason.PROTOCOL_ERROR, str(error))
            self._look_for_the_end(established)

    def _look_for_the_end(self, established: Established) -> None:
        if established.shutdown.state is ShutdownState.COMPLETE and established.ended is None:
            established.ended = AssociationClosed(CloseReason.SHUTDOWN)
            if established.shutdown.chunks:
                self._packets.append(established.outgoing.seal(b"".join(established.shutdown.chunks)))
        if established.ended is not None and not self._closed:
            self._close(established.ended.reason, established.ended.detail)

    def _send_abort(self, cause: Parameter) -> None:
        if self._established is not None:
            self._packets.append(self._established.outgoing.seal(encode_causes(ChunkType.ABORT, [cause])))

    def _close(self, reason: CloseReason, detail: str) -> None:
        self._last_stats = self.stats()
        self._closed = True
        self._channels.end()
        self._established = None
        self._handshake.stop()
        self._take_channel_events()
        self._events.append(AssociationClosed(reason, detail))

    # Rules

    def _take_channel_events(self) -> None:
        self._events += self._channels.events
        self._channels.events = []

    def _refusal(self, channel_id: int) -> NotEstablished | ChannelNotOpen:
        if self._shutting_down or self._closed:
            return NotEstablished("the association is over or ending")
        return ChannelNotOpen(channel_id)

    def _seal(self, chunk: bytes, tag: int) -> bytes:
        return Envelope(self._config.local_port, self._config.remote_port, tag).seal(chunk)
