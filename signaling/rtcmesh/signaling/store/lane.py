"""A lane: the queue of commands for a part of the shared store, sent in batches in the order in which they came."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

from rtcmesh.signaling.backoff import Backoff
from rtcmesh.signaling.config import RedisConfig
from rtcmesh.signaling.errors import SignalingError, StoreFailed, StoreFull, StoreUnreachable
from rtcmesh.signaling.stats import RegistryStats

from .partition import Partition
from .scripts import Script
from .store_connection import Argument, Reply, ScriptMissing, StoreConnection, open_connection

MAX_BATCH = 256
"""Commands at once; a batch is answered before the next one is sent, so what waits meanwhile goes together."""

_logger = logging.getLogger(__name__)

Outcome: TypeAlias = Reply | SignalingError


@dataclass(slots=True, eq=False)
class Command:
    """One command, and what is to happen with what it comes to: a reply, or the error instead of one."""

    settle: Callable[[Outcome], None]
    script: Script | None
    keys: tuple[str, ...]
    arguments: list[Argument]
    expires_at: float | None = None
    """When it is given up, and from when on the store does not carry it out any more; None: never."""
    size_bytes: int = 0
    """What it counts for in the bound of what may wait."""
    is_sealed: bool = False
    """Whether it was sent, so that nothing can be added to it any more."""


class Lane:
    """Every command is settled once: in order, exactly when it was carried out, or with an error.

    A lost connection is made anew and what was not answered is sent again; every script bears that. A command whose
    time is over is settled with `StoreUnreachable`, and if the store has it all the same it will not act on it.
    """

    def __init__(
        self,
        config: RedisConfig,
        partitions: tuple[Partition, ...],
        *,
        stats: RegistryStats,
        random: Random,
        on_new_run: Callable[[tuple[Partition, ...]], None],
    ) -> None:
        self.partitions = partitions
        """The partitions whose commands go this way."""
        self.pending_bytes = 0
        """What waits, by the size that the commands declare."""
        self.contact_at = asyncio.get_running_loop().time()
        """When the store last answered."""
        self._config = config
        self._stats = stats
        self._random = random
        self._on_new_run = on_new_run
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Command] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._run_id: str | None = None
        self._clock_ahead = 0.0
        self.failure: SignalingError | None = None
        """Why there is no connection, if there is none."""

    def submit(self, command: Command) -> None:
        """Queue a command."""
        self.pending_bytes += command.size_bytes
        self._queue.append(command)
        self._idle.clear()
        self._wake.set()

    def enlarge(self, command: Command, arguments: tuple[Argument, ...], size_bytes: int) -> None:
        """Add to a command that is not sealed."""
        command.arguments += arguments
        command.size_bytes += size_bytes
        self.pending_bytes += size_bytes

    async def flushed(self) -> None:
        """Wait until nothing is queued."""
        await self._idle.wait()

    async def run(self) -> None:
        """Keep a connection and send what is queued, until cancelled."""
        backoff = Backoff(self._random, base=0.05, maximum=1.0)
        while True:
            try:
                async with open_connection(
                    self._config.url, self.partitions[0], timeout=self._config.response_timeout
                ) as connection:
                    self._meet(connection)
                    backoff.connected(self._loop.time())
                    await self._pump(connection)
            except (StoreUnreachable, StoreFailed) as error:
                if self.failure is None:
                    _logger.warning("the store at %s cannot be used: %s", self._config.url, error)
                self.failure = error
            except Exception:
                _logger.exception("the store is connected to anew after a failure of this program")
            self._expire()
            await asyncio.sleep(backoff.next_delay(self._loop.time()))

    def _meet(self, connection: StoreConnection) -> None:
        self.contact_at = self._loop.time()
        if self.failure is not None:
            _logger.warning("the store at %s answers again", self._config.url)
        self.failure = None
        # The reply was under way for a while, so this is never ahead of the store's own clock.
        self._clock_ahead = connection.time - self._loop.time()
        before, self._run_id = self._run_id, connection.run_id
        if before is None and connection.policy != "noeviction":
            _logger.warning(
                "the store at %s evicts keys when it is full (maxmemory-policy %s): rooms would lose members "
                "silently; set it to noeviction",
                self._config.url,
                connection.policy,
            )
        if before is not None and before != connection.run_id:
            self._on_new_run(self.partitions)

    async def _pump(self, connection: StoreConnection) -> None:
        while True:
            while not self._queue:
                self._idle.set()
                self._wake.clear()
                await self._wake.wait()
            self._expire()
            await self._exchange(connection)

    async def _exchange(self, connection: StoreConnection) -> None:
        """Send one batch and settle what is answered; what is not stays in front of the queue."""
        batch = [self._queue.popleft() for _ in range(min(len(self._queue), MAX_BATCH))]
        again: list[Command] = []
        obstacles: list[ScriptMissing | StoreUnreachable] = []
        taken = 0
        try:
            async with asyncio.timeout(self._config.response_timeout) as deadline:
                for command in batch:
                    command.is_sealed = True
                await connection.send([self._packed(command, connection.run_id) for command in batch])
                for command in batch:
                    obstacle = await self._take_answer(connection, command)
                    taken += 1
                    if obstacle is not None:
                        obstacles.append(obstacle)
                        again.append(command)
                    # A batch may take longer, as long as it goes on: many joins of a large room are much to read.
                    deadline.reschedule(self._loop.time() + self._config.response_timeout)
                if obstacles and all(isinstance(obstacle, ScriptMissing) for obstacle in obstacles):
                    await self._load_scripts(connection)
                    obstacles.clear()
        except TimeoutError:
            raise StoreUnreachable("it does not answer") from None
        finally:
            self._queue.extendleft(reversed([*again, *batch[taken:]]))
        if obstacles:
            raise StoreUnreachable(str(obstacles[-1]))

    async def _take_answer(
        self, connection: StoreConnection, command: Command
    ) -> ScriptMissing | StoreUnreachable | None:
        """Settle a command with its answer, or return why it has to be sent again."""
        try:
            outcome: Outcome = await connection.receive()
        except (ScriptMissing, StoreUnreachable) as obstacle:
            return obstacle
        except (StoreFull, StoreFailed) as error:
            outcome = error
        self.contact_at = self._loop.time()
        self._settle(command, outcome)
        return None

    async def _load_scripts(self, connection: StoreConnection) -> None:
        self._stats.commands["scripts_loaded"] += 1
        await connection.send([("SCRIPT", "LOAD", script.source.text) for script in Script])
        for _ in Script:
            await connection.receive()

    def _packed(self, command: Command, run_id: str) -> tuple[Argument, ...]:
        if command.script is None:
            return tuple(command.arguments)
        expires_at = command.expires_at
        not_after = 0 if expires_at is None else int((expires_at + self._clock_ahead) * 1000)
        return (
            "EVALSHA",
            command.script.source.sha,
            len(command.keys),
            *command.keys,
            run_id,
            not_after,
            *command.arguments,
        )

    def _expire(self) -> None:
        now = self._loop.time()
        if not any(command.expires_at is not None and command.expires_at <= now for command in self._queue):
            return
        waiting, self._queue = self._queue, deque()
        for command in waiting:
            if command.expires_at is not None and command.expires_at <= now:
                self._settle(command, StoreUnreachable("it did not answer in time"))
            else:
                self._queue.append(command)

    def _settle(self, command: Command, outcome: Outcome) -> None:
        self.pending_bytes -= command.size_bytes
        kind = type(outcome).__name__ if isinstance(outcome, SignalingError) else "Answered"
        self._stats.commands[_RESULTS[kind]] += 1
        try:
            command.settle(outcome)
        except Exception:
            # The queue must not stand still, nor send a command again that was answered.
            _logger.exception("an answer of the store could not be dealt with")


_RESULTS = {
    "Answered": "answered",
    "StoreUnreachable": "unreachable",
    "StoreFull": "full",
    "StoreFailed": "failed",
}
COMMAND_RESULTS = (*_RESULTS.values(), "scripts_loaded")
