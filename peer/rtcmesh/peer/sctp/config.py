"""How an association is set up."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

SAFE_PACKET_BYTES = 1188
"""An SCTP packet of this size fits, with DTLS, TURN, UDP and IPv6 around it, into 1,280 bytes (RFC 8261 section 5)."""

MIN_PACKET_BYTES = 512
MAX_PACKET_BYTES = 16_384
"""What one DTLS record carries."""


class Role(Enum):
    """Which side of the DTLS handshake below this end was (RFC 8832 section 6): it decides who takes which ids."""

    CLIENT = 0
    """Opens channels with even ids."""
    SERVER = 1
    """Opens channels with odd ids."""


class CongestionControl(Enum):
    """Who decides how much may be on its way."""

    CUBIC = "cubic"
    """RFC 9438 with HyStart++ (RFC 9406): takes every loss for congestion, and fills every buffer."""
    LOSS_TOLERANT = "loss_tolerant"
    """Keeps the queue short and its rate on paths that lose packets without being full; beside CUBIC it is CUBIC."""


@dataclass(frozen=True, kw_only=True)
class SctpConfig:
    """The settings of one association."""

    role: Role
    """The side of the DTLS handshake that this end had."""
    local_port: int = 5000
    """The SCTP port of this end; part of the session description (RFC 8841)."""
    remote_port: int = 5000
    """The SCTP port of the other end."""
    congestion_control: CongestionControl = CongestionControl.LOSS_TOLERANT
    """The congestion control of what this end sends."""
    packet_bytes: int = SAFE_PACKET_BYTES
    """The largest packet to start with, without what is around it. Every path must carry it."""
    max_packet_bytes: int = SAFE_PACKET_BYTES
    """How far path MTU discovery (RFC 8899) may raise it, towards an end of this package. Not above `packet_bytes`: no
    discovery."""
    receive_window_bytes: int = 4 * 1024 * 1024
    """How much the remote end may send that the application has not consumed, what is not complete included: two of the
    largest messages at least."""
    max_message_bytes: int = 256 * 1024
    """The largest message that this end takes; announced in the session description."""
    max_buffered_bytes: int = 16 * 1024 * 1024
    """How much may wait on all channels together to be sent; every message on its channel counts as 128 bytes more."""
    max_streams: int = 65_535
    """How many streams to ask for and to accept, in each direction."""
    zero_checksum: bool = False
    """Whether what is below detects errors, as DTLS does: then packets need no checksum of their own (RFC 9653)."""
    interleaving: bool = True
    """Whether to offer user message interleaving (RFC 8260)."""
    heartbeat_interval: float = 30.0
    """How long a path may be silent before it is probed, in seconds; 0 never probes."""
    max_retransmissions: int = 10
    """How many timeouts in a row end the association."""
    max_handshake_retransmissions: int = 8
    """How many timeouts in a row end the handshake."""
    cookie_lifetime: float = 60.0
    """How long a state cookie is valid, in seconds."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if not MIN_PACKET_BYTES <= self.packet_bytes <= MAX_PACKET_BYTES:
            raise ValueError(
                f"packet_bytes is {self.packet_bytes}, not in {MIN_PACKET_BYTES}..{MAX_PACKET_BYTES}"
            )
        if self.max_packet_bytes > MAX_PACKET_BYTES:
            raise ValueError(f"max_packet_bytes is {self.max_packet_bytes}, above {MAX_PACKET_BYTES}")
        if not 0 < self.local_port < 65_536 or not 0 < self.remote_port < 65_536:
            raise ValueError("a port is not in 1..65535")
        if not 0 < self.max_streams <= 65_535:
            raise ValueError(f"max_streams is {self.max_streams}, not in 1..65535")
        if self.receive_window_bytes < 2 * MAX_PACKET_BYTES or self.max_message_bytes <= 0:
            raise ValueError("receive_window_bytes or max_message_bytes is too small")
        if self.receive_window_bytes < 2 * self.max_message_bytes:
            raise ValueError("receive_window_bytes has no room for two messages of max_message_bytes")
