"""Rooms in a Redis or Valkey that several servers share. What is kept there, and why, is in `docs/redis.md`."""

import asyncio
from asyncio import Task
from random import Random, SystemRandom
from secrets import token_bytes
from typing import Self

from rtcmesh.signaling.codes import RefusalCode
from rtcmesh.signaling.config import RedisConfig
from rtcmesh.signaling.errors import JoinRefused, StoreUnreachable
from rtcmesh.signaling.messages import Join
from rtcmesh.signaling.registry import Sink
from rtcmesh.signaling.resume_token import MIN_SECRET_BYTES, ResumeKey
from rtcmesh.signaling.room import RoomLimits, check_presence
from rtcmesh.signaling.stats import RegistryStats

from .bus import Bus
from .joining import Joining
from .keeper import Keeper
from .lane import Outcome
from .partition import ALL_PARTITIONS, Partition, keys_of, partition_of
from .redis_attachment import Home, RedisAttachment
from .room_reader import RoomReader
from .store import Store

SECRET_KEY = f"{keys_of(ALL_PARTITIONS[0]).prefix}:resume-secret"


class RedisRegistry:
    """One server's view of the shared rooms; `open` makes one.

    A room's stream in the store is the truth. This server reads it for the members that are connected here, nudged
    by the bus. Members whose server dies are suspended when its lease is over. When the store does not answer, joins
    and signals wait within their patience; after a lease's time the members here are given up, since elsewhere they
    may count as suspended.
    """

    def __init__(self, config: RedisConfig, limits: RoomLimits, *, random: Random) -> None:
        """Use `open`."""
        self._store = Store(config, limits, random=random, on_new_run=self._meet_new_run)
        self._reader = RoomReader(self._store)
        buses = {
            lane: Bus(config, lane.partitions, self._reader, random=random) for lane in self._store.lanes
        }
        self._buses = tuple(buses.values())
        self._keeper = Keeper(
            self._store,
            self._reader,
            {partition: buses[self._store.lane(partition)] for partition in ALL_PARTITIONS},
        )
        self._key = ResumeKey.create()
        self._secret: bytes | None = None
        """The secret that is kept in the store, once it is known."""
        self._tasks: list[Task[None]] = []
        self._ticking: Task[None] | None = None

    @classmethod
    async def open(
        cls, config: RedisConfig, limits: RoomLimits | None = None, *, random: Random | None = None
    ) -> Self:
        """Return a registry that is connected, has its leases and is nudged.

        Raises `StoreUnreachable` or `StoreFailed` when that did not come about within `start_timeout`.
        """
        random = SystemRandom() if random is None else random
        registry = cls(config, RoomLimits() if limits is None else limits, random=random)
        try:
            async with asyncio.timeout(config.start_timeout):
                await registry._start(config.resume_secret)
        except TimeoutError:
            await registry.aclose()
            reason = registry._store.failure or "it does not answer"
            raise StoreUnreachable(f"the store at {config.url} cannot be used: {reason}") from None
        except BaseException:
            await registry.aclose()
            raise
        return registry

    @property
    def stats(self) -> RegistryStats:
        """See `Registry.stats`."""
        self._reader.count()
        return self._store.stats

    @property
    def servers(self) -> int:
        """See `Registry.servers`; as the store counted them when a lease was renewed last."""
        return self._store.stats.servers

    async def attach(self, join: Join, sink: Sink) -> RedisAttachment:
        """See `Registry.attach`."""
        if join.presence is not None:
            check_presence(join.presence, self._store.limits)
        partition = partition_of(join.room)
        if not self._store.answers(self._store.lane(partition)):
            raise JoinRefused(RefusalCode.UNAVAILABLE)
        home = Home(
            self._store, self._reader, self._keeper, partition, self._reader.room(partition, join.room)
        )
        joining = Joining(home, join, sink, self._key)
        joining.begin()
        return await joining.answer

    async def aclose(self) -> None:
        """See `Registry.aclose`; what was asked is carried out first, if the store answers within a moment."""
        if self._tasks and self._store.failure is None:
            within = self._store.config.response_timeout
            if self._ticking is not None:
                self._ticking.cancel()
            if await self._store.flushed(within) and self.stats.members == 0:
                self._keeper.retire()
                await self._store.flushed(within)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _start(self, secret: bytes | None) -> None:
        self._tasks = self._store.start()
        if secret is None:
            self._share_secret(token_bytes(MIN_SECRET_BYTES))
        else:
            self._key = ResumeKey(secret)
        self._ticking = asyncio.create_task(self._keeper.run())
        self._tasks.append(self._ticking)
        self._tasks.extend(asyncio.create_task(bus.run()) for bus in self._buses)
        # The secret is asked for before the leases, on the same lane or on one that has to answer as well.
        await self._keeper.started()
        await self._reader.started()

    def _share_secret(self, secret: bytes) -> None:
        """Put a secret into the store, unless another server was there before, and take what is there."""
        partition = ALL_PARTITIONS[0]
        self._store.ask(partition, self._keeper.note_outcome, "SET", SECRET_KEY, secret, "NX")
        self._store.ask(partition, self._adopt_secret, "GET", SECRET_KEY)

    def _adopt_secret(self, outcome: Outcome) -> None:
        self._keeper.note_outcome(outcome)
        if isinstance(outcome, bytes) and len(outcome) >= MIN_SECRET_BYTES:
            self._secret, self._key = outcome, ResumeKey(outcome)

    def _meet_new_run(self, partitions: tuple[Partition, ...]) -> None:
        """Give up whoever relies on what another run of the store was told: this one may lack the tail of it."""
        self._reader.evict(partitions, RefusalCode.EPOCH_CHANGED, "new_run")
        self._keeper.forget_leases(partitions)
        if self._secret is not None and ALL_PARTITIONS[0] in partitions:
            self._share_secret(self._secret)
