"""What stands in the streams and hashes of the shared store, as values; nothing else knows their fields."""

from dataclasses import dataclass
from typing import Annotated, NamedTuple, TypeAlias

import msgspec
from msgspec import Meta, Struct

from rtcmesh.signaling.codes import LeaveReason, RefusalCode
from rtcmesh.signaling.errors import SignalingError
from rtcmesh.signaling.identity import PeerId
from rtcmesh.signaling.messages import (
    Member,
    PeerJoined,
    PeerLeft,
    PeerResumed,
    PeerSuspended,
    Presence,
    PresenceChanged,
    RelayChanged,
    RoomEvent,
    Signal,
    encode,
)
from rtcmesh.signaling.prekey import Prekey
from rtcmesh.signaling.room import RoomLimits
from rtcmesh.signaling.room_stream import StreamEntry


class CorruptStore(SignalingError):
    """The shared store holds something that no version of the scripts has written."""


class StreamId(NamedTuple):
    """A place in a stream: the offset of an event, and the number of a note that follows it (0: the event itself)."""

    offset: int
    note: int

    @classmethod
    def parse(cls, raw: bytes) -> "StreamId":
        """Return the place that Redis names so; raises `CorruptStore`."""
        offset, _, note = raw.partition(b"-")
        try:
            return cls(int(offset), int(note))
        except ValueError:
            raise CorruptStore(f"{raw!r} is no place in a stream") from None

    def __str__(self) -> str:
        return f"{self.offset}-{self.note}"


START = StreamId(0, 0)
"""Before the first event."""


@dataclass(frozen=True, slots=True)
class AttachmentsEnded:
    """A note for the servers: attachments of this peer with a smaller number are over."""

    peer_id: PeerId
    below: int
    code: RefusalCode | None
    """What the peer is told; None: it is the one that came back, and is told nothing."""


StoredEntry: TypeAlias = tuple[StreamId, StreamEntry | AttachmentsEnded]
RawEntry: TypeAlias = tuple[bytes, list[bytes]]


class Nudge(NamedTuple):
    """What the bus says: how many nudges the partition has had, and which room has news up to which place, if any."""

    sequence: int
    room: str | None = None
    place: StreamId | None = None
    entry: RawEntry | None = None
    """The news itself, where it is a single small signal."""


class Standing(Struct, frozen=True):
    """What a server needs to know of a member's private record."""

    node: Annotated[str, Meta(max_length=64)] = msgspec.field(name="n")


_ENDS = {b"": None, **{code.value.encode(): code for code in RefusalCode}}

_presence_decoder = msgspec.json.Decoder(Presence)
_prekey_decoder = msgspec.json.Decoder(Prekey)
_joined_decoder = msgspec.msgpack.Decoder(tuple[str, str, str])
_standing_decoder = msgspec.msgpack.Decoder(Standing)


def encode_limits(limits: RoomLimits) -> bytes:
    """Return what the scripts need of the limits."""
    return msgspec.msgpack.encode(
        {
            "max_members": limits.max_members,
            "signal_window": limits.max_unacknowledged_signals,
            "history_events": limits.history_events,
            "history_bytes": limits.history_bytes,
            "resume_window_ms": round(limits.resume_window * 1000),
        }
    )


def encode_presence(presence: Presence | None) -> bytes:
    """Return a presence as it is stored; nothing for none."""
    return b"" if presence is None else msgspec.json.encode(presence)


def encode_prekey(prekey: Prekey) -> bytes:
    """Return a prekey as it is stored."""
    return msgspec.json.encode(prekey)


def decode_entry(raw: RawEntry, place: StreamId | None = None) -> StoredEntry:
    """Return one entry of a stream, whose place may be known already; raises `CorruptStore`."""
    place = StreamId.parse(raw[0]) if place is None else place
    try:
        _, kind, _, subject, _, receiver, _, data = raw[1]
        peer_id = PeerId(subject.decode())
        if kind == b"ended":
            return place, AttachmentsEnded(peer_id, int(data), _ENDS[receiver])
        event = _decode_event(place.offset, kind, peer_id, data)
        to = PeerId(receiver.decode()) if receiver else None
        return place, StreamEntry(event, encode(event), to, peer_id)
    except (ValueError, KeyError, msgspec.MsgspecError) as error:
        raise CorruptStore(f"entry {place} cannot be read: {error}") from error


def decode_nudge(payload: bytes) -> Nudge:
    """Return what a message on the bus says; raises `CorruptStore`."""
    try:
        match payload.split(b" ", 5):
            case [sequence]:
                return Nudge(int(sequence))
            case [sequence, room, place]:
                return Nudge(int(sequence), room.decode(), StreamId.parse(place))
            case [sequence, room, place, subject, receiver, data]:
                entry = [b"k", b"signal", b"s", subject, b"r", receiver, b"d", data]
                return Nudge(int(sequence), room.decode(), StreamId.parse(place), (place, entry))
            case _:
                pass
    except ValueError:
        pass
    raise CorruptStore(f"{payload!r} is no nudge")


def receiver_of(raw: RawEntry) -> bytes:
    """Return the one peer that an entry is for, without decoding it; nothing when it is for many."""
    fields = raw[1]
    return fields[5] if fields[1] == b"signal" else b""


def decode_members(public: list[bytes], standing: list[bytes], but: PeerId) -> tuple[Member, ...]:
    """Return the members of a room except one, from its two hashes; raises `CorruptStore`."""
    fields = dict(zip(public[::2], public[1::2], strict=True))
    try:
        return tuple(
            _decode_member(
                PeerId(peer_id.decode()),
                fields[peer_id].decode(),
                fields[peer_id + b":presence"].decode(),
                fields[peer_id + b":relay"].decode(),
                suspended=not _standing_decoder.decode(packed).node,
            )
            for peer_id, packed in zip(standing[::2], standing[1::2], strict=True)
            if peer_id != but.encode()
        )
    except (ValueError, KeyError, msgspec.MsgspecError) as error:
        raise CorruptStore(f"a member cannot be read: {error}") from error


def _decode_event(offset: int, kind: bytes, peer_id: PeerId, data: bytes) -> RoomEvent:
    match kind:
        case b"signal":
            id_, _, sealed = data.partition(b":")
            return Signal(offset=offset, sender=peer_id, id=int(id_), sealed=sealed)
        case b"joined":
            return PeerJoined(offset=offset, member=_decode_member(peer_id, *_joined_decoder.decode(data)))
        case b"left":
            return PeerLeft(offset=offset, peer_id=peer_id, reason=LeaveReason(data.decode()))
        case b"suspended":
            return PeerSuspended(offset=offset, peer_id=peer_id)
        case b"resumed":
            return PeerResumed(offset=offset, peer_id=peer_id, anew=data == b"anew")
        case b"presence":
            return PresenceChanged(offset=offset, peer_id=peer_id, presence=_presence_decoder.decode(data))
        case b"relay":
            return RelayChanged(offset=offset, peer_id=peer_id, relay=data.decode() or None)
        case _:
            raise ValueError(f"no event is called {kind!r}")


def _decode_member(
    peer_id: PeerId, prekey: str, presence: str, relay: str, *, suspended: bool = False
) -> Member:
    return Member(
        peer_id=peer_id,
        prekey=_prekey_decoder.decode(prekey),
        presence=_presence_decoder.decode(presence),
        suspended=suspended,
        relay=relay or None,
    )
