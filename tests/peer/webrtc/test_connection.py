"""A whole connection: negotiation, early arrivals, faults and ends."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtcmesh.netem import LinkConfig, VirtualNetwork, run_virtual, virtual_webrtc
from rtcmesh.peer.errors import TransportFailed
from rtcmesh.peer.sctp import Event, MessagesReceived
from rtcmesh.peer.webrtc import BadDescription, Candidate, CandidatePair, Certificate, WebRtcConfig
from rtcmesh.peer.webrtc.datagrams import Datagrams
from rtcmesh.peer.webrtc.ice import IceListener
from rtcmesh.peer.webrtc.ice_server import StunServer, TurnServer
from support.endpoint import Endpoint


class Wire:
    """Two agents that reach each other at once, and say so when the test wants it."""

    def __init__(self) -> None:
        self.ends: list[WireAgent] = []

    def agent(
        self,
        listener: IceListener,
        servers: Sequence[StunServer | TurnServer],
        config: WebRtcConfig,
        *,
        is_controlling: bool,
    ) -> WireAgent:
        end = WireAgent(self, listener)
        self.ends.append(end)
        return end


class WireAgent:
    """One end; see `IceAgent`."""

    ufrag, password = "wire", "w" * 22
    selected_pair: CandidatePair | None = None

    def __init__(self, wire: Wire, listener: IceListener) -> None:
        self._wire = wire
        self.listener = listener
        self.sent = 0

    async def gather(self) -> None:
        self.listener.candidate_found(None)

    async def add_remote_candidate(self, candidate: Candidate | None) -> None: ...

    def start(self, ufrag: str, password: str, *, is_lite: bool) -> None: ...

    def send(self, datagrams: Datagrams) -> None:
        self.sent += 1
        (other,) = [end for end in self._wire.ends if end is not self]
        whole = Datagrams(bytes(datagrams.data), datagrams.size_bytes)
        asyncio.get_running_loop().call_later(0.01, other.listener.datagrams_received, whole)

    async def close(self) -> None: ...


async def negotiate(ann: Endpoint, bob: Endpoint) -> None:
    await ann.connection.accept_answer(
        await bob.connection.create_answer(await ann.connection.create_offer())
    )


async def close(*endpoints: Endpoint) -> None:
    await asyncio.gather(*(endpoint.connection.close() for endpoint in endpoints))


def test_what_comes_before_our_own_pair_is_kept() -> None:
    async def main() -> None:
        wire = Wire()
        ann, bob = Endpoint(agent=wire.agent), Endpoint(agent=wire.agent)
        await negotiate(ann, bob)
        bob.connection.pair_selected()  # the answering end is the DTLS client
        await asyncio.sleep(0.05)
        sent = wire.ends[1].sent
        ann.connection.pair_selected()
        await asyncio.gather(ann.wait_for(lambda: ann.is_connected), bob.wait_for(lambda: bob.is_connected))
        assert sent == 1, "the first flight was not lost"
        assert asyncio.get_running_loop().time() < 0.2
        await close(ann, bob)

    run_virtual(main())


def test_what_is_sent_before_the_connection_is_open_arrives() -> None:
    async def main() -> None:
        wire = Wire()
        ann, bob = Endpoint(agent=wire.agent), Endpoint(agent=wire.agent)
        await negotiate(ann, bob)
        for end in (ann, bob):
            end.open("early", negotiated_id=5)
            end.send("early", "a word")
        for end in (ann, bob):
            end.connection.pair_selected()
        assert await ann.messages("early", 1) == ["a word"]
        assert await bob.messages("early", 1) == ["a word"]
        await close(ann, bob)

    run_virtual(main())


async def settled(
    label: str, *, high_bytes: int, max_lifetime: float | None = None
) -> tuple[Endpoint, Endpoint]:
    """Return two ends with a channel under id 5, connected a while ago; the first has these water marks on it."""
    wire = Wire()
    ann, bob = Endpoint(agent=wire.agent), Endpoint(agent=wire.agent)
    await negotiate(ann, bob)
    for end in (ann, bob):
        end.open(label, max_lifetime=max_lifetime, negotiated_id=5)
        end.connection.pair_selected()
    await ann.wait_for(lambda: ann.is_connected)
    await asyncio.sleep(1)
    assert ann.association is not None
    ann.association.set_water_marks(5, low_bytes=512, high_bytes=high_bytes)
    return ann, bob


def test_who_may_send_more_is_told_at_once_and_not_by_the_next_packet_that_comes() -> None:
    async def main() -> None:
        ann, bob = await settled("bulk", high_bytes=1024)
        for wait in (0.0, 0.001):  # with nothing on its way, and behind something
            await asyncio.sleep(wait)
            ann.send("bulk", bytes(1024))
            sent_at = asyncio.get_running_loop().time()
            ann.writable_at.clear()
            await ann.wait_for(lambda: bool(ann.writable_at))
            assert ann.writable_at == [sent_at]
        await bob.messages("bulk", 2)
        await close(ann, bob)

    run_virtual(main())


def test_who_may_send_more_because_messages_came_too_late_is_told_as_well() -> None:
    async def main() -> None:
        ann, bob = await settled("late", high_bytes=8192, max_lifetime=0.005)
        for _ in range(100):
            ann.send("late", bytes(1100))
        async with asyncio.timeout(0.1):
            await ann.wait_for(lambda: bool(ann.writable_at))
        assert ann.association is not None
        assert ann.association.buffered_amount(5) == 0
        await close(ann, bob)

    run_virtual(main())


def test_what_a_listener_sends_before_it_fails_leaves_all_the_same() -> None:
    async def main() -> None:
        ann, bob = await settled("bulk", high_bytes=1024)
        failures: list[object] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: failures.append(context["exception"])
        )

        def fail(event: Event) -> None:
            if isinstance(event, MessagesReceived):
                bob.send("bulk", event.messages[0])
                raise ZeroDivisionError

        bob.event_received = fail  # type: ignore[method-assign]
        ann.send("bulk", b"x")
        async with asyncio.timeout(0.1):
            assert await ann.messages("bulk", 1) == [b"x"]
        assert [type(failure) for failure in failures] == [ZeroDivisionError]
        await close(ann, bob)

    run_virtual(main())


def test_an_end_with_another_certificate_is_refused_with_a_reason() -> None:
    async def main() -> None:
        wire = Wire()
        config = WebRtcConfig(certificate=Certificate.create())
        ann, bob = Endpoint(agent=wire.agent), Endpoint(config, agent=wire.agent)
        answer = await bob.connection.create_answer(await ann.connection.create_offer())
        fingerprint = next(line for line in answer.splitlines() if line.startswith("a=fingerprint:"))
        forged = fingerprint[:-2] + ("00" if fingerprint[-2:] != "00" else "01")
        await ann.connection.accept_answer(answer.replace(fingerprint, forged))
        for end in (ann, bob):
            end.connection.pair_selected()
        await ann.wait_for(lambda: ann.reason is not None)
        assert "certificate" in str(ann.reason)
        assert not ann.is_connected
        await close(ann, bob)

    run_virtual(main())


def test_negotiation_happens_once_and_in_order() -> None:
    async def main() -> None:
        wire = Wire()
        ann, bob = Endpoint(agent=wire.agent), Endpoint(agent=wire.agent)
        offer = await ann.connection.create_offer()
        with pytest.raises(BadDescription, match="side of the DTLS handshake"):
            await ann.connection.accept_answer(offer)
        answer = await bob.connection.create_answer(offer)
        with pytest.raises(TransportFailed):
            await Endpoint(agent=wire.agent).connection.accept_answer(answer)
        await ann.connection.accept_answer(answer)
        with pytest.raises(TransportFailed):
            await ann.connection.accept_answer(answer)
        with pytest.raises(TransportFailed):
            await bob.connection.create_answer(offer)
        await close(ann, bob)
        with pytest.raises(TransportFailed):
            await ann.connection.create_offer()

    run_virtual(main())


@settings(max_examples=30)
@given(st.text(max_size=200), st.text(max_size=100))
def test_any_text_for_a_description_or_a_candidate_is_harmless(sdp: str, candidate: str) -> None:
    async def main() -> None:
        endpoint = Endpoint(agent=Wire().agent)
        await endpoint.connection.add_candidate(candidate)
        with pytest.raises(TransportFailed):
            await endpoint.connection.create_answer(sdp)
        await close(endpoint)

    run_virtual(main())


async def connect_over(network: VirtualNetwork) -> float:
    """Connect two ends over a network; return how long it took from the answer on."""
    loop = asyncio.get_running_loop()
    with virtual_webrtc():
        ann_host, bob_host = network.add_host("ann"), network.add_host("bob")
        with ann_host:
            ann = Endpoint()
            offer = await ann.connection.create_offer()
        with bob_host:
            bob = Endpoint()
            answer = await bob.connection.create_answer(offer)
        before = loop.time()
        with ann_host:
            await ann.connection.accept_answer(answer)
        await asyncio.gather(ann.wait_for(lambda: ann.is_connected), bob.wait_for(lambda: bob.is_connected))
        took = loop.time() - before
        await close(ann, bob)
    return took


def connect_times(loss: float) -> list[float]:
    async def main() -> float:
        return await connect_over(VirtualNetwork(link=LinkConfig(delay=0.025, loss=loss)))

    return [run_virtual(main(), seed=seed) for seed in range(40)]


def test_connecting_takes_four_and_a_half_round_trips() -> None:
    assert connect_times(0.0) == pytest.approx([0.225] * 40, abs=0.001)


@pytest.mark.parametrize(("loss", "median", "longest"), [(0.05, 0.3, 1.5), (0.1, 0.6, 3.0)])
def test_connecting_over_a_lossy_path_does_not_wait_for_whole_seconds(
    loss: float, median: float, longest: float
) -> None:
    times = connect_times(loss)
    assert statistics.median(times) < median
    assert max(times) < longest
