"""The fallback path: blind forwarding of sealed frames, the relay and the client link.

The HTTP server is `rtcmesh.relay.server.serve`, which needs the extra `server`; the frames of the wire are in
`rtcmesh.relay.frames`, the test kit is `rtcmesh.relay.testing`.
"""

from .backlog import HIGH_WATER_BYTES, LOW_WATER_BYTES
from .binary_socket import BinarySocket, Dial
from .codes import CloseCode, GoneReason, NackReason
from .config import RelayClientConfig, RelayConfig, RelayServerConfig
from .errors import DialFailed, ProtocolError, RelayError, SocketClosed
from .frames import MAX_PAYLOAD_BYTES, Urgency
from .link import RelayLink, RelaySink
from .switch import SwitchLimits

__all__ = [
    "HIGH_WATER_BYTES",
    "LOW_WATER_BYTES",
    "MAX_PAYLOAD_BYTES",
    "BinarySocket",
    "CloseCode",
    "Dial",
    "DialFailed",
    "GoneReason",
    "NackReason",
    "ProtocolError",
    "RelayClientConfig",
    "RelayConfig",
    "RelayError",
    "RelayLink",
    "RelayServerConfig",
    "RelaySink",
    "SocketClosed",
    "SwitchLimits",
    "Urgency",
]
