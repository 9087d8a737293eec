"""The edges of a mesh that were once broken: hostile peers, closing, restarts, order."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from rtcmesh.netem import VirtualNetwork, run_virtual, virtual_webrtc
from rtcmesh.peer import (
    Closed,
    Identity,
    Mesh,
    MeshConfig,
    PathChanged,
    PathChangeReason,
    PathKind,
    PeerGone,
    PeerLeft,
)
from rtcmesh.peer.conversation import Conversation, Outgoing
from rtcmesh.peer.errors import TransportFailed
from rtcmesh.peer.paths.negotiation import MAX_CANDIDATES
from rtcmesh.peer.session.session import Session
from rtcmesh.peer.testing import LinkConfig, MemoryNetwork, MemoryTransport, virtual_meshes, virtual_room
from rtcmesh.peer.webrtc import WebRtcTransport
from rtcmesh.signaling.testing import dial_stream
from support.meshes import news, next_event, pair, until_direct


class Silent:
    """A sink that takes no notice."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def transport_opened(self) -> None:
        self.heard.append("opened")

    def candidate_gathered(self, candidate: str) -> None: ...

    def packet_received(self, packet: bytes) -> None:
        self.heard.append(packet.decode())

    def datagram_received(self, datagram: bytes) -> None: ...

    def transport_writable(self) -> None: ...

    def transport_closed(self, reason: str) -> None:
        self.heard.append("closed")


def test_a_failed_attempt_closes_its_transport_undisturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[int] = []
    close = MemoryTransport.close

    async def slow_close(self: MemoryTransport) -> None:
        await asyncio.sleep(0.01)
        await close(self)
        closed.append(self.number)

    async def refuse(self: MemoryTransport, candidate: str) -> None:
        raise TransportFailed(f"no use for {candidate}")

    async def main() -> None:
        async with virtual_room() as room:
            monkeypatch.setattr(MemoryTransport, "close", slow_close)
            monkeypatch.setattr(MemoryTransport, "add_candidate", refuse)
            await asyncio.gather(room.join("ann"), room.join("bob"))
            await asyncio.sleep(30)
            assert room.memory is not None
            assert len(closed) > 4
            assert len(room.memory.transports) <= 2

    run_virtual(main())


def test_senders_of_one_channel_keep_their_order_even_when_a_small_one_would_fit_first() -> None:
    async def main() -> None:
        session = Session(1, window=1000)
        conversation = Conversation(Identity.create().peer_id, session, lambda: None)

        def send(payload: bytes) -> asyncio.Future[int]:
            sent = conversation.send(Outgoing("a", payload))
            assert not isinstance(sent, int)
            return sent

        assert conversation.send(Outgoing("a", bytes(600))) == 1
        large = send(bytes(500))
        small = send(b"small enough to fit now")
        assert not small.done()
        large.cancel()
        assert await small == 2
        waiting = send(bytes(900))
        conversation.end()
        with pytest.raises(PeerGone):
            await waiting

    run_virtual(main())


def test_a_flush_that_is_given_up_again_and_again_leaves_nothing_behind() -> None:
    async def main() -> None:
        async with virtual_room() as room:
            ann, bob = await pair(room)
            chat = ann.channel("chat")
            room.isolate("bob")
            await chat.send("hello")
            for _ in range(100):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await chat.flush()
            conversation = ann._members.remotes[bob.peer_id].conversation
            assert not any(conversation._unconfirmed.values())
            room.reconnect("bob")
            await chat.flush()

    run_virtual(main())


def test_a_peer_that_is_leaving_keeps_nobody_from_sending_to_the_others_at_once() -> None:
    async def main() -> None:
        async with virtual_room() as room:
            ann, bob, cat = await asyncio.gather(*(room.join(name) for name in ("ann", "bob", "cat")))
            await until_direct(ann, bob, cat)
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    while True:
                        await ann.channel("unread").send(bytes(1000), to=bob.peer_id)
            leaving = asyncio.create_task(bob.aclose())
            await asyncio.sleep(1)
            assert bob.peer_id in ann.peers
            ann.channel("chat").send_nowait("hello")
            assert (await cat.channel("chat").receive()).data == "hello"
            with pytest.raises(PeerGone):
                ann.channel("chat").send_nowait("hello", to=bob.peer_id)
            await leaving

    run_virtual(main())


def test_two_peers_that_close_at_the_same_time_deliver_what_they_sent() -> None:
    async def main() -> None:
        async with virtual_meshes(2) as (ann, bob):
            for number in range(10):
                await ann.channel("chat").send(number)
            received = bob.channel("chat")
            await asyncio.gather(ann.aclose(), bob.aclose())
            assert [message.data async for message in received] == list(range(10))

    run_virtual(main())


def test_a_channel_that_is_opened_after_the_close_is_closed() -> None:
    async def main() -> None:
        async with virtual_meshes(1) as (ann,):
            await ann.aclose()
            with pytest.raises(Closed):
                await ann.channel("new").receive()
            with pytest.raises(Closed):
                await ann.set_presence({"too": "late"})

    run_virtual(main())


def test_a_member_that_rejoins_is_seen_as_it_is_now() -> None:
    async def main() -> None:
        async with virtual_room() as room:
            ann, bob = await pair(room)
            server = room.server_host
            room.network.partition(room.hosts["bob"], server)
            await asyncio.sleep(100)
            assert ann.peers[bob.peer_id].path is not None
            await asyncio.wait_for(bob.set_presence({"version": 2}), 5)
            room.network.heal(room.hosts["bob"], server)
            await asyncio.sleep(60)
            assert ann.peers[bob.peer_id].presence == {"version": 2}
            assert not ann.peers[bob.peer_id].suspended

    run_virtual(main())


def test_without_signaling_for_good_a_dead_peer_is_still_given_up() -> None:
    async def main() -> None:
        identity = Identity.create()
        async with virtual_room() as room:
            ann, bob = await asyncio.gather(room.join("ann", identity=identity), room.join("bob"))
            await asyncio.gather(ann.wait_for_peers(1), bob.wait_for_peers(1))
            events = news(ann)
            await room.join("another ann", identity=identity)
            await asyncio.sleep(10)
            room.isolate("bob")
            assert (await next_event(events, PeerLeft)).peer_id == bob.peer_id
            room.reconnect("bob")

    run_virtual(main())


def test_peers_of_different_configuration_understand_each_other() -> None:
    async def main() -> None:
        async with virtual_room() as room:
            wide = await room.join("wide", config=MeshConfig(channel_window_bytes=1024 * 1024))
            narrow = await room.join("narrow")
            await until_direct(wide, narrow)
            events = news(narrow)

            async def send() -> None:
                for number in range(40):
                    await wide.channel("bulk").send(number.to_bytes(2) + bytes(30_000))

            sending = asyncio.create_task(send())
            await asyncio.sleep(10)
            for number in range(40):
                assert int.from_bytes((await narrow.channel("bulk").receive()).data[:2]) == number
            await sending
            await narrow.aclose()
            assert [event async for event in events if isinstance(event, PathChanged)] == []

    run_virtual(main())


def test_what_departed_peers_leave_unread_is_bounded_and_counted() -> None:
    async def main() -> None:
        async with virtual_room(config=MeshConfig(channel_window_bytes=256 * 1024)) as room:
            ann = await room.join("ann")
            events = news(ann)
            unread = 0
            for number in range(5):
                guest = await room.join(f"guest{number}")
                await guest.wait_for_peers(1)
                for _ in range(10):
                    await guest.channel(f"unopened {number}").send(bytes(20_000))
                await guest.aclose()
                unread += (await next_event(events, PeerLeft)).unread
            assert unread == 40
            channel = ann.channel("unopened 0")
            assert [(await channel.receive()).data for _ in range(10)] == [bytes(20_000)] * 10

    run_virtual(main())


def test_a_peer_met_more_often_than_a_seal_remembers_is_connected_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        async with virtual_room(config=MeshConfig(rejoin_grace=0)) as room:
            ann, bob = await pair(room)
            for _ in range(70):
                room.isolate("ann")
                await next_event(news(bob), PeerLeft)
                room.reconnect("ann")
                await asyncio.gather(ann.wait_for_peers(1), bob.wait_for_peers(1))
            await bob.channel("chat").send("still here")
            assert (await ann.channel("chat").receive()).data == "still here"

    run_virtual(main(), limit=100_000)
    assert "of instance 65 of the remote seal" in caplog.text


@pytest.mark.parametrize(
    ("altered", "replacement"),
    [
        ("m=application", "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\nm=application"),
        (
            "a=candidate:",
            "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n" * (MAX_CANDIDATES + 1) + "a=candidate:",
        ),
        ("a=setup:", "a=max-message-size:1000\r\na=setup:"),
    ],
)
def test_a_description_that_asks_for_too_much_or_gives_too_little_is_refused(
    altered: str, replacement: str
) -> None:
    async def main() -> None:
        network = VirtualNetwork(link=LinkConfig(delay=0.01))
        transports = [WebRtcTransport(Silent(), ()) for _ in range(2)]
        with virtual_webrtc(), network.add_host("ann"):
            offer = await transports[0].create_offer()
            assert altered in offer
            with pytest.raises(TransportFailed):
                await transports[1].create_answer(offer.replace(altered, replacement, 1))
            await transports[0].add_candidate("garbage that is ignored")
            await asyncio.gather(*(transport.close() for transport in transports))

    run_virtual(main())


def test_no_peer_makes_this_machine_look_up_a_name_on_its_network(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    async def ask(subscriber: object) -> None:
        asked.append(subscriber)
        raise OSError("multicast")

    async def main() -> None:
        network = VirtualNetwork(link=LinkConfig(delay=0.01))
        named = "candidate:1 1 udp 1 a-name.local 9 typ host"
        sinks = [Silent(), Silent()]
        transports = [WebRtcTransport(sink, ()) for sink in sinks]
        with virtual_webrtc(), network.add_host("ann"):
            offer = await transports[0].create_offer()
            lines = f"a={named}\r\na={named} generation 0\r\na=candidate:"
            answer = await transports[1].create_answer(offer.replace("a=candidate:", lines, 1))
            await transports[0].accept_answer(answer.replace("a=candidate:", lines, 1))
            for transport in transports:
                await transport.add_candidate(named)
            await asyncio.sleep(2)
            assert [sink.heard for sink in sinks] == [["opened"], ["opened"]]
            await asyncio.gather(*(transport.close() for transport in transports))

    monkeypatch.setattr("aioice.ice.get_or_create_mdns_protocol", ask)
    run_virtual(main())
    assert asked == []


@pytest.mark.parametrize("moment", [0.001, 0.005, 0.01, 0.02, 0.03, 0.05])
def test_a_program_cancelled_while_it_connects_leaves_no_task_behind(moment: float) -> None:
    async def main() -> None:
        async with virtual_room(webrtc=True) as room:
            await room.join("bob")
            before = asyncio.all_tasks()

            async def program() -> None:
                async with Mesh.join(room.url, room="virtual", dial=dial_stream):
                    await asyncio.get_running_loop().create_future()

            with room.network.add_host("ann"):
                running = asyncio.create_task(program())
            await asyncio.sleep(moment)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            await asyncio.sleep(200)
            assert asyncio.all_tasks() <= before

    run_virtual(main())


def test_a_peer_that_breaks_every_path_is_not_dialled_in_a_hurry() -> None:
    async def main() -> None:
        memory = MemoryNetwork()
        async with virtual_room(memory=memory) as room:
            ann, bob = await pair(room)
            events = news(ann)

            async def break_paths() -> None:
                while True:
                    for transport in list(memory.transports.values()):
                        transport.send(b"\xff")
                    await asyncio.sleep(0.05)

            breaking = asyncio.create_task(break_paths())
            await asyncio.sleep(120)
            breaking.cancel()
            assert ann.peers[bob.peer_id].stats().attempts < 60
            assert (await next_event(events, PathChanged)).reason in {
                PathChangeReason.PROTOCOL_VIOLATION,
                PathChangeReason.TRANSPORT_CLOSED,
            }
            await asyncio.gather(breaking, return_exceptions=True)

    run_virtual(main())


def test_a_transport_factory_that_raises_anything_costs_attempts_and_not_the_block() -> None:
    async def main() -> None:
        def broken(*_: object) -> MemoryTransport:
            raise OSError("no more descriptors")

        async with virtual_room() as room:
            ann, bob = await asyncio.gather(room.join("ann", transports=broken), room.join("bob"))
            await asyncio.sleep(60)
            assert ann.peers[bob.peer_id].path is PathKind.RELAYED

    run_virtual(main())
