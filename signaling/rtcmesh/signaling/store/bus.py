"""The bus: nudges that say which room has news. What they say may be lost; what the streams hold is the truth."""

import asyncio
import logging
from random import Random
from typing import Protocol, cast

from rtcmesh.signaling.backoff import Backoff
from rtcmesh.signaling.config import RedisConfig
from rtcmesh.signaling.errors import StoreFailed, StoreUnreachable

from .partition import ALL_PARTITIONS, Partition, keys_of
from .store_connection import Reply, StoreConnection, open_connection

_logger = logging.getLogger(__name__)

_PARTITION_OF = {keys_of(partition).bus.encode(): partition for partition in ALL_PARTITIONS}


class Listener(Protocol):
    """Who is nudged."""

    def subscribed(self, partition: Partition) -> None:
        """Note that from now on nudges come, after some may have been missed."""
        ...

    def nudged(self, partition: Partition, payload: bytes) -> None:
        """Note a nudge."""
        ...


class Bus:
    """The one subscription to a lane's partitions. It is made anew whenever it breaks, or is asked to."""

    def __init__(
        self, config: RedisConfig, partitions: tuple[Partition, ...], listener: Listener, *, random: Random
    ) -> None:
        self._config = config
        self._partitions = partitions
        self._listener = listener
        self._random = random
        self._loop = asyncio.get_running_loop()
        self._restart = asyncio.Event()

    def restart(self) -> None:
        """Subscribe anew, because one of the partitions is not heard."""
        self._restart.set()

    async def run(self) -> None:
        """Keep the subscription until cancelled."""
        backoff = Backoff(self._random, base=0.05, maximum=1.0)
        while True:
            try:
                async with open_connection(
                    self._config.url, self._partitions[0], timeout=self._config.response_timeout
                ) as connection:
                    backoff.connected(self._loop.time())
                    await self._listen(connection)
            except (StoreUnreachable, StoreFailed) as error:
                _logger.info("the subscription is made anew: %s", error)
            except Exception:
                _logger.exception("the subscription is made anew after a failure of this program")
            await asyncio.sleep(backoff.next_delay(self._loop.time()))

    async def _listen(self, connection: StoreConnection) -> None:
        self._restart.clear()
        reading = asyncio.create_task(self._read(connection))
        restarting = asyncio.create_task(self._restart.wait())
        try:
            await asyncio.wait({reading, restarting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (reading, restarting):
                task.cancel()
            await asyncio.wait({reading, restarting})
        if reading.cancelled():
            raise StoreUnreachable("nothing is heard")
        reading.result()

    async def _read(self, connection: StoreConnection) -> None:
        await connection.send([("SSUBSCRIBE", keys_of(partition).bus) for partition in self._partitions])
        while True:
            self._take(await connection.receive())

    def _take(self, message: Reply) -> None:
        kind, channel, content = cast("tuple[bytes, bytes, bytes]", message)
        partition = _PARTITION_OF[channel]
        match kind:
            case b"smessage":
                self._listener.nudged(partition, content)
            case b"ssubscribe":
                self._listener.subscribed(partition)
            case _:
                # The slot has moved, and the subscription ended with it.
                raise StoreUnreachable(f"{kind.decode()} of a partition")
