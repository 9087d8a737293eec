"""What one process holds for members that are away is bounded, however many rooms and members there are."""

import asyncio
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtcmesh.netem import run_virtual
from rtcmesh.signaling.codes import LeaveReason, RefusalCode
from rtcmesh.signaling.identity import PeerId
from rtcmesh.signaling.memory_registry import MemoryAttachment, MemoryLimits, MemoryRegistry
from rtcmesh.signaling.messages import Ack, Join, Nack, PeerLeft, Resume, RoomEvent, SendSignal
from rtcmesh.signaling.prekey import Prekey
from rtcmesh.signaling.room import Admission, RoomLimits
from rtcmesh.signaling.room_stream import StreamEntry
from support.rooms import NAMES
from support.virtual import on_virtual_time


class Recorder:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.events: list[RoomEvent] = []
        self.admission: Admission | None = None

    def welcome(self, admission: Admission) -> None:
        self.admission = admission

    def deliver(self, entry: StreamEntry) -> None:
        self.events.append(entry.event)

    def answer(self, answer: Ack | Nack) -> None: ...

    def end(self, code: RefusalCode | None, message: str = "") -> None: ...


async def attach(
    registry: MemoryRegistry, room: str, peer_id: PeerId, resume: Resume | None = None
) -> tuple[MemoryAttachment, Recorder]:
    sink = Recorder()
    join = Join(room=room, peer_id=peer_id, prekey=Prekey(b"0", b""), proof=b"", resume=resume)
    return await registry.attach(join, sink), sink


@on_virtual_time
async def test_too_many_suspended_members_expire_early_the_longest_away_first() -> None:
    registry = MemoryRegistry(memory=MemoryLimits(max_suspended=2))
    _, watcher = await attach(registry, "a", NAMES[0])
    first, _ = await attach(registry, "a", NAMES[1])
    first.suspend()
    for n in range(2):
        (await attach(registry, f"other{n}", NAMES[2]))[0].suspend()
    left = watcher.events[-1]
    assert isinstance(left, PeerLeft)
    assert (left.peer_id, left.reason) == (NAMES[1], LeaveReason.EXPIRED)
    assert registry.stats.members == 3
    await registry.aclose()


@on_virtual_time
async def test_a_loud_room_forgets_its_history_and_a_quiet_one_keeps_it() -> None:
    registry = MemoryRegistry(memory=MemoryLimits(max_history_bytes=100_000), random=Random(0))
    one, sink = await attach(registry, "quiet", NAMES[0])
    assert sink.admission is not None
    position = Resume(epoch=sink.admission.epoch, offset=1, token=sink.admission.resume_token)
    one.suspend()
    loud, sink = await attach(registry, "loud", NAMES[0])
    assert sink.admission is not None
    early = Resume(epoch=sink.admission.epoch, offset=1, token=sink.admission.resume_token)
    await attach(registry, "loud", NAMES[1])
    for n in range(1, 50):
        loud.signal(SendSignal(to=NAMES[1], id=n, sealed=bytes(1000)))
    loud.suspend()
    for room, resume, resumes in (("quiet", position, True), ("loud", early, False)):
        _, again = await attach(registry, room, NAMES[0], resume)
        assert again.admission is not None
        assert again.admission.resumed == resumes
    await registry.aclose()


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["join", "suspend", "leave", "signal", "wait"]),
        st.integers(0, 3),
        st.sampled_from(NAMES),
    ),
    max_size=60,
)


@settings(max_examples=100)
@given(STEPS)
def test_the_books_are_those_of_the_rooms_and_keep_to_the_limits(
    steps: list[tuple[str, int, PeerId]],
) -> None:
    run_virtual(keep_books(steps))


async def keep_books(steps: list[tuple[str, int, PeerId]]) -> None:
    limits = MemoryLimits(max_suspended=3, max_history_bytes=20_000)
    registry = MemoryRegistry(RoomLimits(resume_window=5.0), memory=limits, random=Random(0))
    held: dict[tuple[int, PeerId], MemoryAttachment] = {}
    ids: dict[MemoryAttachment, int] = {}
    for name, number, peer_id in steps:
        attachment = held.get((number, peer_id))
        match name:
            case "join":
                held[number, peer_id], _ = await attach(registry, f"room{number}", peer_id)
            case "wait":
                await asyncio.sleep(number)
            case _ if attachment is None:
                continue
            case "suspend":
                attachment.suspend()
            case "leave":
                attachment.leave()
            case _:
                ids[attachment] = ids.get(attachment, 0) + 1
                attachment.signal(SendSignal(to=peer_id, id=ids[attachment], sealed=bytes(2000)))
        rooms = [hosted.room for hosted in registry._rooms.values()]
        holdings = registry._holdings
        assert holdings._suspended == sum(room.suspended for room in rooms) <= limits.max_suspended
        assert (
            holdings._history_bytes == sum(room.history_bytes for room in rooms) <= limits.max_history_bytes
        )
        assert set(holdings._rooms) == set(registry._rooms.values())
    await registry.aclose()
    assert (holdings_of(registry)) == (0, 0)


def holdings_of(registry: MemoryRegistry) -> tuple[int, int]:
    return registry._holdings._suspended, registry._holdings._history_bytes


def test_limits_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        MemoryLimits(max_suspended=-1)
