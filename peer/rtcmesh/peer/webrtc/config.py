"""Configuration of WebRTC connections. The defaults are the recommendation."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from enum import Enum

from rtcmesh.peer.sctp import CongestionControl

from .certificate import Certificate


class IceTransportPolicy(Enum):
    """Which local candidates are used (W3C webrtc-pc section 4.2.3)."""

    ALL = "all"
    """All that are found."""
    RELAY = "relay"
    """Only those of TURN servers: the remote peer never learns a local address."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WebRtcConfig:
    """How connections are made. Durations are seconds, sizes are bytes."""

    ice_transport_policy: IceTransportPolicy = IceTransportPolicy.ALL
    """Which local candidates are used."""

    use_ipv4: bool = True
    """Whether local IPv4 addresses are candidates."""

    use_ipv6: bool = True
    """Whether local IPv6 addresses are candidates."""

    resolve_mdns: bool = False
    """Whether `.local` candidates of browsers are looked up by multicast. A browser that hides its address is mostly
    reached without: it sends the first check, and shows where it is by that."""

    gathering_timeout: float = 5.0
    """How long servers are asked for candidates. Nobody waits for it: what is found is signaled at once."""

    complete_within: float = 1.0
    """How long a description waits for the servers where the other end does not take candidates one by one."""

    turn_tls: ssl.SSLContext | None = None
    """What `turns:` servers are checked with; None for the system's authorities. A self-signed server needs its own."""

    certificate: Certificate | None = None
    """The certificate to present; None for the one that all connections of the process share."""

    congestion_control: CongestionControl = CongestionControl.LOSS_TOLERANT
    """What decides how much may be on its way."""

    max_packet_bytes: int = 15_000
    """How far path MTU discovery (RFC 8899) may raise the size of SCTP packets; 1,188: none.

    It is done towards ends of this library, on paths without a TURN server. What one DTLS record holds, 16 KiB, is the
    limit of all; 15,000 lets four packets leave with one system call."""

    receive_window_bytes: int = 4 * 1024 * 1024
    """How much the remote end may send that the application has not taken: two of the largest messages at least."""

    max_message_bytes: int = 256 * 1024
    """The largest message that is taken in one piece."""

    close_timeout: float = 2.0
    """How long closing may take to deliver what was sent, while the other end does not answer."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if min(self.gathering_timeout, self.complete_within, self.close_timeout) <= 0:
            raise ValueError("gathering_timeout, complete_within and close_timeout must be positive")
        if not (self.use_ipv4 or self.use_ipv6):
            raise ValueError("one of use_ipv4 and use_ipv6 must be True")
        if self.receive_window_bytes < 2 * self.max_message_bytes:
            raise ValueError("receive_window_bytes has no room for two messages of max_message_bytes")
