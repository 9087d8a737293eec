"""Rooms in the memory of one process."""

import asyncio
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random, SystemRandom

from .codes import RefusalCode
from .errors import JoinRefused
from .messages import Join, Presence, SendSignal
from .registry import Sink
from .resume_token import ResumeKey
from .room import Deliver, Detached, Displace, Room, RoomLimits
from .stats import RegistryStats


@dataclass(frozen=True, kw_only=True)
class MemoryLimits:
    """What all rooms of one process hold together for members that are away."""

    max_suspended: int = 20_000
    """Suspended members; beyond it the one that has been away for longest expires early."""
    max_history_bytes: int = 67_108_864
    """Memory of all histories; beyond it the room with the largest one forgets it."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if min(self.max_suspended, self.max_history_bytes) < 0:
            raise ValueError("the limits of a process must not be negative")


class MemoryRegistry:
    """All rooms of one process; they end with it, and the next process begins new epochs."""

    def __init__(
        self,
        limits: RoomLimits | None = None,
        *,
        memory: MemoryLimits | None = None,
        random: Random | None = None,
    ) -> None:
        self._limits = RoomLimits() if limits is None else limits
        self._holdings = _Holdings(MemoryLimits() if memory is None else memory)
        self._random = SystemRandom() if random is None else random
        self._key = ResumeKey(self._random.randbytes(32))
        self._rooms: dict[str, _HostedRoom] = {}
        self._stats = RegistryStats()

    @property
    def stats(self) -> RegistryStats:
        """See `Registry.stats`."""
        self._stats.rooms = len(self._rooms)
        self._stats.members = sum(len(hosted.room) for hosted in self._rooms.values())
        return self._stats

    @property
    def servers(self) -> int:
        """See `Registry.servers`."""
        return 1

    async def attach(self, join: Join, sink: Sink) -> "MemoryAttachment":
        """See `Registry.attach`."""
        hosted = self._rooms.get(join.room)
        if hosted is None:
            epoch = f"{self._random.getrandbits(128):032x}"
            room = Room(join.room, epoch=epoch, limits=self._limits, key=self._key)
            hosted = _HostedRoom(self._rooms, self._holdings, join.room, room)
        return hosted.attach(join, sink)

    async def aclose(self) -> None:
        """See `Registry.aclose`; the rooms are forgotten."""
        for hosted in list(self._rooms.values()):
            hosted.close()


class _HostedRoom:
    """A room, the sinks of its attachments, and the timer of its deadline."""

    def __init__(self, rooms: "dict[str, _HostedRoom]", holdings: "_Holdings", name: str, room: Room) -> None:
        self.room = room
        self._holdings = holdings
        self._rooms = rooms
        self._name = name
        self._sinks: dict[int, Sink] = {}
        self._timer: asyncio.TimerHandle | None = None

    def attach(self, join: Join, sink: Sink) -> "MemoryAttachment":
        try:
            admission = self.room.join(join, self._now())
        finally:
            self.carry_out()
        self._sinks[admission.attachment] = sink
        self._rooms[self._name] = self
        sink.welcome(admission)
        return MemoryAttachment(self, admission.attachment, sink)

    def detach(self, attachment: int) -> None:
        self._sinks.pop(attachment, None)

    def suspend(self, attachment: int) -> None:
        self.room.suspend(attachment, self._now())

    def carry_out(self) -> None:
        """Do what the room decided; the one place that drains it."""
        for effect in self.room.effects():
            match effect:
                case Deliver(attachment, entry):
                    self._sinks[attachment].deliver(entry)
                case Displace(attachment, replaced):
                    self._sinks.pop(attachment).end(RefusalCode.REPLACED if replaced else None)
        if len(self.room) == 0:
            self.close()
        else:
            self._schedule()
            self._holdings.note(self)

    def close(self) -> None:
        self._holdings.forget(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._rooms.get(self._name) is self:
            del self._rooms[self._name]

    def _schedule(self) -> None:
        deadline = self.room.deadline()
        if self._timer is not None:
            if self._timer.when() == deadline:
                return
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = None if deadline is None else loop.call_at(deadline, self._expire)

    def _expire(self) -> None:
        self._timer = None
        self.room.handle_timeout(self._now())
        self.carry_out()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


class _Holdings:
    """What all rooms hold for members that are away, so that together they keep to the limits."""

    def __init__(self, limits: MemoryLimits) -> None:
        self._limits = limits
        self._rooms: dict[_HostedRoom, tuple[int, int]] = {}
        self._history_bytes = 0
        self._suspended = 0
        # The resume window is the same in all rooms, so the order of suspension is that of expiry.
        self._away: deque[tuple[float, _HostedRoom]] = deque()

    def note(self, hosted: _HostedRoom) -> None:
        """Take account of a room after an event, and make some room give up what is too much."""
        grew = self._account(hosted)
        if grew:
            self._note_absence(hosted)
        while self._history_bytes > self._limits.max_history_bytes:
            # The largest: a flood of events costs the rooms it is in.
            largest = max(self._rooms, key=lambda room: self._rooms[room][0])
            largest.room.forget_history()
            self._account(largest)
        while self._suspended > self._limits.max_suspended and self._away:
            _, room = self._away.popleft()
            if room in self._rooms:
                room.room.expire_oldest()
                room.carry_out()

    def forget(self, hosted: _HostedRoom) -> None:
        """Note that a room has ended."""
        history_bytes, suspended = self._rooms.pop(hosted, (0, 0))
        self._history_bytes -= history_bytes
        self._suspended -= suspended

    def _account(self, hosted: _HostedRoom) -> bool:
        """Note what a room holds now; return whether more of its members are away."""
        history_bytes, suspended = self._rooms.get(hosted, (0, 0))
        now_held = (hosted.room.history_bytes, hosted.room.suspended)
        self._rooms[hosted] = now_held
        self._history_bytes += now_held[0] - history_bytes
        self._suspended += now_held[1] - suspended
        return now_held[1] > suspended

    def _note_absence(self, hosted: _HostedRoom) -> None:
        now = asyncio.get_running_loop().time()
        while self._away and self._away[0][0] <= now:
            self._away.popleft()
        self._away.append((hosted.room.newest_expiry, hosted))


class MemoryAttachment:
    """See `Attachment`."""

    def __init__(self, hosted: _HostedRoom, attachment: int, sink: Sink) -> None:
        self._hosted = hosted
        self._attachment = attachment
        self._sink = sink

    def signal(self, signal: SendSignal) -> None:
        """See `Attachment.signal`."""
        with self._carrying_out():
            self._sink.answer(self._hosted.room.signal(self._attachment, signal))

    def set_presence(self, presence: Presence) -> None:
        """See `Attachment.set_presence`."""
        with self._carrying_out():
            self._hosted.room.set_presence(self._attachment, presence)

    def set_relay(self, relay: str | None) -> None:
        """See `Attachment.set_relay`."""
        with self._carrying_out():
            self._hosted.room.set_relay(self._attachment, relay)

    def leave(self) -> None:
        """See `Attachment.leave`."""
        self._hosted.room.leave(self._attachment)
        self._hosted.detach(self._attachment)
        self._hosted.carry_out()

    def suspend(self) -> None:
        """See `Attachment.suspend`."""
        self._hosted.suspend(self._attachment)
        self._hosted.detach(self._attachment)
        self._hosted.carry_out()

    @contextmanager
    def _carrying_out(self) -> Generator[None, None, None]:
        try:
            yield
        except Detached:
            return
        except JoinRefused as refusal:
            self.suspend()
            self._sink.end(refusal.code, refusal.message)
            return
        self._hosted.carry_out()
