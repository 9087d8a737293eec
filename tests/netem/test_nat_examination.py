"""What is asked of a NAT, and what the answers mean: every kind is told from the others."""

import itertools
from collections.abc import Callable, Generator
from typing import TypeVar

import pytest

from rtcmesh.netem.nat_examination import (
    ReachedFrom,
    Remote,
    SeenFrom,
    examine_filtering,
    examine_mapping,
)
from rtcmesh.netem.packet import Endpoint
from rtcmesh.netem.topology import Dependence

Answer = TypeVar("Answer")
Found = TypeVar("Found")


def looked_at(kind: Dependence, remote: Remote) -> object:
    """Return what of a remote end a NAT looks at."""
    match kind:
        case Dependence.ENDPOINT_INDEPENDENT:
            return None
        case Dependence.ADDRESS_DEPENDENT:
            return remote in (Remote.FIRST, Remote.OTHER_PORT)
        case _:
            return remote


def put(
    examination: Generator[SeenFrom | ReachedFrom, Answer, Found], answer: Callable[[Remote], Answer]
) -> Found:
    try:
        question = next(examination)
        while True:
            question = examination.send(answer(question.remote))
    except StopIteration as done:
        found: Found = done.value
        return found


@pytest.mark.parametrize("kind", Dependence)
def test_mapping(kind: Dependence) -> None:
    ports: dict[object, int] = {}

    def seen_from(remote: Remote) -> Endpoint | None:
        return Endpoint("192.0.2.1", ports.setdefault(looked_at(kind, remote), 1000 + len(ports)))

    assert put(examine_mapping(), seen_from) is kind


@pytest.mark.parametrize("silent", [Remote.FIRST, Remote.OTHER_ADDRESS, Remote.OTHER])
def test_a_mapping_that_is_not_seen_from_everywhere_is_not_known(silent: Remote) -> None:
    ports = itertools.count(1000)

    def seen_from(remote: Remote) -> Endpoint | None:
        return None if remote is silent else Endpoint("192.0.2.1", next(ports))

    assert put(examine_mapping(), seen_from) is None


@pytest.mark.parametrize("kind", Dependence)
def test_filtering(kind: Dependence) -> None:
    written_to = looked_at(kind, Remote.FIRST)

    def is_reached_from(remote: Remote) -> bool:
        return looked_at(kind, remote) == written_to

    assert put(examine_filtering(), is_reached_from) is kind
