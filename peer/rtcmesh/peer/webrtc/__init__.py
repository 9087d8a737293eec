"""WebRTC connections for data channels: ICE by aioice, DTLS by OpenSSL, SCTP by `rtcmesh.peer.sctp`.

The modules, from the wire up:

    datagrams         runs of datagrams, as one system call carries them
    datagram_socket   a UDP socket that sends and receives runs
    ice               the seam to ICE, and which remote candidates are used      RFC 8445, 8838
    trickle_ice       ICE by aioice, candidates as they are found, every server asked
    freshness         keeps the pair that was found                              RFC 7675
    consent           whether the other end still agrees, as a machine           RFC 7675
    binding           STUN requests and responses of two ends, prepared          RFC 8489
    plain_ice         the same through aioice's public interface alone
    aioice_candidate  candidates in aioice's form
    agents            which of the two is used
    ice_server        URLs of STUN and TURN servers                              RFC 7064, 7065
    certificate       what the two ends know each other by                       RFC 8122
    records           DTLS records in and out of OpenSSL, many at a time
    dtls              DTLS, driven                                               RFC 6347, 8261
    candidate         ICE candidates in SDP                                      RFC 8839
    description       session descriptions for data channels alone              RFC 8866, 8839, 8841
    connection        ICE, DTLS and SCTP on top of one another
    stats             what is known of a connection                             W3C webrtc-stats
    transport         the transport of a mesh on a connection
"""

from .candidate import Candidate
from .certificate import Certificate
from .config import IceTransportPolicy, WebRtcConfig
from .connection import Connection, ConnectionListener
from .errors import BadDescription
from .ice import CandidatePair
from .transport import WebRtcTransport

__all__ = [
    "BadDescription",
    "Candidate",
    "CandidatePair",
    "Certificate",
    "Connection",
    "ConnectionListener",
    "IceTransportPolicy",
    "WebRtcConfig",
    "WebRtcTransport",
]
