"""Two associations over a network that does everything to packets that a network can do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from struct import Struct

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from rtcmesh.peer.sctp import (
    AssociationClosed,
    CongestionControl,
    Event,
    Role,
    SctpConfig,
)
from support.sctp import End, Impairments, NearTheEnd, Network, heard

HEADER = Struct("!HL")
MANY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

shares = st.sampled_from([0.0, 0.01, 0.1, 0.3])
impairments = st.builds(
    Impairments,
    delay=st.sampled_from([0.0005, 0.02, 0.3]),
    loss=shares,
    duplication=shares,
    reordering=shares,
    jitter=st.sampled_from([0.001, 0.05]),
    corruption=st.sampled_from([0.0, 0.0, 0.05]),
)


@dataclass(frozen=True)
class Kind:
    """How a channel delivers."""

    ordered: bool
    max_retransmits: int | None = None
    max_lifetime: float | None = None

    @property
    def reliable(self) -> bool:
        return self.max_retransmits is None and self.max_lifetime is None


KINDS = [
    Kind(ordered=True),
    Kind(ordered=False),
    Kind(ordered=True, max_retransmits=0),
    Kind(ordered=False, max_retransmits=0),
    Kind(ordered=True, max_retransmits=2),
    Kind(ordered=True, max_lifetime=0.1),
    Kind(ordered=False, max_lifetime=0.05),
]


@dataclass
class Talk:
    """What one end has said and the other has heard, by channel."""

    said: dict[int, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    heard: dict[int, list[bytes]] = field(default_factory=lambda: defaultdict(list))

    def check(self) -> None:
        for number, kind in enumerate(KINDS):
            said, heard = self.said[number], self.heard[number]
            assert len(set(heard)) == len(heard), f"{kind}: delivered twice"
            assert set(heard) <= set(said), f"{kind}: delivered what was never sent"
            if kind.ordered:
                assert heard == sorted(heard, key=_index), f"{kind}: delivered out of order"
            if kind.reliable:
                assert len(heard) == len(said), f"{kind}: {len(heard)} of {len(said)} arrived"

    @property
    def complete(self) -> bool:
        return all(
            len(self.said[number]) == len(self.heard[number])
            for number, kind in enumerate(KINDS)
            if kind.reliable
        )


def _index(message: bytes) -> int:
    index: int = HEADER.unpack_from(message)[1]
    return index


def message(channel: int, index: int, size: int) -> bytes:
    header = HEADER.pack(channel, index)
    return header + bytes((index + position) & 0xFF for position in range(max(0, size - len(header))))


class Conversation:
    """Two ends with a channel of every kind, and what both have said and heard."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.talks = {network.client: Talk(), network.server: Talk()}
        network.connect()
        for end, other in ((network.client, network.server), (network.server, network.client)):
            end.on_event = self._listener(self.talks[other])
            for number, kind in enumerate(KINDS):
                end.association.open_channel(
                    0,
                    negotiated_id=number,
                    ordered=kind.ordered,
                    max_retransmits=kind.max_retransmits,
                    max_lifetime=kind.max_lifetime,
                )

    def say(self, end: End, channel: int, size: int) -> None:
        said = self.talks[end].said[channel]
        said.append(message(channel, len(said), size))
        end.do(lambda association, now: association.send(channel, said[-1], now))

    def finish(self) -> None:
        """Let everything arrive that must, over a network that is sound again."""
        self.network.run(5)
        self.network.heal()
        talks = self.talks.values()
        assert self.network.run(200, lambda: all(talk.complete for talk in talks)), "it never arrived"
        self.network.run(30)
        for talk in talks:
            talk.check()
        for end in self.talks:
            stats = end.association.stats()
            assert stats.bytes_in_flight == 0
            assert stats.buffered_amount == 0
            established = end.association._established
            assert established is not None
            assert established.sender.drained
            assert established.inbound.reassembly.held_bytes == 0
            assert not established.inbound.receipts.ranges

    @staticmethod
    def _listener(talk: Talk) -> Callable[[Event], None]:
        def listen(event: Event) -> None:
            assert not isinstance(event, AssociationClosed), event
            for message in heard(event):
                talk.heard[message.channel_id].append(message.data)

        return listen


sayings = st.lists(
    st.tuples(
        st.booleans(),
        st.integers(0, len(KINDS) - 1),
        st.sampled_from([6, 64, 700, 1160, 1200, 5000, 40_000]),
        st.sampled_from([0.0, 0.0, 0.001, 0.05, 0.5]),
        st.integers(1, 8),
    ),
    max_size=25,
)


@MANY
@given(
    seed=st.integers(0, 2**32 - 1),
    there=impairments,
    back=impairments,
    sayings=sayings,
    interleaving=st.booleans(),
    control=st.sampled_from(CongestionControl),
    random=st.sampled_from([Random, NearTheEnd]),
)
def test_whatever_the_network_does_what_must_arrive_arrives_once(  # noqa: PLR0917
    seed: int,
    there: Impairments,
    back: Impairments,
    sayings: list[tuple[bool, int, int, float, int]],
    interleaving: bool,
    control: CongestionControl,
    random: type[Random],
) -> None:
    note(f"seed {seed}")
    client, server = (
        SctpConfig(role=role, interleaving=interleaving, congestion_control=control) for role in Role
    )
    conversation = Conversation(Network(seed, there, back, client=client, server=server, random=random))
    for from_client, channel, size, pause, times in sayings:
        end = conversation.network.client if from_client else conversation.network.server
        for _ in range(times):
            conversation.say(end, channel, size)
        conversation.network.run(pause)
    conversation.finish()


def test_the_same_seed_gives_the_same_run() -> None:
    def packets() -> list[bytes]:
        conversation = Conversation(Network(7, Impairments(loss=0.1, reordering=0.1, duplication=0.1)))
        sent: list[bytes] = []
        conversation.network.client.sent = sent
        for index in range(40):
            conversation.say(conversation.network.client, index % len(KINDS), 3000)
            conversation.network.run(0.01)
        conversation.finish()
        return sent

    assert packets() == packets()


@pytest.mark.parametrize("interleaving", [False, True])
def test_every_number_wraps_around(interleaving: bool) -> None:
    """TSNs begin just before their end; an ordered stream has more messages than it has numbers."""
    network = Network(
        3,
        Impairments(delay=0.001, loss=0.005),
        client=SctpConfig(role=Role.CLIENT, interleaving=interleaving),
        server=SctpConfig(role=Role.SERVER, interleaving=interleaving),
        random=NearTheEnd,
    )
    network.connect(0)
    for start in range(0, 70_000, 1000):
        for index in range(start, start + 1000):
            network.client.association.send(0, index.to_bytes(3, "big"), network.clock.now)
        network.client.drain()
        network.run(0.01)
    network.run(60, lambda: len(network.server.messages) == 70_000)
    assert [int.from_bytes(message.data, "big") for message in network.server.messages] == list(range(70_000))
