"""Configuration of a mesh. The defaults are the recommendation."""

from __future__ import annotations

from dataclasses import dataclass, field

from rtcmesh.signaling.config import ClientConfig

MIN_WINDOW_BYTES = 128 * 1024
"""Every window takes two of the largest messages of any peer, so that none waits for ever."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MeshConfig:
    """How a mesh behaves. Durations are seconds, sizes are bytes."""

    channel_window_bytes: int = 256 * 1024
    """How much one peer may have under way or unread on one channel of another. Full: `send` waits."""

    max_message_bytes: int = 63 * 1024
    """The largest encoded message. One data channel message of 64 KiB carries it with its framing."""

    connect_timeout: float = 10.0
    """How long one attempt may take from the description until its transport opens."""

    redial_delay: float = 0.25
    """Upper bound of the first random pause before another attempt; doubles with each failure in a row."""

    max_redial_delay: float = 15.0
    """Where the doubling ends."""

    max_concurrent_dials: int = 20
    """How many attempts may gather and connect at once; connecting is what costs the processor most."""

    ping_interval: float = 0.5
    """How often an open path is probed."""

    path_timeout: float = 4.0
    """A path on which nothing was heard for so long is given up and dialled again."""

    rejoin_grace: float = 30.0
    """How long a peer without a path may be missing from a restarted server before it counts as gone."""

    close_timeout: float = 5.0
    """How long `aclose` may take to deliver what was sent and to say goodbye."""

    max_queued_events: int = 1024
    """How many events wait for one reader of `Mesh.events()`; beyond that the oldest are dropped and counted."""

    signaling: ClientConfig = field(default_factory=ClientConfig)
    """The link to the signaling server."""

    def __post_init__(self) -> None:
        if not 1 <= self.max_message_bytes <= 63 * 1024:
            raise ValueError(
                "max_message_bytes must be 1 to 64,512: one data channel message carries one message"
            )
        if self.channel_window_bytes < MIN_WINDOW_BYTES:
            raise ValueError(f"channel_window_bytes must be at least {MIN_WINDOW_BYTES:,}")
        if self.path_timeout < 2 * self.ping_interval:
            raise ValueError(
                "path_timeout must be at least two ping intervals, or one lost probe ends a path"
            )
        for name in ("connect_timeout", "redial_delay", "max_redial_delay", "ping_interval", "close_timeout"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive")
        if min(self.rejoin_grace, self.max_concurrent_dials - 1, self.max_queued_events - 1) < 0:
            raise ValueError(
                "rejoin_grace must not be negative; max_concurrent_dials and max_queued_events at least 1"
            )
