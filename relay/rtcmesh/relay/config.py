"""What can be configured, with the recommended values as defaults."""

from dataclasses import dataclass, field

from rtcmesh.signaling.config import DoorLimits

from .frames import MAX_FRAME_BYTES
from .switch import SwitchLimits

MAX_SOCKET_FRAME_BYTES = 4 * MAX_FRAME_BYTES
"""A frame beyond the limit is answered up to this size; a longer one ends the connection unread."""

MIN_HEARTBEAT, MAX_HEARTBEAT = 1.0, 60.0
"""The range of what an end may ask of the other one."""

MIN_BYTES_PER_SECOND = 4096
"""The least that a connection may be limited to, so that no pause is longer than a few seconds."""


@dataclass(frozen=True, kw_only=True)
class RelayConfig:
    """The relay itself, whatever network it is served on."""

    limits: SwitchLimits = field(default_factory=SwitchLimits)
    """What may wait in queues."""
    heartbeat: float = 10.0
    """Either end says something at least this often, in seconds; after two of them in silence it counts as lost."""
    join_timeout: float = 10.0
    """Seconds from the connection to a join."""
    close_timeout: float = 2.0
    """Seconds for the last frames and the closing handshake of one connection; then it is aborted."""
    stall_timeout: float = 90.0
    """Seconds after which a connection that takes nothing of what waits for it is cut off; more than 60."""
    bytes_per_second: int = 0
    """What is read from one connection in the long run if its ticket does not say; 0: as much as comes."""
    burst_bytes: int = 262_144
    """What a limited connection may send at once after it was quiet."""
    max_connections: int = 10_000
    """Connections at once, joined or not; more are closed with `relay_full`."""
    drain_spread: float = 2.0
    """A stopping relay tells each peer to come back within this many seconds, spread evenly."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not MIN_HEARTBEAT <= self.heartbeat <= MAX_HEARTBEAT:
            raise ValueError(f"heartbeat must be between {MIN_HEARTBEAT} and {MAX_HEARTBEAT}")
        if min(self.join_timeout, self.close_timeout) <= 0:
            raise ValueError("join_timeout and close_timeout must be positive")
        if self.stall_timeout <= 60:
            raise ValueError("stall_timeout must be more than 60")
        if self.bytes_per_second and self.bytes_per_second < MIN_BYTES_PER_SECOND:
            raise ValueError(f"bytes_per_second must be 0 or at least {MIN_BYTES_PER_SECOND}")
        if self.burst_bytes < MAX_FRAME_BYTES or self.max_connections < 1 or self.drain_spread < 0:
            raise ValueError(
                "burst_bytes must hold a frame, max_connections be positive, drain_spread not negative"
            )


@dataclass(frozen=True, kw_only=True)
class RelayServerConfig:
    """The relay alone on an aiohttp server."""

    host: str = "127.0.0.1"
    """The address to listen on."""
    port: int = 8081
    """The port to listen on; 0 lets the system choose one."""
    allowed_origins: tuple[str, ...] = ()
    """Origins that web pages may connect from besides the server's own; `*` allows all."""
    door: DoorLimits = field(default_factory=DoorLimits)
    """The limits of TCP connections."""
    relay: RelayConfig = field(default_factory=RelayConfig)
    """The relay that is served."""

    def __post_init__(self) -> None:
        """Check the range of the port."""
        if not 0 <= self.port <= 65_535:
            raise ValueError("port must be between 0 and 65535")


@dataclass(frozen=True, kw_only=True)
class RelayClientConfig:
    """The client link."""

    dial_timeout: float = 10.0
    """Seconds for one attempt to open a connection."""
    close_timeout: float = 2.0
    """Seconds for the last frames and the closing handshake; then the connection is aborted."""
    heartbeat: float = 10.0
    """Seconds between pings until the relay's welcome names its own."""
    backoff_base: float = 0.25
    """The longest wait before the first new attempt in seconds; it doubles with each failure."""
    backoff_maximum: float = 15.0
    """The longest wait before any attempt in seconds, unless the relay asked for more."""
    max_queue_bytes: int = 4_194_304
    """What may wait in the link to be sent; beyond it `send` takes nothing."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("dial_timeout", "close_timeout", "heartbeat", "backoff_base", "backoff_maximum"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive")
        if self.max_queue_bytes < MAX_FRAME_BYTES:
            raise ValueError("max_queue_bytes must hold a frame")
