"""Partitions: which keys of the shared store belong to a room, and why they lie on one cluster node.

A room hashes to one of 32 partitions for ever. All keys of a partition carry one hash tag, so that a script may
touch any of them, and the tags are chosen so that the partitions are spread evenly over the 16,384 slots (Redis
Cluster specification, "Key distribution model").
"""

from binascii import crc_hqx
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import NewType
from zlib import crc32

Partition = NewType("Partition", int)

PARTITIONS = 32
SLOTS = 16_384


def slot_of(tag: str) -> int:
    """Return the cluster slot of the keys with this hash tag."""
    return crc_hqx(tag.encode(), 0) % SLOTS


def _balanced_tags() -> tuple[str, ...]:
    """Return for each equal range of slots the smallest number that falls into it."""
    found: dict[int, str] = {}
    for number in count():
        found.setdefault(slot_of(str(number)) * PARTITIONS // SLOTS, str(number))
        if len(found) == PARTITIONS:
            return tuple(found[index] for index in range(PARTITIONS))
    raise AssertionError


TAGS = _balanced_tags()
ALL_PARTITIONS = tuple(Partition(index) for index in range(PARTITIONS))


def partition_of(room: str) -> Partition:
    """Return where a room is kept."""
    return Partition(crc32(room.encode()) % PARTITIONS)


@dataclass(frozen=True, slots=True)
class PartitionKeys:
    """The keys that all rooms of a partition share."""

    prefix: str

    @classmethod
    def of(cls, partition: Partition) -> "PartitionKeys":
        """Return the keys of one partition."""
        return cls(f"rtcmesh:{{{TAGS[partition]}}}")

    @property
    def lineage(self) -> str:
        """Hash: which run of which store wrote here last, how often that changed, the attachments so far."""
        return f"{self.prefix}:lineage"

    @property
    def sequence(self) -> str:
        """Counter of nudges, so that a missed one shows."""
        return f"{self.prefix}:sequence"

    @property
    def nodes(self) -> str:
        """Sorted set: servers by the end of their lease."""
        return f"{self.prefix}:nodes"

    @property
    def suspended(self) -> str:
        """Sorted set: members without a connection, as `room peer`, by the end of their resume window."""
        return f"{self.prefix}:suspended"

    @property
    def bus(self) -> str:
        """The sharded channel of the nudges."""
        return f"{self.prefix}:bus"

    def attached_at(self, node: str) -> str:
        """Set: members that are connected to one server, as `room peer`."""
        return f"{self.prefix}:at:{node}"

    def stream(self, room: str) -> str:
        """Stream: the events of a room."""
        return f"{self.prefix}:room:{room}:stream"

    def of_room(self, room: str, node: str) -> tuple[str, ...]:
        """Return all keys that a script about one member of a room declares, in the order it expects."""
        of_room = f"{self.prefix}:room:{room}"
        return (
            self.lineage,
            self.sequence,
            self.nodes,
            self.suspended,
            self.attached_at(node),
            f"{of_room}:meta",
            f"{of_room}:public",
            f"{of_room}:standing",
            self.stream(room),
        )


@lru_cache(maxsize=PARTITIONS)
def keys_of(partition: Partition) -> PartitionKeys:
    """Return the keys of a partition."""
    return PartitionKeys.of(partition)
