"""What an association reports, in the order in which it happened."""

from __future__ import annotations

from enum import Enum
from typing import TypeAlias

import msgspec


class CloseReason(Enum):
    """Why an association is over."""

    SHUTDOWN = "shutdown"
    """Orderly, from either side: everything that was sent before has arrived."""
    LOCAL_ABORT = "local_abort"
    """`Association.abort` was called."""
    REMOTE_ABORT = "remote_abort"
    """The remote end aborted; `AssociationClosed.detail` carries its causes."""
    PROTOCOL_ERROR = "protocol_error"
    """The remote end broke the protocol, and was told so."""
    UNREACHABLE = "unreachable"
    """Nothing was acknowledged for too many retransmissions."""
    HANDSHAKE_TIMEOUT = "handshake_timeout"
    """The remote end never answered the handshake."""


class AssociationAnswered(msgspec.Struct, frozen=True, gc=False):
    """The remote end has answered the handshake: what is sent before `packets_to_send` leaves with the next packet.

    That is a round trip before `AssociationConnected`, and no less reliable. Reported once at most, before that event:
    not at an end that did not ask, nor where the remote end was quicker.
    """


class AssociationConnected(msgspec.Struct, frozen=True, gc=False):
    """The handshake is complete. Reported once, before anything that arrives on a channel."""


class AssociationRestarted(msgspec.Struct, frozen=True, gc=False):
    """The remote end lost its state and began anew (RFC 9260 section 5.2): what was under way is lost.

    Every channel that is not negotiated was reported as closed before this; negotiated channels start over.
    """


class AssociationClosed(msgspec.Struct, frozen=True, gc=False):
    """The association is over. Nothing follows; every channel counts as closed."""

    reason: CloseReason
    detail: str = ""


class ChannelOpened(msgspec.Struct, frozen=True, gc=False):
    """A data channel can be used at both ends: the remote end opened it, or confirmed ours.

    One that was negotiated out of band is reported when the association connects.
    """

    channel_id: int
    label: str
    protocol: str
    ordered: bool
    max_retransmits: int | None
    max_lifetime: float | None
    priority: int
    remote: bool
    """Whether the remote end opened it."""


class ChannelClosed(msgspec.Struct, frozen=True, gc=False):
    """A data channel is closed in both directions, from whichever side. Its id may be used again."""

    channel_id: int


class ChannelWritable(msgspec.Struct, frozen=True, gc=False):
    """`buffered_amount` fell to the low-water mark after `send` had reached the high-water mark."""

    channel_id: int


class MessagesReceived(msgspec.Struct, gc=False):
    """Whole messages, at least one. They fill the receive window until they are reported to `Association.consumed`."""

    channel_id: int
    messages: list[bytes]
    """Those that arrived one after another: on an ordered channel in the order in which they were sent.

    A text is UTF-8; whether it is valid is not checked."""
    text: bool


Event: TypeAlias = (
    AssociationAnswered
    | AssociationConnected
    | AssociationRestarted
    | AssociationClosed
    | ChannelOpened
    | ChannelClosed
    | ChannelWritable
    | MessagesReceived
)
