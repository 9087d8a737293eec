"""The messages of `rtcmesh.v1`: one JSON object per text frame, told apart by `type`.

Bytes travel as base64 and unknown fields are ignored, so that a newer side can add to a message. Nothing else
of the package knows key names.
"""

import re
from typing import Annotated, TypeAlias, cast

import msgspec
from msgspec import Meta, Struct, field

from .codes import LeaveReason, NackCode, RefusalCode
from .errors import InvalidPresence, ProtocolError
from .identity import PeerId
from .prekey import Prekey

SUBPROTOCOL = "rtcmesh.v1"
MAX_PRESENCE_DEPTH = 16

MAX_SECONDS = 86_400
"""The longest heartbeat and timeout that the messages carry."""

MAX_SIGNAL_WINDOW = 65_536
"""The most unacknowledged signals that a server may announce."""
MAX_SERVER_MESSAGE_BYTES = 16 * 1024 * 1024
"""What a peer takes in one message; the largest is the welcome to a full room."""
MAX_TOKEN_BYTES = 16_384
"""How long the token of a join may be, in UTF-8."""
FRAME_OVERHEAD_BYTES = 64
"""What a queued frame takes besides its bytes: their object and its place in the queue, on a 64-bit CPython."""

_ROOM_NAME = re.compile(r"[A-Za-z0-9._~:@-]{1,128}")

Presence: TypeAlias = dict[str, object]
"""What a member tells about itself: a JSON object, at most `MAX_PRESENCE_DEPTH` levels deep."""

WirePeerId = Annotated[PeerId, Meta(pattern="^[a-z2-7]{51}[aq]$", min_length=52, max_length=52)]
Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]
SignalId = Annotated[int, Meta(ge=1, le=2**53 - 1)]
Seconds = Annotated[float, Meta(ge=0, le=86_400 * 365)]
PositiveSeconds = Annotated[float, Meta(gt=0, le=MAX_SECONDS)]
Text = Annotated[str, Meta(max_length=4096)]


class Message(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """What all messages share: immutable, tagged by `type`, defaults left out on the wire."""


class Limits(Struct, frozen=True, kw_only=True):
    """What the server accepts, so that a peer can refuse locally instead of being cut off."""

    max_message_bytes: Count
    max_signal_bytes: Count
    max_presence_bytes: Count
    max_unacknowledged_signals: Annotated[int, Meta(ge=1, le=MAX_SIGNAL_WINDOW)]
    join_timeout: PositiveSeconds
    messages_per_second: Annotated[float, Meta(ge=0)] = 0.0
    """How fast a peer's messages are read in the long run, a large one counting for several; 0: as they come."""
    message_burst: Annotated[float, Meta(ge=0)] = 0.0
    """How many of them are read at once."""


class Member(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One member as the others see it."""

    peer_id: WirePeerId
    prekey: Prekey
    presence: Presence = {}
    suspended: bool = False
    relay: Text | None = None
    """Its home relay, where frames reach it: a URL, or a path of the signaling server's own."""


class IceServer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A STUN or TURN server, in the form of RTCIceServer (W3C WebRTC section 4.2.4)."""

    urls: tuple[Text, ...]
    username: Text | None = None
    credential: Text | None = None


class Resume(Struct, frozen=True, kw_only=True):
    """How far a peer had read the room, and the token that proves the membership was its own."""

    epoch: Text
    offset: Count
    token: Text


class Challenge(Message, frozen=True, kw_only=True, tag="challenge"):
    """The first message of the server: what the join must prove, and the limits."""

    nonce: bytes
    server_time: float
    limits: Limits
    relays: tuple[Text, ...] = ()
    """Where a peer may be at home, in the server's order: URLs, or paths of the server's own."""
    connection: Text = ""
    """What the server's log calls this connection."""


class Welcome(Message, frozen=True, kw_only=True, tag="welcome"):
    """The join succeeded.

    `resumed` false: `members` are all other members at `offset`, and replace all earlier knowledge. `resumed`
    true: `members` is empty, and exactly the events after `offset` that concern this peer follow.
    """

    epoch: Text
    offset: Count
    resumed: bool
    members: tuple[Member, ...] = ()
    ice_servers: tuple[IceServer, ...] = ()
    resume_token: Text
    heartbeat: PositiveSeconds
    relays: tuple[Text, ...] = ()
    relay_ticket: Text | None = None
    """What a relay asks for; valid for a while, and renewed before it expires."""


class Refused(Message, frozen=True, kw_only=True, tag="refused"):
    """The last message before the server closes with the code's close code."""

    code: RefusalCode
    message: Text = ""
    retry_after: Seconds | None = None


class PeerJoined(Message, frozen=True, kw_only=True, tag="peer_joined"):
    """A peer became a member."""

    offset: Count
    member: Member


class PeerLeft(Message, frozen=True, kw_only=True, tag="peer_left"):
    """A peer is no longer a member."""

    offset: Count
    peer_id: WirePeerId
    reason: LeaveReason


class PeerSuspended(Message, frozen=True, kw_only=True, tag="peer_suspended"):
    """A member lost its connection; signals to it are kept until it resumes or expires."""

    offset: Count
    peer_id: WirePeerId


class PeerResumed(Message, frozen=True, kw_only=True, tag="peer_resumed"):
    """A member is connected again."""

    offset: Count
    peer_id: WirePeerId
    anew: bool = False
    """It was given a snapshot: signals to it that were acknowledged before this event may be lost."""


class PresenceChanged(Message, frozen=True, kw_only=True, tag="presence_changed"):
    """A member's presence is now this one, as a whole."""

    offset: Count
    peer_id: WirePeerId
    presence: Presence


class RelayChanged(Message, frozen=True, kw_only=True, tag="relay_changed"):
    """A member is at home at another relay now, or at none."""

    offset: Count
    peer_id: WirePeerId
    relay: Text | None = None


class Signal(Message, frozen=True, kw_only=True, tag="signal"):
    """A sealed signal for this peer alone."""

    offset: Count
    sender: WirePeerId = field(name="from")
    id: SignalId
    sealed: bytes


class Ack(Message, frozen=True, kw_only=True, tag="ack"):
    """The signal of this id is in the room's stream.

    Its receiver gets it once, unless it leaves, or is away for so long that it is given a snapshot in place of what
    it missed; a `peer_left`, or a `peer_resumed` with `anew`, says so then.
    """

    id: SignalId


class Nack(Message, frozen=True, kw_only=True, tag="nack"):
    """The signal of this id was not accepted and is not delivered."""

    id: SignalId
    code: NackCode


class Pong(Message, frozen=True, kw_only=True, tag="pong"):
    """The answer to a ping."""


class IceServersRenewed(Message, frozen=True, kw_only=True, tag="ice_servers"):
    """The ICE servers from now on, before the credentials of the earlier ones expire."""

    ice_servers: tuple[IceServer, ...]


class RelayTicketRenewed(Message, frozen=True, kw_only=True, tag="relay_ticket"):
    """The ticket for relays from now on, before the one before expires."""

    ticket: Text


class Draining(Message, frozen=True, kw_only=True, tag="draining"):
    """The server stops; come back after `reconnect_in` seconds, to an alternative if there is one."""

    reconnect_in: Seconds
    alternatives: tuple[Text, ...] = ()


class Join(Message, frozen=True, kw_only=True, tag="join"):
    """The request to become, or to be again, a member of a room."""

    room: Text
    peer_id: WirePeerId
    prekey: Prekey
    proof: bytes
    token: str | None = None
    """At most `MAX_TOKEN_BYTES`; the decoder takes a longer one, so that it can be refused by its name."""
    presence: Presence | None = None
    relay: Text | None = None
    resume: Resume | None = None


class SendSignal(Message, frozen=True, kw_only=True, tag="signal"):
    """A sealed signal to one member; ids strictly increase from 1 in a membership."""

    to: WirePeerId
    id: SignalId
    sealed: bytes


class SetPresence(Message, frozen=True, kw_only=True, tag="presence"):
    """This peer's presence from now on."""

    presence: Presence


class SetRelay(Message, frozen=True, kw_only=True, tag="relay"):
    """This peer's home relay from now on."""

    relay: Text | None = None


class Leave(Message, frozen=True, kw_only=True, tag="leave"):
    """The membership ends now."""


class Ping(Message, frozen=True, kw_only=True, tag="ping"):
    """A sign of life that asks for one."""


RoomEvent: TypeAlias = (
    PeerJoined | PeerLeft | PeerSuspended | PeerResumed | PresenceChanged | RelayChanged | Signal
)
ServerMessage: TypeAlias = (
    Challenge
    | Welcome
    | Refused
    | RoomEvent
    | Ack
    | Nack
    | Pong
    | IceServersRenewed
    | RelayTicketRenewed
    | Draining
)
PeerMessage: TypeAlias = Join | SendSignal | SetPresence | SetRelay | Leave | Ping

_encoder = msgspec.json.Encoder()
_server_decoder: msgspec.json.Decoder[ServerMessage] = msgspec.json.Decoder(ServerMessage)
_peer_decoder: msgspec.json.Decoder[PeerMessage] = msgspec.json.Decoder(PeerMessage)


def encode(message: ServerMessage | PeerMessage) -> bytes:
    """Return the message as one JSON object in UTF-8, on one line."""
    return _encoder.encode(message)


def decode_server(frame: bytes) -> ServerMessage:
    """Return what the server said; raise `ProtocolError` for anything that is not a server message."""
    try:
        return _server_decoder.decode(frame)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise ProtocolError(f"not a server message: {error}") from error


def decode_peer(frame: bytes) -> PeerMessage:
    """Return what the peer said; raise `ProtocolError` for anything that is not a peer message."""
    try:
        return _peer_decoder.decode(frame)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise ProtocolError(f"not a peer message: {error}") from error


def presence_bytes(presence: Presence) -> int:
    """Return the encoded size of a presence; raise `InvalidPresence` when it is no JSON object or too deep.

    The depth is bounded because nesting costs stack wherever it is encoded again, as in later welcomes.
    """
    level: list[object] = [presence]
    for _ in range(MAX_PRESENCE_DEPTH):
        level = [child for value in level for child in _children(value)]
        if not level:
            break
    else:
        raise InvalidPresence(f"it is nested deeper than {MAX_PRESENCE_DEPTH} levels")
    try:
        return len(_encoder.encode(presence))
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidPresence(str(error)) from error


def _children(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(cast("dict[object, object]", value).values())
    return list(cast("list[object]", value)) if isinstance(value, list | tuple) else []


def is_room_name(room: str) -> bool:
    """Whether this can name a room: 1 to 128 letters, digits, or characters of `._~:@-`."""
    return _ROOM_NAME.fullmatch(room) is not None


def json_schema() -> dict[str, object]:
    """Return the JSON Schema (2020-12) of both directions: `$defs` has `ServerMessage` and `PeerMessage`."""
    (server, peer), components = msgspec.json.schema_components(
        (ServerMessage, PeerMessage), schema_hook=_any_json, ref_template="#/$defs/{name}"
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": SUBPROTOCOL,
        "$defs": {**components, "ServerMessage": server, "PeerMessage": peer},
    }


def _any_json(type_: type) -> dict[str, object]:
    if type_ is object:
        return {"description": "any JSON value"}
    raise NotImplementedError
