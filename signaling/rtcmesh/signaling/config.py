"""What can be configured, with the recommended values as defaults."""

from dataclasses import dataclass, field

from .limits.address import Network
from .limits.bucket import Rate
from .limits.traffic import TrafficLimits
from .messages import FRAME_OVERHEAD_BYTES, MAX_SECONDS, MAX_SERVER_MESSAGE_BYTES, IceServer
from .resume_token import MIN_SECRET_BYTES
from .room import RoomLimits
from .store_url import StoreUrl
from .ticket import TicketKey

MEMBER_OVERHEAD_BYTES = 512
"""More than a member costs in a welcome besides its presence: peer id, prekey with signature, names."""


@dataclass(frozen=True, kw_only=True)
class ServiceConfig:
    """The signaling service itself, whatever network it is served on."""

    room: RoomLimits = field(default_factory=RoomLimits)
    """The limits of every room."""
    ice_servers: tuple[IceServer, ...] = ()
    """Handed to every member in its welcome."""
    relays: tuple[str, ...] = ()
    """Where members may be at home, in order of preference: URLs, or paths of the server's own."""
    ticket_key: TicketKey | None = None
    """The key that the relays share; without it no tickets are issued."""
    ticket_lifetime: float = 600.0
    """Seconds for which a ticket is valid; after half of them a connected member gets another one."""
    ticket_bytes_per_second: int | None = None
    """How much a member may send through a relay in the long run; None: as the relay likes."""
    heartbeat: float = 10.0
    """Seconds of silence after which a peer pings; after two of them either end takes the other for lost."""
    join_timeout: float = 10.0
    """Seconds from the connection to a join."""
    close_timeout: float = 2.0
    """Seconds for the last frames and the closing handshake of one connection; then it is aborted."""
    max_message_bytes: int = 65_536
    """The largest frame taken from a peer."""
    max_queue_bytes: int = 2_097_152
    """What may wait for one connection to be read, overhead included; a connection that exceeds it is cut off."""
    max_connections: int = 10_000
    """Connections at once, joined or not; more are refused with `server_full`."""
    traffic: TrafficLimits = field(default_factory=TrafficLimits)
    """How fast the service takes connections and messages."""
    retry_after: float = 5.0
    """Seconds after which a connection refused with `server_full` may come back."""
    drain_notice: float = 0.0
    """Seconds for which a stopping server is not ready but still takes peers, so that a load balancer can notice."""
    drain_window: float = 0.0
    """Seconds over which a stopping server sends its peers away, a batch every half a second.

    For servers that share their rooms. Where the rooms end with the server, 0 sends everybody away at once: whoever
    stayed longer would only be alone.
    """
    drain_spread: float = 2.0
    """Without a window, each peer is told to come back within this many seconds, spread evenly."""
    alternatives: tuple[str, ...] = ()
    """The URLs of other servers that a stopping server names to its peers."""

    def __post_init__(self) -> None:
        """Check the ranges and how they fit together."""
        for name in ("heartbeat", "join_timeout", "close_timeout"):
            if not 0 < getattr(self, name) <= MAX_SECONDS:
                raise ValueError(f"{name} must be positive and at most a day, or no client takes it")
        if not 1 <= self.ticket_lifetime <= MAX_SECONDS:
            raise ValueError("ticket_lifetime must be between a second and a day")
        if min(self.retry_after, self.drain_notice, self.drain_window, self.drain_spread) < 0:
            raise ValueError("retry_after and the times of a drain must not be negative")
        if self.max_connections < 1:
            raise ValueError("max_connections must be at least 1")
        if self.max_message_bytes < self.room.max_signal_bytes * 4 / 3 + MEMBER_OVERHEAD_BYTES:
            raise ValueError("max_message_bytes is too small for a signal of max_signal_bytes in base64")
        largest_welcome = self.room.max_members * (self.room.max_presence_bytes + MEMBER_OVERHEAD_BYTES)
        if largest_welcome > MAX_SERVER_MESSAGE_BYTES:
            raise ValueError("max_members is too large: no peer would take the welcome to a full room")
        largest_replay = self.room.history_bytes + self.room.history_events * FRAME_OVERHEAD_BYTES
        if self.max_queue_bytes < largest_welcome + largest_replay:
            raise ValueError("max_queue_bytes must hold the largest welcome and a whole history")


@dataclass(frozen=True, kw_only=True)
class DoorLimits:
    """What TCP connections may do before they have said anything."""

    head_timeout: float = 10.0
    """Seconds for the first whole request head."""
    max_head_bytes: int = 16_384
    """The size of a request head."""
    max_waiting: int = 1024
    """Connections whose request head is not complete; the oldest of them gives way to a newer one."""
    max_sockets: int = 16_384
    """TCP connections at once."""
    max_sockets_per_address: int = 1024
    """The same from one address: an IPv4 address, or the /64 of an IPv6 address."""
    sockets: Rate | None = field(default_factory=lambda: Rate(per_second=1000, burst=1000))
    """New TCP connections in all; whoever comes faster waits for the system to hand it over."""
    sockets_per_address: Rate | None = field(default_factory=lambda: Rate(per_second=50, burst=500))
    """New TCP connections from one address; None: as many as come."""
    trusted_proxies: tuple[Network, ...] = ()
    """Proxies that name the origin of a request in `X-Forwarded-For`; their own addresses have no limits."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.head_timeout <= 0:
            raise ValueError("head_timeout must be positive")
        if min(self.max_waiting, self.max_sockets, self.max_sockets_per_address) < 1:
            raise ValueError("the limits of a door must be positive")
        if self.max_head_bytes < 1024:
            raise ValueError("max_head_bytes must be at least 1,024")


@dataclass(frozen=True, kw_only=True)
class RedisConfig:
    """Rooms in a Redis or Valkey that several servers share."""

    url: StoreUrl
    """Where it is."""
    resume_secret: bytes | None = None
    """What resume tokens are signed with; None: the first server puts a random one into the store."""
    node_lease: float = 15.0
    """Seconds after which a server that does not answer counts as dead, and its members as suspended."""
    tick_interval: float = 1.0
    """Seconds between two renewals of the lease, and between two sweeps."""
    deaf_after: float = 4.0
    """Seconds without a nudge after which the subscription is made anew and every room is read again."""
    response_timeout: float = 3.0
    """Seconds for an answer, and for a new connection; then it is made anew, and the store counts as unreachable."""
    join_patience: float = 8.0
    """Seconds that a join waits for the store before it is refused with `unavailable`."""
    signal_patience: float = 15.0
    """Seconds that a signal waits for the store before it is refused with `unavailable`."""
    max_pending_bytes: int = 67_108_864
    """What may wait for the store in all; beyond it signals are refused at once."""
    start_timeout: float = 10.0
    """Seconds for the store's first answer."""

    def __post_init__(self) -> None:
        """Check the ranges and how they fit together."""
        for name in (
            "tick_interval",
            "response_timeout",
            "join_patience",
            "signal_patience",
            "start_timeout",
        ):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive")
        if self.deaf_after < 2 * self.tick_interval:
            raise ValueError("deaf_after must be at least two tick_intervals, since ticks are what is heard")
        if self.node_lease < 3 * self.tick_interval:
            raise ValueError("node_lease must be at least three tick_intervals")
        if self.max_pending_bytes < 1:
            raise ValueError("max_pending_bytes must be at least 1")
        if self.resume_secret is not None and len(self.resume_secret) < MIN_SECRET_BYTES:
            raise ValueError(f"resume_secret must have at least {MIN_SECRET_BYTES} bytes")


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """The service on an aiohttp server."""

    host: str = "127.0.0.1"
    """The address to listen on."""
    port: int = 8080
    """The port to listen on; 0 lets the system choose one."""
    allowed_origins: tuple[str, ...] = ()
    """Origins that web pages may connect from besides the server's own; `*` allows all.

    Requests without an `Origin` header do not come from a web page and are always allowed.
    """
    advertised_url: str | None = None
    """Where other servers reach this one, if a load balancer may bring them POSTs of its peers' HTTP fallback."""
    fleet_secret: bytes | None = None
    """What the servers behind one load balancer share, so that they pass such POSTs on to nobody else."""
    door: DoorLimits = field(default_factory=DoorLimits)
    """The limits of TCP connections."""
    service: ServiceConfig = field(default_factory=ServiceConfig)
    """The signaling service that is served."""
    redis: RedisConfig | None = None
    """Where rooms live that several servers share; None: in this process."""

    def __post_init__(self) -> None:
        """Check the range of the port."""
        if not 0 <= self.port <= 65_535:
            raise ValueError("port must be between 0 and 65535")
        if self.advertised_url is not None and self.fleet_secret is None:
            raise ValueError("an advertised_url needs a fleet_secret")


@dataclass(frozen=True, kw_only=True)
class ClientConfig:
    """The client link."""

    connect_timeout: float = 20.0
    """Seconds until the first welcome; then `SignalingUnreachable`."""
    dial_timeout: float = 10.0
    """Seconds for one attempt to open a connection, and again for its welcome."""
    close_timeout: float = 2.0
    """Seconds that `aclose` waits for the server; then the connection is aborted."""
    backoff_base: float = 0.25
    """The longest wait before the first new attempt in seconds; it doubles with each failure."""
    backoff_maximum: float = 15.0
    """The longest wait before any attempt in seconds, unless the server asked for more."""
    websocket_patience: float = 4.0
    """Seconds for the first frame over a WebSocket; then plain HTTP is tried, in case something blocks WebSockets."""
    websocket_retry_after: float = 300.0
    """Seconds after which WebSockets are tried again where they were blocked."""
    max_queued_events: int = 1024
    """Events that wait for the application; when it is full the link stops reading from the server."""
    max_queue_bytes: int = 2_097_152
    """What may wait to be sent to the server; a connection that exceeds it is dropped and resumed.

    Unacknowledged signals take half of it at most, so that they alone never do.
    """

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("connect_timeout", "dial_timeout", "close_timeout", "backoff_base", "backoff_maximum"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive")
        if min(self.websocket_patience, self.websocket_retry_after) <= 0:
            raise ValueError("websocket_patience and websocket_retry_after must be positive")
        if min(self.max_queued_events, self.max_queue_bytes) < 1:
            raise ValueError("max_queued_events and max_queue_bytes must be at least 1")
