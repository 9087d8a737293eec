"""What stands in the store is read back as it was meant, and whatever else stands there is a `CorruptStore`."""

from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.signaling.codes import LeaveReason, RefusalCode
from rtcmesh.signaling.messages import (
    Member,
    PeerJoined,
    PeerLeft,
    PeerResumed,
    PeerSuspended,
    PresenceChanged,
    RelayChanged,
    RoomEvent,
    Signal,
    decode_server,
)
from rtcmesh.signaling.prekey import Prekey
from rtcmesh.signaling.room_stream import StreamEntry
from rtcmesh.signaling.store.stream_codec import (
    AttachmentsEnded,
    CorruptStore,
    Nudge,
    StreamId,
    decode_entry,
    decode_members,
    decode_nudge,
    encode_prekey,
    encode_presence,
    receiver_of,
)
from support.rooms import NAMES

ALICE, BOB = NAMES[:2]
PREKEY = Prekey(b"key", b"signature")
JOINED = msgspec.msgpack.encode([encode_prekey(PREKEY).decode(), '{"n": 1}', "/relay"])

EVENTS: list[tuple[bytes, bytes, bytes, RoomEvent]] = [
    (b"signal", BOB.encode(), b"3:\x00:\xff", Signal(offset=7, sender=ALICE, id=3, sealed=b"\x00:\xff")),
    (
        b"joined",
        b"",
        JOINED,
        PeerJoined(offset=7, member=Member(peer_id=ALICE, prekey=PREKEY, presence={"n": 1}, relay="/relay")),
    ),
    (b"left", b"", b"expired", PeerLeft(offset=7, peer_id=ALICE, reason=LeaveReason.EXPIRED)),
    (b"suspended", b"", b"", PeerSuspended(offset=7, peer_id=ALICE)),
    (b"resumed", b"", b"", PeerResumed(offset=7, peer_id=ALICE)),
    (b"presence", b"", b'{"n": 2}', PresenceChanged(offset=7, peer_id=ALICE, presence={"n": 2})),
    (b"relay", b"", b"", RelayChanged(offset=7, peer_id=ALICE, relay=None)),
]


def raw(kind: bytes, receiver: bytes, data: bytes, place: bytes = b"7-0") -> tuple[bytes, list[bytes]]:
    return place, [b"k", kind, b"s", ALICE.encode(), b"r", receiver, b"d", data]


@pytest.mark.parametrize(("kind", "receiver", "data", "event"), EVENTS)
def test_an_event_is_read_as_it_was_meant(
    kind: bytes, receiver: bytes, data: bytes, event: RoomEvent
) -> None:
    place, entry = decode_entry(raw(kind, receiver, data))
    assert isinstance(entry, StreamEntry)
    assert (place, entry.event, entry.subject) == (StreamId(7, 0), event, ALICE)
    assert (entry.receiver or "").encode() == receiver_of(raw(kind, receiver, data)) == receiver
    assert decode_server(entry.frame) == event


@pytest.mark.parametrize(
    ("reason", "code"),
    [(b"", None), (b"replaced", RefusalCode.REPLACED), (b"unavailable", RefusalCode.UNAVAILABLE)],
)
def test_a_note_is_for_servers(reason: bytes, code: RefusalCode | None) -> None:
    note = decode_entry(raw(b"ended", reason, b"9", b"7-2"))
    assert note == (StreamId(7, 2), AttachmentsEnded(ALICE, 9, code))
    assert receiver_of(raw(b"ended", reason, b"9")) == b""


def test_members_are_read_from_both_hashes() -> None:
    public = [
        *(ALICE.encode(), encode_prekey(PREKEY), ALICE.encode() + b":presence", b"{}"),
        *(ALICE.encode() + b":relay", b"", BOB.encode(), encode_prekey(PREKEY)),
        *(BOB.encode() + b":presence", encode_presence({"n": 1}), BOB.encode() + b":relay", b"/r"),
    ]
    standing = [
        ALICE.encode(),
        msgspec.msgpack.encode({"n": "x"}),
        BOB.encode(),
        msgspec.msgpack.encode({"n": ""}),
    ]
    bob = Member(peer_id=BOB, prekey=PREKEY, presence={"n": 1}, suspended=True, relay="/r")
    assert decode_members(public, standing, but=ALICE) == (bob,)
    with pytest.raises(CorruptStore):
        decode_members(public[:-4], standing, but=ALICE)


def test_a_nudge_says_how_many_there_were_and_what_is_new() -> None:
    assert decode_nudge(b"12") == Nudge(12)
    assert decode_nudge(b"12 r 7-1") == Nudge(12, "r", StreamId(7, 1))


def test_a_nudge_may_carry_the_signal_that_it_tells_of() -> None:
    nudge = decode_nudge(b"12 r 7-0 %s %s 3: \xff " % (ALICE.encode(), BOB.encode()))
    assert nudge[:3] == (12, "r", StreamId(7, 0))
    assert nudge.entry is not None
    _, entry = decode_entry(nudge.entry)
    assert isinstance(entry, StreamEntry)
    assert entry.receiver == BOB
    assert entry.event == Signal(offset=7, sender=ALICE, id=3, sealed=b" \xff ")


KINDS = st.sampled_from([kind for kind, *_ in EVENTS] + [b"ended", b"", b"x"])


@given(st.binary(), KINDS | st.binary(), st.binary(), st.binary())
def test_any_other_entry_is_corrupt(place: bytes, kind: bytes, receiver: bytes, data: bytes) -> None:
    for at in (b"1-0", place):
        with suppress(CorruptStore):
            decode_entry(raw(kind, receiver, data, at))


@given(st.lists(st.binary(max_size=5), max_size=9))
def test_any_other_fields_are_corrupt(fields: list[bytes]) -> None:
    with suppress(CorruptStore):
        decode_entry((b"1-0", fields))


@given(st.binary())
def test_any_other_nudge_is_corrupt(payload: bytes) -> None:
    with suppress(CorruptStore):
        decode_nudge(payload)
