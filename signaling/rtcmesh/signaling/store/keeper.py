"""Keeps this server's leases, sweeps what others have left behind, and says what is wrong with the store."""

import asyncio
import logging
from functools import partial
from typing import cast

from rtcmesh.signaling.codes import RefusalCode
from rtcmesh.signaling.errors import SignalingError, StoreFailed, StoreFull
from rtcmesh.signaling.stats import Trouble

from .bus import Bus
from .lane import Outcome
from .partition import ALL_PARTITIONS, Partition, keys_of
from .room_reader import RoomReader
from .scripts import Script
from .store import Store

SWEEP_AT_ONCE = 100
"""Members of a dead server that are suspended in one round, in each partition."""
FULL_FOR = 10.0
"""Seconds after a refusal for want of memory for which the store counts as full."""

_logger = logging.getLogger(__name__)


class Keeper:
    """Once every `tick_interval`: renew the leases, sweep, restart a deaf bus, give members up that are cut off."""

    def __init__(self, store: Store, reader: RoomReader, buses: dict[Partition, Bus]) -> None:
        self._store = store
        self._reader = reader
        self._buses = buses
        self._loop = asyncio.get_running_loop()
        self._ticking: set[Partition] = set()
        self._leased: set[Partition] = set()
        self._settled = asyncio.Event()
        self._full_until = self._loop.time()

    async def run(self) -> None:
        """Keep on until cancelled."""
        while True:
            self._tick()
            await asyncio.sleep(self._store.config.tick_interval)
            self._judge()

    async def started(self) -> None:
        """Wait until every partition has given a lease."""
        while len(self._leased) < len(ALL_PARTITIONS):
            self._settled.clear()
            await self._settled.wait()

    def retire(self) -> None:
        """Give the leases back; only once nobody is attached here, since nobody would be swept any more."""
        for partition in ALL_PARTITIONS:
            self._store.ask(partition, self.note_outcome, "ZREM", keys_of(partition).nodes, self._store.node)

    def note_outcome(self, outcome: Outcome) -> None:
        """Take what a command came to into account."""
        if isinstance(outcome, StoreFull):
            self._full_until = self._loop.time() + FULL_FOR
            self._judge()
        elif isinstance(outcome, StoreFailed):
            _logger.error("the store refused a command: %s", outcome)

    def forget_leases(self, partitions: tuple[Partition, ...]) -> None:
        """Take leases for new ones at their next renewal, because the store may not know of them."""
        self._leased.difference_update(partitions)

    def _tick(self) -> None:
        for partition in ALL_PARTITIONS:
            if partition not in self._ticking:
                self._ticking.add(partition)
                self._store.tick(partition, partial(self._ticked, partition))

    def _ticked(self, partition: Partition, outcome: Outcome) -> None:
        self._ticking.discard(partition)
        if isinstance(outcome, SignalingError):
            _logger.error("a lease cannot be renewed: %s", outcome)
            return
        _, known, alive, dead, expired = cast("tuple[int, int, int, list[bytes], list[bytes]]", outcome)
        self._store.stats.servers = alive
        if not known and partition in self._leased:
            # The others took this server for dead, and have suspended whoever was here.
            self._reader.evict((partition,), RefusalCode.UNAVAILABLE, "lapsed")
        self._leased.add(partition)
        self._settled.set()
        for node in dead:
            self._list_abandoned(partition, node.decode())
        for entry in expired:
            self._store.call(partition, Script.EXPIRE, _named(entry), (), self.note_outcome)

    def _list_abandoned(self, partition: Partition, node: str) -> None:
        key = keys_of(partition).attached_at(node)
        self._store.ask(partition, partial(self._abandon, partition, node), "SRANDMEMBER", key, SWEEP_AT_ONCE)

    def _abandon(self, partition: Partition, node: str, outcome: Outcome) -> None:
        if isinstance(outcome, SignalingError):
            _logger.error("the members of a dead server cannot be listed: %s", outcome)
            return
        # Without members there is still its record to clear away, for which no member needs to be named.
        for entry in cast("list[bytes]", outcome) or [b" "]:
            self._store.call(partition, Script.ABANDON, _named(entry), (node,), self.note_outcome, node=node)

    def _judge(self) -> None:
        """Find out what is wrong, and do what can be done about it."""
        now, config, troubles = self._loop.time(), self._store.config, self._store.stats.troubles
        unreachable = [lane for lane in self._store.lanes if not self._store.answers(lane)]
        for lane in unreachable:
            if now - lane.contact_at > config.node_lease:
                self._reader.evict(lane.partitions, RefusalCode.UNAVAILABLE, "unreachable")
        deaf = [
            partition
            for partition, heard_at in self._reader.heard_at.items()
            if now - heard_at > config.deaf_after and self._store.answers(self._store.lane(partition))
        ]
        for bus in {self._buses[partition] for partition in deaf}:
            bus.restart()
        found = {
            Trouble.UNREACHABLE: bool(unreachable),
            Trouble.DEAF: bool(deaf),
            Trouble.FULL: now < self._full_until,
        }
        for trouble, is_there in found.items():
            if is_there and trouble not in troubles:
                _logger.warning("the store at %s is in trouble: %s", config.url, trouble.value)
            (troubles.add if is_there else troubles.discard)(trouble)


def _named(entry: bytes) -> tuple[str, str]:
    room, _, peer = entry.decode().partition(" ")
    return room, peer
