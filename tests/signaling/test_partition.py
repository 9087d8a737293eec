"""Partitions are for ever: every version must put a room where the others look for it, and spread them evenly."""

from collections import Counter

from rtcmesh.signaling.store.partition import (
    ALL_PARTITIONS,
    PARTITIONS,
    SLOTS,
    TAGS,
    keys_of,
    partition_of,
    slot_of,
)


def test_slots_are_those_of_the_cluster_specification() -> None:
    assert slot_of("123456789") == 0x31C3
    assert slot_of("") == 0


def test_a_room_stays_where_it_is() -> None:
    assert {room: partition_of(room) for room in ("lobby", "r", "a:b")} == {"lobby": 23, "r": 29, "a:b": 8}
    assert TAGS[:4] == ("10", "113", "21", "3")


def test_every_equal_range_of_slots_has_one_partition() -> None:
    assert [slot_of(tag) * PARTITIONS // SLOTS for tag in TAGS] == list(ALL_PARTITIONS)


def test_rooms_spread_over_all_partitions() -> None:
    found = Counter(partition_of(f"room-{number}") for number in range(3200))
    assert len(found) == PARTITIONS
    assert max(found.values()) < 200


def test_all_keys_of_a_room_have_the_partition_s_tag() -> None:
    partition = partition_of("r")
    keys = keys_of(partition)
    for key in (*keys.of_room("r{x}", "node"), keys.bus):
        assert key.partition("{")[2].partition("}")[0] == TAGS[partition]
