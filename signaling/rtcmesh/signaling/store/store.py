"""The shared store as the parts of one server's registry use it: commands by partition, and one set of numbers."""

import asyncio
from asyncio import Task
from collections.abc import Callable
from random import Random

from rtcmesh.signaling.config import RedisConfig
from rtcmesh.signaling.errors import SignalingError
from rtcmesh.signaling.room import RoomLimits
from rtcmesh.signaling.stats import RegistryStats, zeros
from rtcmesh.signaling.store_url import Topology

from .lane import COMMAND_RESULTS, Command, Lane, Outcome
from .partition import ALL_PARTITIONS, Partition, keys_of
from .scripts import Script
from .signal_batch import Answered, SignalBatch
from .store_connection import Argument
from .stream_codec import encode_limits

EVICTIONS = ("unreachable", "lapsed", "new_run", "trimmed", "corrupt")
RESYNCS = ("subscribed", "missed")


class Store:
    """Lanes to the store: one for all partitions, or in a cluster one for each, since each has its own primary."""

    def __init__(
        self,
        config: RedisConfig,
        limits: RoomLimits,
        *,
        random: Random,
        on_new_run: Callable[[tuple[Partition, ...]], None],
    ) -> None:
        self.node = f"{random.getrandbits(64):016x}"
        """This server's name in the store; a restarted one has another."""
        self.config = config
        """How the store is used."""
        self.limits = limits
        """What one room holds."""
        self.random = random
        """The source of names and jitter."""
        self.stats = RegistryStats(
            commands=zeros(*COMMAND_RESULTS), resyncs=zeros(*RESYNCS), evictions=zeros(*EVICTIONS)
        )
        """What is counted."""
        self._encoded_limits = encode_limits(limits)
        in_cluster = config.url.topology is Topology.CLUSTER
        groups = [(partition,) for partition in ALL_PARTITIONS] if in_cluster else [ALL_PARTITIONS]
        self.lanes = tuple(
            Lane(config, group, stats=self.stats, random=random, on_new_run=on_new_run) for group in groups
        )
        """Every lane, each with its partitions."""
        self._batches: dict[str, SignalBatch] = {}
        self._lane_of = {partition: lane for lane in self.lanes for partition in lane.partitions}

    @property
    def failure(self) -> SignalingError | None:
        """Why some partition cannot be reached now, or None."""
        return next((lane.failure for lane in self.lanes if lane.failure is not None), None)

    @property
    def pending_bytes(self) -> int:
        """What waits for the store, by the size that the commands declare."""
        return sum(lane.pending_bytes for lane in self.lanes)

    def lane(self, partition: Partition) -> Lane:
        """Return the lane of a partition."""
        return self._lane_of[partition]

    def answers(self, lane: Lane) -> bool:
        """Whether a lane has had an answer lately; since leases are renewed all the time, silence means something."""
        silent_for = asyncio.get_running_loop().time() - lane.contact_at
        return silent_for <= self.config.tick_interval + self.config.response_timeout

    def call(
        self,
        partition: Partition,
        script: Script,
        member: tuple[str, str],
        arguments: tuple[Argument, ...],
        settle: Callable[[Outcome], None],
        *,
        node: str | None = None,
        patience: float | None = None,
    ) -> None:
        """Run a script about a member, named by room and peer; `node` is where it is attached, if not here."""
        # Signals that come after it must not go before it.
        self._batches.pop(member[0], None)
        command = self._command(partition, script, member, settle, node=node, patience=patience)
        command.arguments += arguments
        self._lane_of[partition].submit(command)

    def signal(
        self,
        partition: Partition,
        room: str,
        arguments: tuple[Argument, ...],
        answered: Answered,
        id_: int,
        *,
        size_bytes: int,
    ) -> None:
        """Put a signal into the stream of a room, together with others for it that wait."""
        lane, now = self._lane_of[partition], asyncio.get_running_loop().time()
        batch = self._batches.get(room)
        if batch is None or not batch.takes(size_bytes, now):
            batch = self._batches[room] = self._open_batch(partition, room, now)
            lane.submit(batch.command)
        batch.waiting.append((answered, id_))
        lane.enlarge(batch.command, arguments, size_bytes)

    def _open_batch(self, partition: Partition, room: str, now: float) -> SignalBatch:
        def settle(outcome: Outcome) -> None:
            if self._batches.get(room) is batch:
                del self._batches[room]
            batch.settle(outcome)

        command = self._command(
            partition, Script.SIGNALS, (room, ""), settle, patience=self.config.signal_patience
        )
        batch = SignalBatch(command, now)
        return batch

    def _command(
        self,
        partition: Partition,
        script: Script,
        member: tuple[str, str],
        settle: Callable[[Outcome], None],
        *,
        node: str | None = None,
        patience: float | None = None,
    ) -> Command:
        keys = keys_of(partition)
        return Command(
            settle,
            script,
            keys.of_room(member[0], self.node if node is None else node),
            [keys.bus, *member, self._encoded_limits],
            None if patience is None else asyncio.get_running_loop().time() + patience,
        )

    def tick(self, partition: Partition, settle: Callable[[Outcome], None]) -> None:
        """Renew this server's lease on a partition."""
        keys, config = keys_of(partition), self.config
        arguments = (keys.bus, self.node, round(config.node_lease * 1000), round(config.tick_interval * 1000))
        declared = (keys.lineage, keys.sequence, keys.nodes, keys.suspended)
        self._lane_of[partition].submit(Command(settle, Script.TICK, declared, [*arguments]))

    def ask(self, partition: Partition, settle: Callable[[Outcome], None], *command: Argument) -> None:
        """Send a command that is no script."""
        self._lane_of[partition].submit(Command(settle, None, (), [*command]))

    def start(self) -> list[Task[None]]:
        """Return the tasks that carry commands; the caller owns them."""
        return [asyncio.create_task(lane.run()) for lane in self.lanes]

    async def flushed(self, within: float) -> bool:
        """Wait until everything is answered, at most so many seconds; return whether it was."""
        try:
            async with asyncio.timeout(within):
                for lane in self.lanes:
                    await lane.flushed()
        except TimeoutError:
            return False
        return True
