"""A room as one server sees it: who hears what, and who is given up when something is missing."""

from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.signaling.codes import RefusalCode
from rtcmesh.signaling.identity import PeerId
from rtcmesh.signaling.room import Admission
from rtcmesh.signaling.store.hosted_room import HostedRoom, LocalMember, Position
from rtcmesh.signaling.store.stream_codec import Nudge, RawEntry, StreamId
from support.rooms import NAMES
from support.sinks import RecordingSink

ALICE, BOB = NAMES[:2]
OTHER = NAMES[3]


def event(offset: int) -> RawEntry:
    return b"%d-0" % offset, [b"k", b"suspended", b"s", OTHER.encode(), b"r", b"", b"d", b""]


def enter(
    room: HostedRoom, peer_id: PeerId, offset: int, *, epoch: bytes = b"e", sequence: int = 1
) -> RecordingSink:
    sink = RecordingSink()
    sink.welcome(
        Admission(
            attachment=1, epoch="e", offset=offset, resumed=False, resume_token="", members=(), replay=()
        )
    )
    member = LocalMember(peer_id, 1, sink, since=offset)
    room.add(member, Position(epoch, StreamId(offset, 0), sequence), resumed=False)
    return sink


def offsets(sink: RecordingSink) -> list[int]:
    return [event.offset for event in sink.events]


def test_who_has_a_snapshot_of_what_is_missing_stays() -> None:
    room = HostedRoom("r")
    early, late = enter(room, ALICE, 2), enter(room, BOB, 9)
    assert room.take([event(8), event(9), event(10)]) == 1
    assert (early.ends, offsets(early)) == ([RefusalCode.EPOCH_CHANGED], [])
    assert (late.ends, offsets(late)) == ([], [10])


@given(
    joins=st.lists(st.integers(0, 12), min_size=1, max_size=3),
    first=st.integers(1, 14),
    count=st.integers(1, 6),
)
def test_every_member_hears_all_that_came_after_it_or_is_given_up(
    joins: list[int], first: int, count: int
) -> None:
    room = HostedRoom("r")
    joins.sort()
    sinks = [enter(room, peer_id, offset) for peer_id, offset in zip(NAMES, joins, strict=False)]
    last = first + count - 1
    given_up = room.take([event(offset) for offset in range(first, last + 1)])
    for sink, offset in zip(sinks, joins, strict=True):
        if not sink.ends:
            assert offsets(sink) == list(range(offset + 1, last + 1))
    assert given_up == sum(bool(sink.ends) for sink in sinks)
    assert given_up == 0 or first > joins[0] + 1


def test_a_nudge_from_before_the_join_says_nothing() -> None:
    room = HostedRoom("r")
    assert room.note(Nudge(4, "r", StreamId(50, 0)))
    enter(room, ALICE, 1, sequence=5)
    assert not room.has_news
    assert not room.note(Nudge(5, "r", StreamId(1, 0)))
    assert room.note(Nudge(6, "r", StreamId(2, 0)))
    assert room.has_news


def test_a_nudge_that_overtakes_the_answer_to_the_join_is_kept() -> None:
    room = HostedRoom("r")
    room.note(Nudge(6, "r", StreamId(2, 0)))
    enter(room, ALICE, 1, sequence=5)
    assert room.has_news


def test_whoever_is_left_of_an_earlier_epoch_is_given_up_when_somebody_joins_the_next_one() -> None:
    room = HostedRoom("r")
    before, after = enter(room, ALICE, 50), enter(room, BOB, 1, epoch=b"f", sequence=9)
    assert (before.ends, after.ends) == ([RefusalCode.EPOCH_CHANGED], [])
    room.take([event(2)])
    assert offsets(after) == [2]
