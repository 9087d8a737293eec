"""An association from the moment both ends agree until it is over: chunks in, packets out, and every timer.

A restart of the remote end (RFC 9260 section 5.2.4) makes another one of these; what survives it is in `Association`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from random import Random

from . import parameters
from .channels import Channels
from .chunks import (
    CHUNK_HEADER,
    ChunkType,
    Sack,
    decode_forward_tsn,
    decode_i_forward_tsn,
    decode_sack,
    decode_tsn,
    encode_causes,
    encode_chunk,
)
from .config import CongestionControl, SctpConfig
from .congestion import Congestion
from .cookie import Cookie
from .cubic import Cubic
from .errors import ProtocolError
from .events import AssociationClosed, CloseReason
from .extensions import Extensions
from .heartbeat import Heartbeat, decode_heartbeat_ack, encode_heartbeat
from .inbound import Inbound
from .loss_tolerant import LossTolerant
from .mtu import MtuSearch
from .outbound import Outbound
from .packet import HEADER_BYTES, Envelope
from .parameters import Cause, Parameter
from .reset import StreamReset
from .sender import Sender
from .shutdown import Shutdown, ShutdownState
from .stats import AssociationStats

MAX_ANSWERS = 64
"""How many answers wait at most for the end of a read batch."""

_DATA, _I_DATA = int(ChunkType.DATA), int(ChunkType.I_DATA)
_STOP_UNLESS, _REPORT = 0x80, 0x40
_unpack_header = CHUNK_HEADER.unpack_from


class Established:
    """The two halves of an association and what keeps them going. `ended` says when and why it is over."""

    def __init__(  # noqa: PLR0917
        self,
        config: SctpConfig,
        agreement: Cookie,
        outbound: Outbound,
        channels: Channels,
        random: Random,
        now: float,
    ) -> None:
        extensions = Extensions(agreement.extensions)
        outbound.agreed(config, extensions, agreement.remote_window)
        self.incoming = Envelope(
            config.remote_port, config.local_port, agreement.local_tag, zero_checksum=config.zero_checksum
        )
        self.outgoing = Envelope(
            config.local_port,
            config.remote_port,
            agreement.remote_tag,
            zero_checksum=config.zero_checksum and Extensions.ZERO_CHECKSUM in extensions,
        )
        self.sender = Sender(
            outbound, agreement.local_initial_tsn, agreement.remote_window, _congestion(config, random)
        )
        self.inbound = Inbound(agreement.remote_initial_tsn, config, interleaved=outbound.interleaved)
        self.shutdown = Shutdown(config.max_retransmissions)
        self._ours = Extensions.OURS in extensions
        # Probes go to ends that are known to take them: others read 1,500 bytes of a DTLS record (aiortc).
        limit = config.max_packet_bytes & ~3 if self._ours else config.packet_bytes
        self.mtu = MtuSearch(config.packet_bytes, limit, random, now)
        self.ended: AssociationClosed | None = None
        self.malformed = 0
        """Chunks whose length is wrong."""
        self.control: list[bytes] = []
        """Chunks to send before all others, until they are taken."""
        self.takes_cookie: Callable[[bytes, float], bool] = _refuse
        """Whether a COOKIE ECHO, which is for the handshake to judge, lets what follows it in its packet count."""
        self.handlers: dict[int, Callable[[int, bytes, float], None]] = {
            ChunkType.SACK: self._receive_sack,
            ChunkType.HEARTBEAT: self._receive_heartbeat,
            ChunkType.HEARTBEAT_ACK: self._receive_heartbeat_ack,
            ChunkType.ABORT: self._receive_abort,
            ChunkType.ERROR: _ignore,
            ChunkType.SHUTDOWN: self._receive_shutdown,
            ChunkType.SHUTDOWN_ACK: self._receive_shutdown_ack,
            ChunkType.SHUTDOWN_COMPLETE: self._receive_shutdown_complete,
            ChunkType.COOKIE_ACK: _ignore,
            ChunkType.INIT_ACK: _ignore,
            ChunkType.RE_CONFIG: self._receive_reconfiguration,
            ChunkType.FORWARD_TSN: self._receive_forward_tsn,
            ChunkType.I_FORWARD_TSN: self._receive_i_forward_tsn,
        }
        self._max_retransmissions = config.max_retransmissions
        self._channels = channels
        self._resettable = Extensions.RECONFIGURATION in extensions
        self._reset = StreamReset(agreement.local_initial_tsn, agreement.remote_initial_tsn)
        self._heartbeat = Heartbeat(config.heartbeat_interval, random, now)
        self._probes: list[bytes] = []
        self.sender.packet_bytes = self.mtu.size
        self.sender.recovery.safe_size = config.packet_bytes - HEADER_BYTES
        self.sender.recovery.may_abandon = outbound.may_abandon
        if self._ours:
            self.inbound.receipts.expect_ours()
            self.sender.copies_last = True

    # What arrives

    def receive_run(self, packets: Sequence[bytes], index: int, now: float) -> int:
        """Take the packets from `index` on that are foreseen, and return how many: see `Inbound.receive_run`."""
        if self.shutdown.state is not ShutdownState.NONE or self.ended is not None:
            return 0
        if not (self._ours and self.incoming.zero_checksum):
            return 0
        count = self.inbound.receive_run(packets, index, self.incoming.unchecked)
        if count:
            if self.inbound.arrived:
                self._deliver()
            self.inbound.receipts.packets_arrived(count, now)
        return count

    def receive(self, packet: bytes, now: float, offset: int = HEADER_BYTES) -> None:
        """Take the chunks of a packet with the right tag and checksum. Raises `ProtocolError`."""
        end = len(packet)
        inbound, handlers = self.inbound, self.handlers
        has_data = False
        while offset + 4 <= end and self.ended is None:
            kind = packet[offset]
            if kind in (_DATA, _I_DATA):
                begin, has_data = offset, True
                offset = inbound.receive_data(packet, offset, end)
                if offset == begin:
                    raise ProtocolError(Cause.PROTOCOL_VIOLATION, "DATA and I-DATA in one association")
                continue
            _, flags, length = _unpack_header(packet, offset)
            if length < CHUNK_HEADER.size or offset + length > end:
                self.malformed += 1
                break
            handler = handlers.get(kind)
            if handler is not None:
                handler(flags, packet[offset + 4 : offset + length], now)
            elif kind == ChunkType.COOKIE_ECHO:
                if not self.takes_cookie(packet[offset + 4 : offset + length], now):
                    break  # RFC 9260 sections 5.1.5, 5.2.4: discard the packet
            elif not self._skip_unknown(kind, packet[offset : offset + length]):
                break
            offset = (offset + length + 3) & ~3
        if has_data:
            if inbound.arrived:
                self._deliver()
            self._acknowledge(now)

    def batch_ended(self, now: float) -> None:
        """Note that the packets of one read batch have been received."""
        self._heartbeat.heard(now)

    def _acknowledge(self, now: float) -> None:
        inbound = self.inbound
        inbound.receipts.packets_arrived(1, now)
        if inbound.receipts.due and not self._ours:
            # Other stacks count SACKs: to grow their window, and to find what is missing.
            self.control.append(inbound.sack(self._room))
        if self.shutdown.state is ShutdownState.SENT:
            self.shutdown.data_arrived(inbound.receipts.cumulative)

    def _deliver(self) -> None:
        arrived, self.inbound.arrived = self.inbound.arrived, []
        self.inbound.delivered(*self._channels.deliver(arrived))

    def _skip_unknown(self, kind: int, chunk: bytes) -> bool:
        """Return whether to go on after an unknown chunk; its top bits say so (RFC 9260 section 3.2)."""
        if kind & _REPORT:
            cause = Parameter(Cause.UNRECOGNIZED_CHUNK, chunk[:256])
            self._answer(encode_causes(ChunkType.ERROR, [cause]))
        return bool(kind & _STOP_UNLESS)

    def _answer(self, chunk: bytes) -> None:
        """Send a chunk that the remote end has asked for, unless it has asked for too many at once."""
        if len(self.control) < MAX_ANSWERS:
            self.control.append(chunk)

    def _receive_sack(self, _flags: int, value: bytes, now: float) -> None:
        self.sender.receive_sack(decode_sack(value), now)
        if self.sender.recovery.larger_lost:
            self._look_for_a_black_hole(now)

    def _receive_heartbeat(self, _flags: int, value: bytes, _now: float) -> None:
        self._answer(encode_chunk(ChunkType.HEARTBEAT_ACK, value))

    def _receive_heartbeat_ack(self, _flags: int, value: bytes, now: float) -> None:
        beat = decode_heartbeat_ack(value)
        if beat is None:
            return
        if beat.size:
            if self.mtu.answered(beat, now):
                self._packet_size_changed()
        elif (sample := self._heartbeat.answered(beat, now)) is not None:
            self.sender.recovery.round_trip.measured(sample, now)

    def _receive_abort(self, _flags: int, value: bytes, _now: float) -> None:
        self.ended = AssociationClosed(
            CloseReason.REMOTE_ABORT, parameters.describe(parameters.decode(value))
        )

    def _receive_shutdown(self, _flags: int, value: bytes, now: float) -> None:
        self.sender.receive_sack(Sack(decode_tsn(value), self.sender.remote_window, (), ()), now)
        self.shutdown.receive_shutdown(self._timeout, now)

    def _receive_shutdown_ack(self, _flags: int, _value: bytes, _now: float) -> None:
        self.shutdown.receive_shutdown_ack()

    def _receive_shutdown_complete(self, _flags: int, _value: bytes, _now: float) -> None:
        self.shutdown.receive_shutdown_complete()

    def _receive_reconfiguration(self, _flags: int, value: bytes, _now: float) -> None:
        self._deliver()
        reset, channels = self._reset, self._channels
        for stream_id in reset.receive(value, self.inbound.receipts.cumulative, list(channels.by_id)):
            self.inbound.reset(stream_id)
            channels.remote_reset(stream_id)
        wanted, reset.wanted = reset.wanted, []
        for stream_id in wanted:
            if stream_id in channels.by_id:
                channels.close(stream_id)
        confirmed, reset.confirmed = reset.confirmed, []
        for stream_id in confirmed:
            channels.local_reset(stream_id)

    def _receive_forward_tsn(self, _flags: int, value: bytes, _now: float) -> None:
        self.inbound.receive_forward_tsn(decode_forward_tsn(value))
        self._deliver()

    def _receive_i_forward_tsn(self, _flags: int, value: bytes, _now: float) -> None:
        self.inbound.receive_forward_tsn(decode_i_forward_tsn(value))
        self._deliver()

    # What is sent

    def packets(self, now: float) -> list[bytes]:
        """Return the packets to send now."""
        self._go_on(now)
        room = self._room
        packets, self._probes = self._probes, []
        lead = b""
        for chunk in self._control_chunks(now):
            if len(lead) + len(chunk) > room:
                packets.append(self.outgoing.seal(lead))
                lead = b""
            lead += chunk
        return packets + self.sender.packets(self.outgoing, lead, now)

    def _go_on(self, now: float) -> None:
        """Do what waited for something to be acknowledged or consumed."""
        sender, channels = self.sender, self._channels
        if channels.dropped_bytes or channels.dropped_messages:
            self.inbound.consumed(channels.dropped_bytes, channels.dropped_messages)
            channels.dropped_bytes = channels.dropped_messages = 0
        if channels.any_closing:
            channels.flushed(sender.recovery.cumulative, resettable=self._resettable)
        if channels.resets:
            resets, channels.resets = channels.resets, []
            for stream_id in resets:
                self._reset.request(stream_id)
        if self.shutdown.state in (ShutdownState.PENDING, ShutdownState.RECEIVED) and sender.drained:
            self.shutdown.drained(self.inbound.receipts.cumulative, self._timeout, now)

    def _control_chunks(self, now: float) -> list[bytes]:
        receipts, sender = self.inbound.receipts, self.sender
        if self._ours and sender.recovery.round_trip.smoothed is not None:
            receipts.round_trip_measured(sender.recovery.round_trip.smoothed)
        chunks, self.control = self.control, []
        if receipts.due or ((sender.outbound.active or chunks) and receipts.pending):
            # RFC 9260 sections 5.1, 6.1: an acknowledgement travels with data when there is some, and with COOKIE ACK.
            chunks.append(self.inbound.sack(self._room))
        if reconfiguration := self._reset.chunk(sender.recovery.next_tsn - 1, self._timeout, now):
            chunks.append(reconfiguration)
        if self.shutdown.chunks:
            chunks += self.shutdown.chunks
            self.shutdown.chunks = []
        return chunks

    @property
    def _room(self) -> int:
        return self.sender.packet_bytes - HEADER_BYTES

    @property
    def _timeout(self) -> float:
        return self.sender.recovery.round_trip.retransmission_timeout

    def _look_for_a_black_hole(self, now: float) -> None:
        recovery = self.sender.recovery
        if self.mtu.swallowed(recovery.timeouts, recovery.larger_lost, now):
            self._shrink_packets(now)

    def _shrink_packets(self, now: float) -> None:
        self._packet_size_changed()
        self.sender.recovery.divide(self._room, now)

    def _packet_size_changed(self) -> None:
        self.sender.packet_bytes = self.mtu.size
        self.sender.recovery.congestion.packet_size_changed(self.mtu.size)

    def path_changed(self, now: float, *, may_grow: bool) -> None:
        """See `Association.path_selected`."""
        if self.mtu.path_changed(now, may_grow=may_grow):
            self._shrink_packets(now)

    # Time

    def deadline(self) -> float:
        """When `handle_timeout` is due; infinite for never."""
        return min(
            self.sender.deadline(),
            self.inbound.receipts.deadline(),
            self._heartbeat.deadline(),
            self._reset.deadline(),
            self.shutdown.deadline(),
            self.mtu.deadline(),
        )

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        timeout = self._timeout
        self.inbound.receipts.handle_timeout(now)
        self._reset.handle_timeout(now)
        self.shutdown.handle_timeout(timeout, now)
        self.sender.handle_timeout(now)
        self._look_for_a_black_hole(now)
        if beat := self._heartbeat.handle_timeout(timeout, now):
            self.control.append(beat)
        if (probe := self.mtu.handle_timeout(timeout, now)) is not None:
            self._probes.append(self.outgoing.seal(encode_heartbeat(probe)))
        failures = max(self.sender.recovery.timeouts, self._heartbeat.timeouts, self._reset.timeouts)
        if failures > self._max_retransmissions or self.shutdown.failed:
            self.ended = AssociationClosed(CloseReason.UNREACHABLE, "nothing was acknowledged")

    def stats(self) -> AssociationStats:
        """Return the figures of the association, without those that are counted above it."""
        sender, recovery = self.sender, self.sender.recovery
        round_trip = recovery.round_trip
        return AssociationStats(
            packets_retransmitted=recovery.packets_retransmitted,
            packets_lost=recovery.packets_lost,
            chunks_discarded=self.malformed + self.inbound.dropped,
            chunks_repeated=self.inbound.receipts.repeated,
            messages_abandoned=recovery.messages_abandoned + sender.outbound.expired,
            smoothed_round_trip_time=round_trip.smoothed,
            min_round_trip_time=None if round_trip.minimum == inf else round_trip.minimum,
            congestion_window=recovery.congestion.window,
            bytes_in_flight=recovery.in_flight,
            pacing_rate=recovery.congestion.pacing_rate,
            receive_window=sender.remote_window,
            mtu=self.mtu.size,
            buffered_amount=sender.outbound.buffered,
        )


def _ignore(_flags: int, _value: bytes, _now: float) -> None:
    """Take a chunk that says nothing new, or too late."""


def _refuse(_value: bytes, _now: float) -> bool:
    """Take no cookie."""
    return False


def _congestion(config: SctpConfig, random: Random) -> Congestion:
    match config.congestion_control:
        case CongestionControl.CUBIC:
            return Cubic(config.packet_bytes)
        case CongestionControl.LOSS_TOLERANT:
            return LossTolerant(config.packet_bytes, random)
