"""The association: its face."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from .config import SctpConfig
from .events import Event
from .stats import AssociationStats, ChannelStats


class Association:
    """One SCTP association for data channels: a machine without I/O, clock or randomness of its own.

    Reliable messages arrive once, and in order on ordered channels, or `AssociationClosed` says why not. The shell puts
    in one input, then takes `events()` and `packets_to_send(now)`, and calls `handle_timeout(now)` at `deadline()`.
    No bytes from the network raise; misuse by the caller raises a `SctpError`.
    """

    remote_max_message_bytes: int
    """What the session description of the remote end says (RFC 8841); 64 KiB until it is set; 0: any size."""

    def __init__(self, config: SctpConfig, random: Random) -> None: ...

    def connect(self, now: float) -> None:
        """Start the handshake. Either end may, or both; an end that does not call it answers."""

    def receive_packets(self, packets: Sequence[bytes], now: float) -> None:
        """Take the packets of one read batch. At most 64 at a time, or the two ends take turns."""

    def packets_to_send(self, now: float) -> list[bytes]:
        """Return what is to be sent now, in order, each packet at most `stats().mtu` bytes, except MTU probes.

        Call it once after every batch of inputs, not after each `send`: what is queued by then shares packets.
        Packets of bulk data are of equal size, except the last of a run.
        """

    def events(self) -> list[Event]:
        """Return what happened since the last call."""

    def deadline(self) -> float | None:
        """When `handle_timeout` is due; None while nothing is pending. Changes with every input."""

    def handle_timeout(self, now: float) -> None:
        """Do what is due. Harmless when nothing is."""

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

    def close_channel(self, channel_id: int, now: float) -> None:
        """Close a channel: what was sent before is still delivered, then both directions end (RFC 8831 section 6.7)."""

    def send(self, channel_id: int, data: bytes | bytearray | memoryview | str, now: float) -> bool:
        """Queue a message; a str is a text message. Returns whether the channel is below its high-water mark.

        When it returns False, `ChannelWritable` follows. Raises `ChannelNotOpen`, `MessageTooLarge`, `BufferFull`,
        `NotEstablished`.
        """

    def set_water_marks(self, channel_id: int, *, low_bytes: int, high_bytes: int) -> None:
        """Say when `send` returns False, and when `ChannelWritable` follows. Default: 16 and 64 KiB."""

    def buffered_amount(self, channel_id: int) -> int:
        """Bytes of messages that wait to be sent for the first time."""

    def consumed(self, size_bytes: int, messages: int = 1) -> None:
        """Say that the application has taken so many messages of so many bytes together: the window opens again."""

    def shutdown(self, now: float) -> None:
        """End in order: what was sent is delivered first, then `AssociationClosed(SHUTDOWN)` follows at both ends."""

    def abort(self, reason: str = "") -> None:
        """End at once and tell the remote end; `packets_to_send` returns the ABORT."""

    def stats(self) -> AssociationStats:
        """Return the figures of the association."""

    def channel_stats(self, channel_id: int) -> ChannelStats:
        """Return the figures of a channel. Raises `ChannelNotOpen`."""
