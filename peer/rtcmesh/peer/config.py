"""Configuration of a mesh. The defaults are the recommendation."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from rtcmesh.relay.config import RelayClientConfig
from rtcmesh.signaling.config import ClientConfig

from .session.frames import MAX_MESSAGE_BYTES, MIN_CHANNEL_WINDOW_BYTES


class PathPolicy(Enum):
    """Which paths a mesh uses."""

    AUTO = "auto"
    """The relay from the first byte, and a direct path as soon as there is one."""
    DIRECT_ONLY = "direct_only"
    """Never the relay: no third party sees who talks to whom, and peers that cannot be reached directly wait."""
    RELAY_ONLY = "relay_only"
    """Never a direct path: no peer learns another one's address."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MeshConfig:
    """How a mesh behaves. Durations are seconds, sizes are bytes."""

    channel_window_bytes: int = 512 * 1024
    """How much one peer may have under way or unread on one channel of another. Full: `send` waits."""

    max_message_bytes: int = MAX_MESSAGE_BYTES
    """The largest encoded message that is sent. Peers take up to 16 MiB from one another."""

    path_policy: PathPolicy = PathPolicy.AUTO
    """Which paths are used."""

    connect_timeout: float = 10.0
    """How long one attempt may take from the description until its transport opens."""

    redial_delay: float = 0.25
    """Upper bound of the first random pause before another attempt; doubles with each failure in a row."""

    max_redial_delay: float = 60.0
    """Where the doubling ends. A change of the network, and the return of signaling, start it over."""

    max_concurrent_dials: int = 20
    """How many attempts may gather and connect at once; connecting is what costs the processor most."""

    ping_interval: float = 0.5
    """How often the path in use is probed: every tenth time once it has carried nothing for 2 s, and every fourth time
    after 10 s if it is a relay."""

    standby_ping_interval: float = 30.0
    """How often the relay is probed while a direct path carries; at once when that is in doubt. The connection to the
    relay has a heartbeat of its own."""

    path_timeout: float = 4.0
    """A path on which nothing was heard for so long after a ping is given up and dialled again. Doubt comes long
    before."""

    session_timeout: float = 120.0
    """How long messages wait for a peer that no path leads to. Then they are given back: by `SessionExpired`, or by
    `PeerLeft` if the signaling server has lost the peer as well."""

    outbox_max_bytes: int = 64 * 1024 * 1024
    """What one outbox holds: payloads, and 512 bytes for each message and receiver. Full: `send` waits or raises."""

    outbox_max_age: float = 7 * 86_400.0
    """A message that waits in an outbox for longer is dropped, and `OutboxExpired` says so."""

    network_poll_interval: float = 2.0
    """How often the machine's addresses are looked at; when they change, every path is probed at once."""

    rejoin_grace: float = 30.0
    """How long a peer without a path may be missing from a restarted server before it counts as gone."""

    close_timeout: float = 5.0
    """How long `aclose` may take to deliver what was sent and to say goodbye."""

    max_queued_events: int = 1024
    """How many events wait for one reader of `Mesh.events()`; beyond that the oldest are dropped and counted."""

    signaling: ClientConfig = field(default_factory=ClientConfig)
    """The link to the signaling server."""

    relay: RelayClientConfig = field(default_factory=RelayClientConfig)
    """The links to relays."""

    def __post_init__(self) -> None:
        if not 1 <= self.max_message_bytes <= MAX_MESSAGE_BYTES:
            raise ValueError(
                f"max_message_bytes must be 1 to {MAX_MESSAGE_BYTES:,}: peers take no larger ones"
            )
        if self.channel_window_bytes < MIN_CHANNEL_WINDOW_BYTES:
            raise ValueError(f"channel_window_bytes must be at least {MIN_CHANNEL_WINDOW_BYTES:,}")
        if self.path_timeout < 2 * self.ping_interval:
            raise ValueError(
                "path_timeout must be at least two ping intervals, or one lost probe ends a path"
            )
        for name in _POSITIVE:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive")
        if min(self.rejoin_grace, self.max_concurrent_dials - 1, self.max_queued_events - 1) < 0:
            raise ValueError(
                "rejoin_grace must not be negative; max_concurrent_dials and max_queued_events at least 1"
            )


_POSITIVE = (
    "connect_timeout",
    "redial_delay",
    "max_redial_delay",
    "ping_interval",
    "standby_ping_interval",
    "session_timeout",
    "outbox_max_bytes",
    "outbox_max_age",
    "network_poll_interval",
    "close_timeout",
)
