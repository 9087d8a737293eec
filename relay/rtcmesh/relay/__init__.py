"""The fallback path: blind forwarding of sealed frames, the relay and the client link.

The HTTP server is `rtcmesh.relay.server.serve`, which needs the extra `server`; the frames of the wire are in
`rtcmesh.relay.frames`, the test kit is `rtcmesh.relay.testing`.
"""

from .binary_socket import BinarySocket, Dial
from .codes import CloseCode, GoneReason, NackReason
from .config import RelayClientConfig, RelayConfig, RelayServerConfig
from .errors import DialFailed, ProtocolError, RelayError, SocketClosed
from .frames import Urgency
from .link import RelayLink, RelaySink
from .switch import SwitchLimits

__all__ = [
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
