"""DATA behind COOKIE ECHO, theirs and ours: it arrives with the cookie, once, and never before both ends agree."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.peer.sctp import (
    AssociationClosed,
    AssociationConnected,
    AssociationRestarted,
    ChannelOpened,
    CloseReason,
    MessagesReceived,
    Role,
    SctpConfig,
)
from rtcmesh.peer.sctp.chunks import (
    CHUNK_HEADER,
    ChunkType,
    Init,
    decode_init,
    encode_causes,
    encode_chunk,
    encode_init,
)
from rtcmesh.peer.sctp.data_chunks import DATA_HEADER, WHOLE
from rtcmesh.peer.sctp.dcep import Open, PayloadProtocol, encode_open
from rtcmesh.peer.sctp.extensions import cookie_of
from rtcmesh.peer.sctp.packet import HEADER_BYTES
from rtcmesh.peer.sctp.parameters import Cause, Parameter, ParameterType
from support.sctp import Clock, End, Impairments, Network, Pipe, seal

DELAY = 0.025
"""One way."""
ROUND_TRIP = 2 * DELAY


def chunks_of(packet: bytes) -> list[int]:
    """Return the types of the chunks in a packet."""
    kinds: list[int] = []
    offset = HEADER_BYTES
    while offset < len(packet):
        kind, _, length = CHUNK_HEADER.unpack_from(packet, offset)
        kinds.append(kind)
        offset += (length + 3) & ~3
    return kinds


def echoes(end: End) -> list[bytes]:
    """Return the packets with a COOKIE ECHO that an end has sent."""
    assert end.sent is not None
    return [packet for packet in end.sent if packet[HEADER_BYTES] == ChunkType.COOKIE_ECHO]


def asking(network: Network, *messages: bytes) -> None:
    """Let the client open a channel, send on it, and ask."""
    client = network.client
    client.sent = []
    client.association.open_channel(0, label="early")
    for message in messages:
        client.association.send(0, message, 0)
    client.do(lambda association, now: association.connect(now))


def received(end: End) -> list[bytes]:
    return [event.data for event in end.messages]


def kinds_of_events(end: End) -> list[type]:
    return [type(event) for event in end.events]


class Refusing(Pipe):
    """A path on which nothing comes through that has company beside a COOKIE ECHO."""

    def __init__(self, clock: Clock, before: Pipe) -> None:
        super().__init__(clock, Random(1), before.impairments)

    def send(self, packet: bytes, deliver: Callable[[bytes], None]) -> None:
        kinds = chunks_of(packet)
        if kinds[0] != ChunkType.COOKIE_ECHO or len(kinds) == 1:
            super().send(packet, deliver)


class Holding(Pipe):
    """A path that keeps everything but INIT back."""

    def __init__(self, clock: Clock, before: Pipe) -> None:
        super().__init__(clock, Random(1), before.impairments)
        self.held: list[bytes] = []

    def send(self, packet: bytes, deliver: Callable[[bytes], None]) -> None:
        if chunks_of(packet)[0] == ChunkType.INIT:
            super().send(packet, deliver)
        else:
            self.held.append(packet)


# Ours


def test_the_first_message_takes_one_round_trip_and_a_half() -> None:
    network = Network(1, Impairments(delay=DELAY))
    asking(network, b"first", b"second")
    assert network.run(1, lambda: bool(network.server.messages))
    assert network.clock.now == pytest.approx(1.5 * ROUND_TRIP)
    assert kinds_of_events(network.server) == [AssociationConnected, ChannelOpened, MessagesReceived]
    assert [message.data for message in network.server.messages] == [b"first", b"second"]
    assert network.run(1, lambda: any(isinstance(event, ChannelOpened) for event in network.client.events))
    assert network.clock.now == pytest.approx(2 * ROUND_TRIP)
    assert [len(echoes(network.client)), network.client.association.stats().packets_retransmitted] == [1, 0]


def test_both_may_ask_and_send_at_once() -> None:
    network = Network(1, Impairments(delay=DELAY))
    for end, channel in ((network.client, 0), (network.server, 1)):
        end.association.open_channel(0, label="early")
        end.association.send(channel, b"first", 0)
    for end in (network.client, network.server):
        end.do(lambda association, now: association.connect(now))
    assert network.run(1, lambda: bool(network.client.messages and network.server.messages))
    assert network.clock.now == pytest.approx(1.5 * ROUND_TRIP)
    network.run(5)
    for end in (network.client, network.server):
        assert received(end) == [b"first"]
        assert end.association.stats().packets_retransmitted == 0


def test_one_packet_leaves_and_no_more_until_the_cookie_ack_is_there() -> None:
    network = Network(1, Impairments(delay=DELAY))
    asking(network, bytes(100_000))
    network.run(2 * ROUND_TRIP - 0.001)
    assert network.client.sent is not None
    assert [chunks_of(packet) for packet in network.client.sent] == [
        [ChunkType.INIT],
        [ChunkType.COOKIE_ECHO, ChunkType.I_DATA, ChunkType.I_DATA],
    ]
    assert max(map(len, network.client.sent)) <= SctpConfig(role=Role.CLIENT).packet_bytes
    network.run(5)
    assert received(network.server) == [bytes(100_000)]


def test_a_lost_cookie_echo_is_sent_again_with_its_data() -> None:
    network = Network(1, Impairments(delay=DELAY))
    client = network.client
    asking(network, b"first")
    network.run(ROUND_TRIP - 0.001)
    assert client.pipe is not None
    client.pipe.impairments = Impairments(loss=1)
    network.run(0.002)
    client.pipe.impairments = Impairments(delay=DELAY)
    network.run(5)
    first, second = echoes(client)
    assert first == second
    assert received(network.server) == [b"first"]
    stats = client.association.stats()
    assert stats.packets_retransmitted == 1
    # Karn's rule: which of the two was acknowledged is not known.
    assert stats.smoothed_round_trip_time == pytest.approx(ROUND_TRIP)


def test_a_cookie_that_is_lost_again_goes_alone() -> None:
    """Something on the way, or at the other end, may not stand the company."""
    network = Network(1, Impairments(delay=DELAY))
    client, server = network.client, network.server
    assert client.pipe is not None
    client.pipe = Refusing(network.clock, client.pipe)
    asking(network, b"first")
    assert network.run(5, lambda: bool(server.messages))
    first, second, third = (chunks_of(packet) for packet in echoes(client))
    assert first == second == [ChunkType.COOKIE_ECHO, ChunkType.I_DATA, ChunkType.I_DATA]
    assert third == [ChunkType.COOKIE_ECHO]
    assert network.clock.now == pytest.approx(1.5 * ROUND_TRIP + 0.3 + 0.6 + ROUND_TRIP, abs=0.01)
    network.run(5)
    assert received(server) == [b"first"]
    assert client.association.stats().bytes_in_flight == 0


def test_a_lost_cookie_ack_brings_no_message_twice() -> None:
    network = Network(1, Impairments(delay=DELAY))
    server = network.server
    asking(network, b"first")
    network.run(1.5 * ROUND_TRIP - 0.001)
    assert server.pipe is not None
    server.pipe.impairments = Impairments(loss=1)
    network.run(0.2)
    assert received(server) == [b"first"]
    server.pipe.impairments = Impairments(delay=DELAY)
    network.run(5)
    assert len(echoes(network.client)) == 2
    assert kinds_of_events(server) == [AssociationConnected, ChannelOpened, MessagesReceived]
    assert kinds_of_events(network.client) == [AssociationConnected, ChannelOpened]


def test_the_data_behind_a_stale_cookie_is_taken_with_the_next_one() -> None:
    network = Network(1, Impairments(delay=0.01), server=SctpConfig(role=Role.SERVER, cookie_lifetime=0.015))
    client, server = network.client, network.server
    asking(network, b"first")
    network.run(0.015)
    assert client.pipe is not None
    client.pipe.impairments = Impairments(delay=0.04)  # of the COOKIE ECHO alone
    network.run(0.02)
    assert server.pipe is not None
    client.pipe.impairments = server.pipe.impairments = Impairments(delay=0.001)
    server.sent = []
    network.run(0.03, lambda: bool(server.sent))
    assert server.sent[0][HEADER_BYTES] == ChunkType.ERROR
    assert not server.events
    network.run(5)
    first, second = (chunks_of(packet) for packet in echoes(client))
    assert first == second == [ChunkType.COOKIE_ECHO, ChunkType.I_DATA, ChunkType.I_DATA]
    assert kinds_of_events(server) == [AssociationConnected, ChannelOpened, MessagesReceived]


class Answering:
    """An end that asks, and a remote end without extensions that answers what the test wants."""

    def __init__(self) -> None:
        self.end = End(Clock(), SctpConfig(role=Role.CLIENT), 1)
        self.end.sent = []
        self._tag = 0

    def ask(self) -> None:
        self.end.do(lambda association, now: association.connect(now))

    def init_ack(self, cookie: bytes = b"cookie", *, window: int = 100_000, streams: int = 10) -> bytes:
        """Answer the newest INIT, and return the packet that follows."""
        assert self.end.sent is not None
        self._tag = int.from_bytes(self.end.sent[-1][16:20], "big")
        state = Parameter(ParameterType.STATE_COOKIE, cookie)
        self.say(encode_init(ChunkType.INIT_ACK, Init(9, window, streams, streams, 5, [state])))
        return self.end.sent[-1]

    def say(self, chunk: bytes) -> None:
        self.end.receive([seal(chunk, self._tag)])


ALONE, WITH_DATA = [ChunkType.COOKIE_ECHO], [ChunkType.COOKIE_ECHO, ChunkType.DATA]


@pytest.mark.parametrize(
    ("cookie_bytes", "window", "streams", "expected"),
    [
        (100, 100_000, 10, WITH_DATA),
        (100, 100_000, 3, WITH_DATA),
        (1040, 100_000, 10, WITH_DATA),
        (1060, 100_000, 10, ALONE),
        (5000, 100_000, 10, ALONE),
        (100, 500, 10, ALONE),
        (100, 0, 10, ALONE),
        (100, 100_000, 2, ALONE),
    ],
)
def test_a_cookie_goes_alone_where_data_has_no_room_at_the_other_end_or_beside_it(
    cookie_bytes: int, window: int, streams: int, expected: list[int]
) -> None:
    remote = Answering()
    remote.end.association.open_channel(0, negotiated_id=2)
    remote.end.association.send(2, b"first", 0)
    remote.ask()
    assert chunks_of(remote.init_ack(bytes(cookie_bytes), window=window, streams=streams)) == expected


@pytest.mark.parametrize(
    "early",
    [
        encode_causes(ChunkType.ERROR, [Parameter(Cause.STALE_COOKIE, bytes(4))]),
        encode_chunk(ChunkType.COOKIE_ACK),
    ],
)
def test_what_answers_a_cookie_that_was_not_sent_yet_changes_nothing(early: bytes) -> None:
    """In one read batch with the cookie itself, before the next packet leaves."""
    remote = Answering()
    end = remote.end
    remote.ask()
    assert end.sent is not None
    tag = int.from_bytes(end.sent[-1][16:20], "big")
    state = Parameter(ParameterType.STATE_COOKIE, b"cookie")
    answer = encode_init(ChunkType.INIT_ACK, Init(9, 100_000, 10, 10, 5, [state]))
    end.receive([seal(answer, tag), seal(early, tag)])
    assert chunks_of(end.sent[-1]) == ALONE
    assert not end.events
    end.receive([seal(encode_chunk(ChunkType.COOKIE_ACK), tag)])
    assert end.events == [AssociationConnected()]


@pytest.mark.parametrize("limits", [{"max_retransmits": 0}, {"max_lifetime": 1.0}])
def test_what_may_be_lost_is_not_sent_again_with_a_cookie(limits: dict[str, int]) -> None:
    remote = Answering()
    association = remote.end.association
    association.open_channel(0, negotiated_id=0, **limits)  # type: ignore[arg-type]
    association.open_channel(0, negotiated_id=2)
    association.send(0, b"ping", 0)
    association.send(2, b"first", 0)
    remote.ask()
    assert chunks_of(remote.init_ack()) == [ChunkType.COOKIE_ECHO, ChunkType.DATA, ChunkType.DATA]
    remote.end._clock.run(0.35)
    assert remote.end.sent is not None
    assert chunks_of(remote.end.sent[-1]) == WITH_DATA
    assert b"first" in remote.end.sent[-1]
    remote.end._clock.run(1)
    assert chunks_of(remote.end.sent[-1]) == ALONE


@pytest.mark.parametrize("loss", [False, True])
def test_a_ping_and_a_message_share_the_packet_of_the_cookie(loss: bool) -> None:
    network = Network(1, Impairments(delay=DELAY))
    client, server = network.client, network.server
    for end in (client, server):
        end.association.open_channel(0, negotiated_id=0)
        end.association.open_channel(0, negotiated_id=1, ordered=False, max_retransmits=0)

    def say() -> None:
        client.association.send(1, b"ping", network.clock.now)
        client.association.send(0, b"first", network.clock.now)
        assert client.pipe is not None
        client.pipe.impairments = Impairments(delay=DELAY, loss=float(loss))

    client.on_answer = say
    client.do(lambda association, now: association.connect(now))
    network.run(ROUND_TRIP + 0.001)
    assert client.answered_at == [ROUND_TRIP]
    network.heal()
    network.run(5)
    assert received(server) == ([b"first"] if loss else [b"ping", b"first"])
    stats = client.association.stats()
    assert (stats.bytes_in_flight, stats.messages_abandoned) == (0, int(loss))
    assert stats.smoothed_round_trip_time == pytest.approx(ROUND_TRIP)
    client.association.send(1, b"pong", network.clock.now)
    client.drain()
    network.run(1)
    assert received(server)[-1] == b"pong", "what was abandoned is passed over"


def test_an_answer_that_comes_with_the_other_ends_cookie_needs_none_of_ours() -> None:
    network = Network(1, Impairments(delay=DELAY))
    client, server = network.client, network.server
    client.sent = []
    for end in (client, server):
        end.association.open_channel(0, negotiated_id=0)
        end.association.send(0, b"first", 0)
        end.do(lambda association, now: association.connect(now))
    assert server.pipe is not None
    holding = Holding(network.clock, server.pipe)
    server.pipe = holding
    network.run(1.5 * ROUND_TRIP + 0.001)
    server.pipe = Pipe(network.clock, Random(1), holding.impairments)
    client.receive(holding.held)
    assert not echoes(client)
    assert client.events[0] == AssociationConnected()
    network.run(5)
    assert received(client) == received(server) == [b"first"]


def test_what_a_larger_cookie_leaves_no_room_for_follows_it() -> None:
    remote = Answering()
    end = remote.end
    end.association.open_channel(0, negotiated_id=0)
    end.association.send(0, b"x" * 900, 0)
    remote.ask()
    assert chunks_of(remote.init_ack()) == WITH_DATA
    remote.say(encode_causes(ChunkType.ERROR, [Parameter(Cause.STALE_COOKIE, bytes(4))]))
    assert chunks_of(remote.init_ack(bytes(400))) == ALONE
    remote.say(encode_chunk(ChunkType.COOKIE_ACK))
    assert end.sent is not None
    sent_before = len(end.sent)
    end._clock.run(1)
    assert b"x" * 900 in end.sent[sent_before]


def test_the_first_sample_of_the_round_trip_is_no_longer_than_one() -> None:
    network = Network(1, Impairments(delay=DELAY))
    client = network.client
    for end in (client, network.server):
        end.association.open_channel(0, negotiated_id=0)
    client.association.send(0, b"first", 0)
    client.do(lambda association, now: association.connect(now))
    network.run(1)
    assert received(network.server) == [b"first"]
    stats = client.association.stats()
    assert stats.bytes_in_flight == 0
    assert stats.smoothed_round_trip_time == pytest.approx(ROUND_TRIP)


def test_what_went_with_a_repeated_cookie_has_the_time_of_the_last_one_to_be_acknowledged() -> None:
    remote = Answering()
    end, clock = remote.end, remote.end._clock
    assert end.sent is not None
    end.association.open_channel(0, negotiated_id=0)
    end.association.send(0, b"first", 0)
    remote.ask()
    clock.run(0.1)
    echo = remote.init_ack()
    clock.run(0.45)
    assert end.sent[-2:] == [echo, echo]
    remote.say(encode_chunk(ChunkType.COOKIE_ACK))
    sent_before = len(end.sent)
    clock.run(0.7)
    assert len(end.sent) == sent_before
    clock.run(0.8)
    assert chunks_of(end.sent[sent_before]) == [ChunkType.DATA]


def test_a_remote_end_that_begins_anew_does_not_get_what_the_last_one_got() -> None:
    network = Network(1, Impairments(delay=DELAY))
    asking(network, b"first")
    network.run(1)
    old = network.server
    network.server = End(network.clock, SctpConfig(role=Role.SERVER), 77)
    network.server.pipe, network.server.remote = old.pipe, network.client
    network.client.remote = network.server
    network.server.do(lambda association, now: association.connect(now))
    network.run(5)
    assert AssociationRestarted() in network.client.events
    assert network.server.events == [AssociationConnected()]
    assert network.client.association.stats().bytes_in_flight == 0


def test_a_channel_that_closes_meanwhile_closes_after_its_message_has_arrived() -> None:
    network = Network(1, Impairments(delay=DELAY))
    asking(network, b"first")
    network.run(ROUND_TRIP + 0.001)
    network.client.do(lambda association, now: association.close_channel(0, now))
    network.client.do(lambda association, now: association.shutdown(now))
    network.run(5)
    assert received(network.server) == [b"first"]
    for end in (network.client, network.server):
        assert end.events[-1] == AssociationClosed(CloseReason.SHUTDOWN)


@given(
    seed=st.integers(0, 2**32),
    path=st.builds(
        Impairments, loss=st.floats(0, 0.4), duplication=st.floats(0, 0.5), reordering=st.floats(0, 0.5)
    ),
    cookie_lifetime=st.sampled_from([0.03, 60.0]),
    both_ask=st.booleans(),
    sizes=st.lists(st.integers(1, 3000), min_size=1, max_size=6),
)
def test_whatever_happens_to_the_handshake_every_message_arrives_once(
    seed: int,
    path: Impairments,
    cookie_lifetime: float,
    both_ask: bool,
    sizes: list[int],
) -> None:
    server = SctpConfig(role=Role.SERVER, cookie_lifetime=cookie_lifetime)
    network = Network(seed, path, server=server)
    both = ((network.client, 0), (network.server, 1))
    sent = [bytes([number]) * size for number, size in enumerate(sizes)]
    for end, channel in both:
        end.association.open_channel(0, label="early")
        for message in sent:
            end.association.send(channel, message, 0)
    for end, _ in both if both_ask else both[:1]:
        end.do(lambda association, now: association.connect(now))
    network.run(2)
    network.heal()
    network.run(60)
    for end, _ in both:
        assert received(end) == sent
        assert end.events[0] == AssociationConnected()
        assert end.events.count(AssociationConnected()) == 1


# Theirs


class Asking:
    """A remote end that sends DATA behind its COOKIE ECHO, to an end that answers."""

    def __init__(self, peer_tag: int = 9) -> None:
        self.end = End(Clock(), SctpConfig(role=Role.SERVER), 1)
        self.end.sent = []
        self.end.receive([seal(encode_init(ChunkType.INIT, Init(peer_tag, 100_000, 10, 10, 5)), 0)])
        (answer,) = self.end.sent
        init_ack = decode_init(answer[HEADER_BYTES + CHUNK_HEADER.size :])
        self.cookie = cookie_of(init_ack.parameters)
        self._tag = init_ack.initiate_tag

    def say(self, *chunks: bytes) -> None:
        self.end.receive([seal(b"".join(chunks), self._tag)])

    def echo_with_data(self, cookie: bytes) -> None:
        """Send a COOKIE ECHO, and behind it what opens a channel, and a message on it."""
        opening = encode_open(Open("theirs", "", True, None, None, 256))
        self.say(
            encode_chunk(ChunkType.COOKIE_ECHO, cookie),
            data_chunk(5, 0, PayloadProtocol.DCEP, opening),
            data_chunk(6, 1, PayloadProtocol.BINARY, b"first"),
        )


def data_chunk(tsn: int, number: int, ppid: int, payload: bytes) -> bytes:
    header = DATA_HEADER.pack(ChunkType.DATA, WHOLE, 16 + len(payload), tsn, 0, number, ppid)
    return header + payload + bytes(-len(payload) % 4)


EVENTS = [AssociationConnected, ChannelOpened, MessagesReceived]


def test_data_of_others_is_taken_after_their_cookie_and_once() -> None:
    remote = Asking()
    remote.echo_with_data(remote.cookie)
    assert kinds_of_events(remote.end) == EVENTS
    assert remote.end.sent is not None
    # The acknowledgement does not wait for company: the first sample of the round trip would be too long.
    assert chunks_of(remote.end.sent[1])[:2] == [ChunkType.COOKIE_ACK, ChunkType.SACK]
    for _ in range(3):
        remote.echo_with_data(remote.cookie)
    assert kinds_of_events(remote.end) == EVENTS


def test_data_without_a_cookie_or_behind_a_bad_one_is_not_taken() -> None:
    remote = Asking()
    remote.say(data_chunk(6, 1, PayloadProtocol.BINARY, b"first"))
    remote.echo_with_data(remote.cookie[:-1] + bytes([remote.cookie[-1] ^ 1]))
    remote.say(
        data_chunk(6, 1, PayloadProtocol.BINARY, b"first"), encode_chunk(ChunkType.COOKIE_ECHO, remote.cookie)
    )
    assert not remote.end.events
    remote.echo_with_data(remote.cookie)
    assert kinds_of_events(remote.end) == EVENTS


def forged(cookie: bytes) -> bytes:
    return cookie[:-1] + bytes([cookie[-1] ^ 1])


def foreign(cookie: bytes) -> bytes:
    """Return the good cookie of another association with the same end's key, whose tags are others."""
    del cookie
    return Asking(peer_tag=10).cookie


@pytest.mark.parametrize("refused", [forged, foreign])
def test_data_behind_a_refused_cookie_is_not_taken_in_the_midst_either(
    refused: Callable[[bytes], bytes],
) -> None:
    remote = Asking()
    remote.say(encode_chunk(ChunkType.COOKIE_ECHO, remote.cookie))
    assert remote.end.sent is not None
    sent_before = len(remote.end.sent)
    remote.echo_with_data(refused(remote.cookie))
    remote.end._clock.run(1)
    assert kinds_of_events(remote.end) == [AssociationConnected]
    assert len(remote.end.sent) == sent_before, "neither acknowledged nor answered"
    remote.echo_with_data(remote.cookie)
    assert kinds_of_events(remote.end) == EVENTS


def test_what_came_before_a_refused_cookie_counts() -> None:
    remote = Asking()
    remote.say(encode_chunk(ChunkType.COOKIE_ECHO, remote.cookie))
    opening = encode_open(Open("theirs", "", True, None, None, 256))
    remote.say(
        data_chunk(5, 0, PayloadProtocol.DCEP, opening),
        encode_chunk(ChunkType.COOKIE_ECHO, forged(remote.cookie)),
        data_chunk(6, 1, PayloadProtocol.BINARY, b"first"),
    )
    assert kinds_of_events(remote.end) == [AssociationConnected, ChannelOpened]
    assert remote.end.sent is not None
    assert ChunkType.SACK in chunks_of(remote.end.sent[-1])
