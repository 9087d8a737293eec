"""What every transport guarantees: one suite for memory transports and for WebRTC, on virtual and real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from functools import partial

import pytest

from rtcmesh.netem import LinkConfig, VirtualNetwork, run_virtual, virtual_webrtc
from rtcmesh.peer.errors import TransportFailed
from rtcmesh.peer.paths.transport import HIGH_WATER_BYTES, LOW_WATER_BYTES, Transport, TransportFactory
from rtcmesh.peer.testing import MemoryNetwork
from rtcmesh.peer.webrtc import WebRtcConfig, WebRtcTransport
from rtcmesh.peer.webrtc.plain_ice import PlainIce


class Sink:
    """Writes down what a transport reports, and holds it to the rules of the seam."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.closed = asyncio.Event()
        self.writable = asyncio.Event()
        self.packets: list[bytes] = []
        self.datagrams: list[bytes] = []
        self.candidates: asyncio.Queue[str] = asyncio.Queue()
        self.changed = asyncio.Event()
        self.reason = ""

    def transport_opened(self) -> None:
        assert not self.opened.is_set(), "opened twice"
        self.opened.set()

    def candidate_gathered(self, candidate: str) -> None:
        self.candidates.put_nowait(candidate)

    def packet_received(self, packet: bytes) -> None:
        assert self.opened.is_set(), "a packet before the transport was open"
        assert not self.closed.is_set(), "a packet after the end"
        self.packets.append(packet)
        self.changed.set()

    def datagram_received(self, datagram: bytes) -> None:
        assert self.opened.is_set(), "a datagram before the transport was open"
        self.datagrams.append(datagram)
        self.changed.set()

    def transport_writable(self) -> None:
        self.writable.set()

    def transport_closed(self, reason: str) -> None:
        assert reason
        self.reason = reason
        assert not self.closed.is_set(), "closed twice"
        self.closed.set()

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.changed.clear()
            await self.changed.wait()


class End:
    """One end: a transport, its sink, and the host it stands on."""

    def __init__(self, factory: TransportFactory, host: AbstractContextManager[object]) -> None:
        self.sink = Sink()
        self.host = host
        self.transport: Transport = factory(self.sink, ())

    async def add_candidates_of(self, other: End) -> None:
        while True:
            await self.transport.add_candidate(await other.sink.candidates.get())


async def connect(offering: End, answering: End) -> None:
    with offering.host:
        offer = await offering.transport.create_offer()
    with answering.host:
        answer = await answering.transport.create_answer(offer)
    with offering.host:
        await offering.transport.accept_answer(answer)
    adding = [
        asyncio.create_task(offering.add_candidates_of(answering)),
        asyncio.create_task(answering.add_candidates_of(offering)),
    ]
    await asyncio.gather(offering.sink.opened.wait(), answering.sink.opened.wait())
    for task in adding:
        task.cancel()
    await asyncio.gather(*adding, return_exceptions=True)


VIRTUAL: dict[str, TransportFactory] = {
    "webrtc": WebRtcTransport,
    "webrtc, public names": partial(WebRtcTransport, agent=PlainIce),
}


@asynccontextmanager
async def two_ends(kind: str) -> AsyncGenerator[tuple[End, End]]:
    network = VirtualNetwork(link=LinkConfig(delay=0.02))
    hosts = network.add_host("ann"), network.add_host("bob")
    memory = MemoryNetwork(delay=0.02)
    with virtual_webrtc():
        factory = VIRTUAL.get(kind)
        factories = [factory, factory] if factory else [memory.factory("ann"), memory.factory("bob")]
        async with ends(
            *(End(factory, host) for factory, host in zip(factories, hosts, strict=True))
        ) as pair:
            yield pair


@asynccontextmanager
async def ends(ann: End, bob: End) -> AsyncGenerator[tuple[End, End]]:
    try:
        yield ann, bob
    finally:
        await asyncio.gather(ann.transport.close(), bob.transport.close())


@asynccontextmanager
async def two_real_ends() -> AsyncGenerator[tuple[End, End]]:
    """Two ends on the machine's own sockets."""
    here: AbstractContextManager[object] = nullcontext()
    async with ends(End(WebRtcTransport, here), End(WebRtcTransport, here)) as pair:
        yield pair


Scenario = Callable[[End, End], Awaitable[None]]


@pytest.fixture(params=["memory", *VIRTUAL, "webrtc, real sockets"])
def run(request: pytest.FixtureRequest) -> Callable[[Scenario], None]:
    """Run a scenario with two fresh ends of this kind."""
    return partial(run_scenario, str(request.param))


@pytest.fixture(params=[*VIRTUAL, "webrtc, real sockets"])
def run_webrtc(request: pytest.FixtureRequest) -> Callable[[Scenario], None]:
    """Run a scenario with two fresh ends on WebRTC."""
    return partial(run_scenario, str(request.param))


def run_scenario(kind: str, scenario: Scenario) -> None:
    is_real = kind == "webrtc, real sockets"

    async def main() -> None:
        async with two_real_ends() if is_real else two_ends(kind) as (ann, bob):
            await scenario(ann, bob)

    if is_real:
        asyncio.run(main())
    else:
        run_virtual(main())


def test_packets_arrive_whole_and_in_order_both_ways(run: Callable[[Scenario], None]) -> None:
    async def scenario(ann: End, bob: End) -> None:
        await connect(ann, bob)
        sent = [b"%d " % number + bytes(number * 100) for number in range(200)] + [bytes(64 * 1024 - 700)]
        for packet in sent:
            ann.transport.send(packet)
            bob.transport.send(packet[::-1])
        await bob.sink.wait_for(lambda: len(bob.sink.packets) == len(sent))
        await ann.sink.wait_for(lambda: len(ann.sink.packets) == len(sent))
        assert bob.sink.packets == sent
        assert ann.sink.packets == [packet[::-1] for packet in sent]

    run(scenario)


def test_datagrams_cross(run: Callable[[Scenario], None]) -> None:
    async def scenario(ann: End, bob: End) -> None:
        await connect(ann, bob)
        ann.transport.send_datagram(b"ping")
        await bob.sink.wait_for(lambda: bob.sink.datagrams == [b"ping"])

    run(scenario)


def test_what_is_sent_at_the_moment_of_opening_arrives(run: Callable[[Scenario], None]) -> None:
    async def scenario(ann: End, bob: End) -> None:
        connecting = asyncio.create_task(connect(ann, bob))
        await ann.sink.opened.wait()
        ann.transport.send(b"first")
        await connecting
        await bob.sink.wait_for(lambda: bob.sink.packets == [b"first"])

    run(scenario)


def test_the_other_end_learns_of_the_close(run: Callable[[Scenario], None]) -> None:
    async def scenario(ann: End, bob: End) -> None:
        await connect(ann, bob)
        before = asyncio.get_running_loop().time()
        await ann.transport.close()
        await bob.sink.closed.wait()
        assert asyncio.get_running_loop().time() - before < 2
        assert not ann.sink.closed.is_set(), "who closes is not told"

    run(scenario)


def test_after_the_end_sending_is_harmless_and_closing_is_idempotent(run: Callable[[Scenario], None]) -> None:
    async def scenario(ann: End, bob: End) -> None:
        ann.transport.send(b"too early")
        ann.transport.send_datagram(b"too early")
        await connect(ann, bob)
        await ann.transport.close()
        await ann.transport.close()
        ann.transport.send(b"too late")
        ann.transport.send_datagram(b"too late")
        await bob.sink.closed.wait()
        bob.transport.send(b"too late")
        assert bob.sink.packets == []

    run(scenario)


def test_a_description_that_makes_no_sense_is_a_typed_error(run: Callable[[Scenario], None]) -> None:
    async def scenario(ann: End, bob: End) -> None:
        with bob.host, pytest.raises(TransportFailed):
            await bob.transport.create_answer("garbage")
        with ann.host:
            await ann.transport.create_offer()
            with pytest.raises(TransportFailed):
                await ann.transport.accept_answer("garbage")

    run(scenario)


def test_a_transport_can_be_closed_at_any_time(run: Callable[[Scenario], None]) -> None:
    async def scenario(ann: End, bob: End) -> None:
        with ann.host:
            await ann.transport.create_offer()
        await ann.transport.close()
        await bob.transport.close()

    run(scenario)


def test_what_is_buffered_is_told_and_drains(run_webrtc: Callable[[Scenario], None]) -> None:
    async def scenario(ann: End, bob: End) -> None:
        await connect(ann, bob)
        sent = 0
        while ann.transport.buffered_amount < HIGH_WATER_BYTES:
            ann.transport.send(bytes(16_000))
            sent += 1
        await ann.sink.writable.wait()
        assert ann.transport.buffered_amount <= LOW_WATER_BYTES
        await bob.sink.wait_for(lambda: len(bob.sink.packets) == sent)

    run_webrtc(scenario)


def test_what_was_sent_before_the_close_arrives(run_webrtc: Callable[[Scenario], None]) -> None:
    async def scenario(ann: End, bob: End) -> None:
        await connect(ann, bob)
        sent = [bytes([number]) * 16_000 for number in range(100)]
        for packet in sent:
            ann.transport.send(packet)
        await ann.transport.close()
        await bob.sink.closed.wait()
        assert bob.sink.packets == sent
        assert bob.sink.reason == "shutdown"

    run_webrtc(scenario)


def test_figures_tell_what_happened(run_webrtc: Callable[[Scenario], None]) -> None:
    async def scenario(ann: End, bob: End) -> None:
        before = ann.transport.stats()
        assert before is not None
        assert (before.dtls_state, before.dtls_role, before.data_channels) == ("new", None, ())
        await connect(ann, bob)
        for _ in range(10):
            ann.transport.send(bytes(5_000))
        await bob.sink.wait_for(lambda: len(bob.sink.packets) == 10)
        sent, received = ann.transport.stats(), bob.transport.stats()
        assert sent is not None
        assert received is not None
        assert (sent.dtls_state, {sent.dtls_role, received.dtls_role}) == ("connected", {"client", "server"})
        assert 50_000 < sent.bytes_sent < 75_000  # with the largest packet that was tried
        assert received.packets_received >= 10
        assert sent.data_channels[0].messages_sent == received.data_channels[0].messages_received == 10
        assert sent.congestion_window > 0
        assert sent.current_round_trip_time is not None

    run_webrtc(scenario)


def test_the_selected_pair_is_told() -> None:
    async def scenario(ann: End, bob: End) -> None:
        await connect(ann, bob)
        stats = ann.transport.stats()
        assert stats is not None
        assert " 10.0.0.1 " in str(stats.local_candidate)
        assert " 10.0.0.2 " in str(stats.remote_candidate)

    run_scenario("webrtc", scenario)


def test_candidates_may_come_before_the_description_that_they_belong_to() -> None:
    async def scenario(ann: End, bob: End) -> None:
        with ann.host:
            offer = await ann.transport.create_offer()
        lines = offer.splitlines(keepends=True)
        candidates = [line for line in lines if line.startswith(("a=candidate", "a=end-of"))]
        for line in candidates:
            await bob.transport.add_candidate(line.strip() if "candidate:" in line else "")
        with bob.host:
            answer = await bob.transport.create_answer(
                "".join(line for line in lines if line not in candidates)
            )
        with ann.host:
            await ann.transport.accept_answer(answer)
        await asyncio.gather(ann.sink.opened.wait(), bob.sink.opened.wait())

    run_scenario("webrtc", scenario)


def test_a_remote_end_that_fell_silent_does_not_hold_up_the_close() -> None:
    async def main() -> None:
        network = VirtualNetwork(link=LinkConfig(delay=0.02))
        with virtual_webrtc():
            ann, bob = (End(WebRtcTransport, network.add_host(name)) for name in ("ann", "bob"))
            await connect(ann, bob)
            network.partition(*network.hosts)
            ann.transport.send(b"in vain")
            before = asyncio.get_running_loop().time()
            await ann.transport.close()
            assert asyncio.get_running_loop().time() - before <= WebRtcConfig().close_timeout + 0.1
            assert not ann.sink.closed.is_set(), "who closes is not told"
            await bob.transport.close()

    run_virtual(main())


def test_packets_grow_as_far_as_both_ends_and_the_path_carry_them() -> None:
    async def main() -> None:
        factory = WebRtcTransport.factory(WebRtcConfig())
        here: AbstractContextManager[object] = nullcontext()
        async with ends(End(factory, here), End(factory, here)) as (ann, bob):
            await connect(ann, bob)
            mtu = 0
            while mtu < 8_000:
                bob.sink.packets.clear()
                ann.transport.send(bytes(60_000))
                await bob.sink.wait_for(lambda: bob.sink.packets != [])
                stats = ann.transport.stats()
                assert stats is not None
                mtu = stats.mtu

    asyncio.run(main())


@pytest.mark.parametrize("seed", range(5))
def test_ten_percent_of_loss_is_survived(seed: int) -> None:
    async def main() -> None:
        network = VirtualNetwork(link=LinkConfig(delay=0.025, loss=0.1))
        with virtual_webrtc():
            ann, bob = (End(WebRtcTransport, network.add_host(name)) for name in ("ann", "bob"))
            async with ends(ann, bob):
                await connect(ann, bob)
                sent = [bytes([number]) * 10_000 for number in range(50)]
                for packet in sent:
                    ann.transport.send(packet)
                await ann.transport.close()
                assert bob.sink.packets == sent

    run_virtual(main(), seed=seed)


def test_an_offer_of_a_foreign_application_without_data_channels_is_a_typed_error() -> None:
    sdp = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\nc=IN IP4 0.0.0.0\r\n"

    async def main() -> None:
        async with two_ends("webrtc") as (_, bob):
            with bob.host, pytest.raises(TransportFailed):
                await bob.transport.create_answer(sdp)

    run_virtual(main())
