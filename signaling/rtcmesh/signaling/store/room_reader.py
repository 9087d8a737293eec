"""Reads the streams of the rooms that have members at this server, whenever the bus nudges or may have failed to."""

import asyncio
import logging
from functools import partial
from typing import cast

from rtcmesh.signaling.codes import RefusalCode
from rtcmesh.signaling.errors import SignalingError

from .hosted_room import HostedRoom
from .lane import Outcome
from .partition import ALL_PARTITIONS, Partition, keys_of
from .store import Store
from .stream_codec import CorruptStore, Nudge, RawEntry, StreamId, decode_nudge

READ_AT_ONCE = 256

_logger = logging.getLogger(__name__)


class RoomReader:
    """Every room with members here is read to its end soon after a nudge, or after one that was missed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._loop = asyncio.get_running_loop()
        self._rooms: dict[Partition, dict[str, HostedRoom]] = {partition: {} for partition in ALL_PARTITIONS}
        self._sequences: dict[Partition, int | None] = dict.fromkeys(ALL_PARTITIONS)
        self.heard_at = dict.fromkeys(ALL_PARTITIONS, self._loop.time())
        """When each partition was last heard."""
        self._unheard = set(ALL_PARTITIONS)
        self._all_heard = asyncio.Event()

    async def started(self) -> None:
        """Wait until every partition was subscribed to."""
        await self._all_heard.wait()

    def room(self, partition: Partition, name: str) -> HostedRoom:
        """Return a room, to be joined."""
        return self._rooms[partition].setdefault(name, HostedRoom(name))

    def forget_if_idle(self, partition: Partition, room: HostedRoom) -> None:
        """Let go of a room that nobody here needs."""
        if room.is_idle and self._rooms[partition].get(room.name) is room:
            del self._rooms[partition][room.name]

    def count(self) -> None:
        """Bring the numbers of rooms and members up to date."""
        rooms = [room for rooms in self._rooms.values() for room in rooms.values()]
        self._store.stats.rooms, self._store.stats.members = len(rooms), sum(map(len, rooms))

    def evict(self, partitions: tuple[Partition, ...], code: RefusalCode, why: str) -> None:
        """Give up every member of these partitions."""
        for partition in partitions:
            for room in list(self._rooms[partition].values()):
                self._evict_room(partition, room, code, why)

    def subscribed(self, partition: Partition) -> None:
        """See `Listener.subscribed`."""
        self.heard_at[partition] = self._loop.time()
        self._sequences[partition] = None
        if partition in self._unheard:
            self._unheard.discard(partition)
            if not self._unheard:
                self._all_heard.set()
        else:
            self._store.stats.resyncs["subscribed"] += 1
        self._read_all(partition)

    def nudged(self, partition: Partition, payload: bytes) -> None:
        """See `Listener.nudged`."""
        self.heard_at[partition] = self._loop.time()
        try:
            nudge = decode_nudge(payload)
        except CorruptStore as error:
            _logger.warning("somebody else publishes on the bus: %s", error)
            return
        before, self._sequences[partition] = self._sequences[partition], nudge.sequence
        if before is not None and nudge.sequence != before + 1:
            self._store.stats.resyncs["missed"] += 1
            self._read_all(partition)
        room = None if nudge.room is None else self._rooms[partition].get(nudge.room)
        if room is not None:
            self._take_nudge(partition, room, nudge)

    def _take_nudge(self, partition: Partition, room: HostedRoom, nudge: Nudge) -> None:
        was_in_step = room.is_in_step
        if not room.note(nudge):
            return
        if was_in_step and nudge.entry is not None and nudge.place is not None and room.is_next(nudge.place):
            try:
                room.take([nudge.entry])
            except CorruptStore as error:
                _logger.warning("a nudge carries what cannot be read: %s", error)
        if room.has_news:
            self.read(partition, room)

    def read(self, partition: Partition, room: HostedRoom) -> None:
        """Read a room from where it was left; while that is under way, read it once more afterwards."""
        if room.position is None:
            return
        if room.reading:
            room.read_again = True
            return
        room.reading, room.read_again = True, False
        self._store.ask(
            partition,
            partial(self._take, partition, room, room.position, gone_unless_found=room.has_news),
            "XRANGE",
            keys_of(partition).stream(room.name),
            f"({room.position}",
            "+",
            "COUNT",
            READ_AT_ONCE,
        )

    def _read_all(self, partition: Partition) -> None:
        for room in self._rooms[partition].values():
            self.read(partition, room)

    def _take(
        self,
        partition: Partition,
        room: HostedRoom,
        after: StreamId,
        outcome: Outcome,
        *,
        gone_unless_found: bool,
    ) -> None:
        room.reading = False
        if room.position != after:
            # Its members were given up meanwhile; those who have come since have another place in the stream.
            self.read(partition, room)
            return
        if isinstance(outcome, SignalingError):
            _logger.error("a room cannot be read: %s", outcome)
            self._evict_room(partition, room, RefusalCode.UNAVAILABLE, "corrupt")
            return
        entries = cast("list[RawEntry]", outcome)
        try:
            self._store.stats.evictions["trimmed"] += room.take(entries)
        except CorruptStore:
            _logger.exception("a room cannot be read")
            self._evict_room(partition, room, RefusalCode.EPOCH_CHANGED, "corrupt")
            return
        # What is gone before it was read: only a snapshot can say what the room is now.
        if gone_unless_found and not entries:
            self._evict_room(partition, room, RefusalCode.EPOCH_CHANGED, "trimmed")
        elif len(entries) == READ_AT_ONCE or room.read_again or room.has_news:
            self.read(partition, room)
        self.forget_if_idle(partition, room)

    def _evict_room(self, partition: Partition, room: HostedRoom, code: RefusalCode, why: str) -> None:
        self._store.stats.evictions[why] += room.end_all(code)
        self.forget_if_idle(partition, room)
