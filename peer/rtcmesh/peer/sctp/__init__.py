"""SCTP for data channels, without I/O (RFC 9260, 8831, 8832, 3758, 6525, 8260, 8261, 8899).

The modules, from the wire to the application:

    serial        numbers that wrap on the wire and do not in here
    packet        common header, checksum, bundling                        RFC 9260 sections 3.1, 6.8, 6.10
    parameters    type, length, value: optional parameters, error causes   RFC 9260 sections 3.2.1, 3.3.10
    chunks        the control chunks                                       RFC 9260 section 3.3, 3758, 6525, 8260
    cookie        the state cookie                                         RFC 9260 section 5.1.3
    handshake     INIT to COOKIE ACK, collisions, restart                  RFC 9260 section 5
    first_data    what travels with COOKIE ECHO                            RFC 9260 section 5.1
    outbound      whose turn it is; what is too late                       RFC 9260 section 6.1; 3758; 8260
    beginnings    which large messages may be under way at a time          RFC 8260
    bundle        from messages to the chunks of a packet; out_stream      RFC 9260 sections 6.9, 6.10; 8260
    alike_chunks  small messages that are alike, many at a time            -
    recovery      what is on its way: RACK, probes, retransmission         RFC 9260 section 6.3; 8985
    copies        second copies of what nothing follows                    -
    round_trip    how long a round trip takes                              RFC 9260 section 6.3.1
    congestion    the seam; cubic, loss_tolerant, pacing                   RFC 9438, 9406
    experiment    whether losses grow with the window; usual_loss          RFC 9743
    abandonment   partial reliability                                      RFC 3758, 7496, 8260
    acknowledgement  what has arrived, and when to say so                  RFC 9260 section 6.2
    reassembly    fragments to messages, order                             RFC 9260 sections 6.5, 6.6, 6.9; 8260
    reset         streams end and begin again                              RFC 6525
    channels      data channels over streams                               RFC 8831
    dcep          the protocol that opens them                             RFC 8832
    mtu           how large a packet may be                                RFC 8899
    heartbeat     whether the path still lives                             RFC 9260 section 8.3
    association   all of it together: the one face                         RFC 9260 section 4
"""

from .association import Association
from .config import SAFE_PACKET_BYTES as SAFE_PACKET_BYTES
from .config import CongestionControl, Role, SctpConfig
from .errors import (
    BufferFull,
    ChannelIdTaken,
    ChannelNotOpen,
    MessageTooLarge,
    NoChannelIdLeft,
    NotEstablished,
    SctpError,
)
from .events import (
    AssociationAnswered,
    AssociationClosed,
    AssociationConnected,
    AssociationRestarted,
    ChannelClosed,
    ChannelOpened,
    ChannelWritable,
    CloseReason,
    Event,
    MessagesReceived,
)
from .stats import AssociationStats, ChannelStats

__all__ = [
    "Association",
    "AssociationAnswered",
    "AssociationClosed",
    "AssociationConnected",
    "AssociationRestarted",
    "AssociationStats",
    "BufferFull",
    "ChannelClosed",
    "ChannelIdTaken",
    "ChannelNotOpen",
    "ChannelOpened",
    "ChannelStats",
    "ChannelWritable",
    "CloseReason",
    "CongestionControl",
    "Event",
    "MessageTooLarge",
    "MessagesReceived",
    "NoChannelIdLeft",
    "NotEstablished",
    "Role",
    "SctpConfig",
    "SctpError",
]
