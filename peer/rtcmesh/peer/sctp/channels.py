"""Data channels over pairs of streams (RFC 8831 section 6, RFC 8832).

CONNECTING ── DATA_CHANNEL_ACK ──▶ OPEN ── close, or the remote end resets its stream ──▶ CLOSING
                                                                                             │
closed when both streams are reset  ◀── our stream is reset once what was sent has arrived ──┘
"""

from __future__ import annotations

from enum import Enum

from . import dcep
from .config import Role
from .data_chunks import U
from .dcep import Open, PayloadProtocol
from .errors import ChannelIdTaken, ChannelNotOpen, NoChannelIdLeft, ProtocolError
from .events import ChannelClosed, ChannelOpened, Event, MessagesReceived
from .out_stream import Delivery, OutStream
from .outbound import Outbound
from .reassembly import CHUNK_OVERHEAD_BYTES, Messages
from .sent import Limit
from .stats import ChannelStats

MAX_EARLY_BYTES = 64 * 1024
"""What may arrive on channels that this end has not opened yet."""

_BINARY, _BINARY_EMPTY = int(PayloadProtocol.BINARY), int(PayloadProtocol.BINARY_EMPTY)
_STRING, _STRING_EMPTY = int(PayloadProtocol.STRING), int(PayloadProtocol.STRING_EMPTY)
_NOT_EMPTY = frozenset({_BINARY, _STRING})
_EMPTY = frozenset({_BINARY_EMPTY, _STRING_EMPTY})
_TEXTS = frozenset({_STRING, _STRING_EMPTY})
_DCEP = Delivery(0, int(PayloadProtocol.DCEP), None)
_OF_USERS = _EMPTY | _NOT_EMPTY


class ChannelState(Enum):
    """How far a channel is."""

    CONNECTING = "connecting"
    OPEN = "open"
    CLOSING = "closing"


class Channel:
    """One data channel."""

    __slots__ = (
        "_bytes_before",
        "_bytes_of_none",
        "_flags",
        "_messages_before",
        "_messages_of_dcep",
        "_reliable",
        "binary",
        "bytes_received",
        "id",
        "local_reset",
        "messages_received",
        "negotiated",
        "opening",
        "remote_reset",
        "reset_requested",
        "state",
        "stream",
        "takes_messages",
    )

    def __init__(self, channel_id: int, opening: Open, *, negotiated: bool) -> None:
        self.id = channel_id
        self.opening = opening
        self.negotiated = negotiated
        self.state = ChannelState.CONNECTING
        self.takes_messages = True
        self.stream = OutStream(channel_id, opening.priority)
        self._flags = 0
        """U once messages may overtake one another: not before the other end knows the channel (RFC 8832 section 6)."""
        self.binary: Delivery | None = None
        """How binary messages travel; None where each message has a limit of its own."""
        self._reliable: dict[int, Delivery] = {}
        """How all messages travel, by payload protocol; none where each has a limit of its own."""
        self._set_flags(0)
        self.local_reset = self.remote_reset = self.reset_requested = False
        self._messages_before = self._bytes_before = 0
        """What was sent on streams before this one."""
        self._messages_of_dcep = self._bytes_of_none = 0
        """What of all that are no messages of the user, or no bytes of them."""
        self.messages_received = self.bytes_received = 0

    def opened(self, *, remote: bool) -> ChannelOpened:
        """Change to OPEN, and return the event that says so."""
        self.state = ChannelState.OPEN
        self._set_flags(0 if self.opening.ordered else U)
        label, protocol, ordered, max_retransmits, max_lifetime, priority = self.opening
        return ChannelOpened(
            self.id, label, protocol, ordered, max_retransmits, max_lifetime, priority, remote
        )

    def prepare(
        self, data: bytes | bytearray | memoryview | str, now: float | None
    ) -> tuple[Delivery, bytes]:
        """Return how a message travels that is sent now, and as which bytes."""
        ppid, empty = _BINARY, _BINARY_EMPTY
        if isinstance(data, str):
            data, ppid, empty = data.encode(), _STRING, _STRING_EMPTY
        if not data:
            data, ppid = b"\0", empty  # RFC 8831 section 6.6: there is no user message of no bytes
        delivery = self._reliable.get(ppid)
        if delivery is None:
            opening = self.opening
            limit = Limit.of(opening.max_retransmits, opening.max_lifetime, now)
            delivery = Delivery(self._flags, ppid, limit)
        return delivery, bytes(data)

    def sent_one_byte(self, delivery: Delivery) -> None:
        """Note that a single byte was sent, which may stand for none."""
        if delivery.ppid in _EMPTY:
            self._bytes_of_none += 1

    def _set_flags(self, flags: int) -> None:
        self._flags = flags
        if self.opening.max_retransmits is None and self.opening.max_lifetime is None:
            self._reliable = {ppid: Delivery(flags, ppid, None) for ppid in _OF_USERS}
            self.binary = self._reliable[_BINARY]

    def say(self, outbound: Outbound, message: bytes) -> None:
        """Send a message of DCEP."""
        outbound.add(self.stream, _DCEP, message)
        self._messages_of_dcep += 1
        self._bytes_of_none += len(message)

    def begin_anew(self) -> None:
        """Go on with another stream, as the remote end knows nothing of this one; what waited is forgotten."""
        before, self.stream = self.stream, OutStream(self.id, self.opening.priority)
        self.stream.low_water, self.stream.high_water = before.low_water, before.high_water
        self._messages_before += before.added
        self._bytes_before += before.taken_bytes + before.buffered

    def stats(self) -> ChannelStats:
        """Return its figures."""
        return ChannelStats(
            self.id,
            self.opening.label,
            self.opening.protocol,
            self._messages_before + self.stream.added - self._messages_of_dcep,
            self._bytes_before + self.stream.taken_bytes + self.stream.buffered - self._bytes_of_none,
            self.messages_received,
            self.bytes_received,
            self.stream.buffered,
        )


class Channels:
    """All channels of an association, open or on their way there or out."""

    def __init__(self, role: Role, outbound: Outbound, max_streams: int) -> None:
        self.events: list[Event] = []
        self.resets: list[int] = []
        """Streams to be reset, until they are taken."""
        self.dropped_bytes = 0
        """What has to be given back to the window, as no application will consume it; until it is taken."""
        self.dropped_messages = 0
        self._role = role
        self._outbound = outbound
        self._max_streams = max_streams
        self.by_id: dict[int, Channel] = {}
        self._closing: dict[int, Channel] = {}
        self._next_id = role.value
        self._connected = False
        self._early: list[Messages] = []
        self._early_bytes = 0
        self._takes_messages = True

    def __getitem__(self, channel_id: int) -> Channel:
        """Return a channel. Raises `ChannelNotOpen`."""
        channel = self.by_id.get(channel_id)
        if channel is None:
            raise ChannelNotOpen(channel_id)
        return channel

    # Opening

    def open(self, opening: Open, negotiated_id: int | None) -> int:
        """Open a channel. Raises `ChannelIdTaken`, `NoChannelIdLeft`."""
        if negotiated_id is None:
            channel_id = self._free_id()
        elif 0 <= negotiated_id < self._max_streams and negotiated_id not in self.by_id:
            channel_id = negotiated_id
        else:
            raise ChannelIdTaken(negotiated_id)
        channel = self.by_id[channel_id] = Channel(channel_id, opening, negotiated=negotiated_id is not None)
        if not channel.negotiated:
            channel.say(self._outbound, dcep.encode_open(opening))
        elif self._connected:
            self._negotiated_opened(channel)
        return channel_id

    def connected(self, max_streams: int) -> None:
        """Note that the association is established: negotiated channels are open. `max_streams` is the other end's."""
        self._connected = True
        self._max_streams = min(self._max_streams, max_streams)
        for channel in list(self.by_id.values()):
            if channel.negotiated and channel.state is ChannelState.CONNECTING:
                self._negotiated_opened(channel)

    def restarted(self) -> None:
        """Forget what the other end has forgotten."""
        for channel in list(self.by_id.values()):
            self._outbound.drop(channel.stream)
            if channel.negotiated and channel.state is not ChannelState.CLOSING:
                if channel.stream.blocked:
                    self._outbound.writable.append(channel.id)
                channel.begin_anew()
            else:
                self._forget(channel)

    def _negotiated_opened(self, channel: Channel) -> None:
        self.events.append(channel.opened(remote=False))
        early, self._early = self._early, []
        self._early_bytes = 0
        self.deliver(early)

    def _free_id(self) -> int:
        """Return the least unused id of this role, from the last one onwards (RFC 8832 section 6)."""
        parity = self._role.value
        count = (self._max_streams - parity + 1) // 2
        for _ in range(count):
            channel_id = self._next_id
            self._next_id = channel_id + 2 if channel_id + 2 < self._max_streams else parity
            if channel_id not in self.by_id:
                return channel_id
        raise NoChannelIdLeft

    # What arrives

    def deliver(self, arrived: list[Messages]) -> tuple[int, int]:
        """Turn messages into events. Returns how large they are together, and how many."""
        total = count = 0
        for stream_id, ppid, messages in arrived:
            size = sum(map(len, messages))
            total += size
            count += len(messages)
            channel = self.by_id.get(stream_id)
            if ppid in _NOT_EMPTY and channel is not None and channel.state is ChannelState.OPEN:
                self._report(channel, messages, size, text=ppid == _STRING)
            else:
                for data in messages:
                    self._take(stream_id, ppid, data)
        return total, count

    def _take(self, stream_id: int, ppid: int, data: bytes) -> None:
        """Take one message, whatever it is."""
        channel = self.by_id.get(stream_id)
        if ppid not in _OF_USERS:
            self._drop(data)
            if ppid == PayloadProtocol.DCEP:
                self._receive_dcep(stream_id, data)
            return
        if channel is None:
            self._keep_early(stream_id, ppid, data)
            return
        if channel.state is ChannelState.CONNECTING:
            # A message of the other end says as much as its ACK, which may come later.
            self.events.append(channel.opened(remote=False))
        if ppid in _EMPTY:
            self._drop(data, messages=0)
            data = b""
        self._report(channel, [data], len(data), text=ppid in _TEXTS)

    def _report(self, channel: Channel, messages: list[bytes], size: int, *, text: bool) -> None:
        """Report messages of one kind, together with those just before them."""
        channel.messages_received += len(messages)
        channel.bytes_received += size
        last = self.events[-1] if self.events else None
        if isinstance(last, MessagesReceived) and last.channel_id == channel.id and last.text == text:
            last.messages += messages
        else:
            self.events.append(MessagesReceived(channel.id, messages, text))

    def _receive_dcep(self, stream_id: int, data: bytes) -> None:
        try:
            opening = dcep.decode(data)
        except ProtocolError:
            # RFC 8832 section 6: the channel is closed, the association goes on.
            self._refuse(stream_id)
            return
        channel = self.by_id.get(stream_id)
        if opening is None:
            if channel is not None and channel.state is ChannelState.CONNECTING:
                self.events.append(channel.opened(remote=False))
        elif channel is not None or stream_id >= self._max_streams:
            self._refuse(stream_id)
        else:
            channel = self.by_id[stream_id] = Channel(stream_id, opening, negotiated=False)
            channel.takes_messages = self._takes_messages
            channel.say(self._outbound, dcep.ACK)
            self.events.append(channel.opened(remote=True))

    def _refuse(self, stream_id: int) -> None:
        channel = self.by_id.get(stream_id)
        if channel is None:
            self.resets.append(stream_id)
        else:
            self.close(stream_id)

    def _keep_early(self, stream_id: int, ppid: int, data: bytes) -> None:
        """Keep what arrives on a channel that this end may yet open under a negotiated id."""
        size = len(data) + CHUNK_OVERHEAD_BYTES
        if self._early_bytes + size <= MAX_EARLY_BYTES:
            self._early.append((stream_id, ppid, [data]))
            self._early_bytes += size
        else:
            self._drop(data)

    def _drop(self, data: bytes, messages: int = 1) -> None:
        self.dropped_bytes += len(data)
        self.dropped_messages += messages

    # Closing

    def close(self, channel_id: int) -> None:
        """Begin to close a channel. Raises `ChannelNotOpen`."""
        channel = self[channel_id]
        channel.takes_messages = False
        channel.state = ChannelState.CLOSING
        self._closing[channel_id] = channel

    def end(self) -> None:
        """Take no more messages, as the association ends."""
        self._takes_messages = False
        for channel in self.by_id.values():
            channel.takes_messages = False

    def remote_reset(self, stream_id: int) -> None:
        """Note that the remote end has reset its stream: it closes the channel, or confirms that we do."""
        channel = self.by_id.get(stream_id)
        if channel is not None:
            channel.remote_reset = True
            if channel.state is not ChannelState.CLOSING:
                self.close(stream_id)
            self._finish(channel)

    def local_reset(self, stream_id: int) -> None:
        """Note that the remote end has confirmed the reset of our stream."""
        channel = self.by_id.get(stream_id)
        if channel is not None and channel.reset_requested:
            channel.local_reset = True
            self._finish(channel)

    def flushed(self, cumulative: int, *, resettable: bool) -> None:
        """Let those closing channels go on whose last message has arrived at the remote end."""
        for channel in list(self._closing.values()):
            stream = channel.stream
            if not channel.reset_requested and not stream.queue and stream.last_tsn <= cumulative:
                channel.reset_requested = True
                if resettable:
                    self.resets.append(channel.id)
                else:
                    self._forget(channel)

    @property
    def any_closing(self) -> bool:
        """Whether `flushed` has something to do."""
        return bool(self._closing)

    def _finish(self, channel: Channel) -> None:
        if channel.local_reset and channel.remote_reset:
            self._forget(channel)

    def _forget(self, channel: Channel) -> None:
        del self.by_id[channel.id]
        self._closing.pop(channel.id, None)
        self.events.append(ChannelClosed(channel.id))
