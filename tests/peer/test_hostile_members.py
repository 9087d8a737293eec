"""Members of the room that do what the protocol does not allow, and what it costs the others: nothing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from rtcmesh.peer import (
    Identity,
    LeaveReason,
    Mesh,
    MeshConfig,
    PathChanged,
    PathChangeReason,
    PathKind,
    PathPolicy,
    PeerLeft,
)
from rtcmesh.peer.delivery import Delivery
from rtcmesh.peer.members.remote_peer import RemotePeer
from rtcmesh.peer.members.succession import MIN_SESSION_TIME
from rtcmesh.peer.paths.liveness import PONGS_PER_SECOND
from rtcmesh.peer.paths.path import DirectPath, Path, RelayPath
from rtcmesh.peer.session import frames
from rtcmesh.peer.session.frames import Header, Packet, encode_header, encode_open
from rtcmesh.peer.session.probes import Probe, ProbeType, probe_packet
from rtcmesh.peer.testing import VirtualRoom, run_virtual, virtual_room
from rtcmesh.relay.frames import Urgency
from rtcmesh.signaling.config import ServiceConfig
from rtcmesh.signaling.identity import PeerId
from rtcmesh.signaling.room import RoomLimits
from rtcmesh.signaling.sealing import MAX_REMOTE_INSTANCES, PairSeal
from rtcmesh.signaling.testing import dial_stream
from support.members import Member
from support.meshes import news, next_event, until_direct
from support.wire import RawPeer

RELAY_ONLY = MeshConfig(path_policy=PathPolicy.RELAY_ONLY)


def now() -> float:
    return asyncio.get_running_loop().time()


def remote(mesh: Mesh, peer_id: PeerId) -> RemotePeer:
    return mesh._members.remotes[peer_id]


class Intruder:
    """A member whose paths to one other say whatever it likes, sealed as they should be."""

    def __init__(self, mesh: Mesh, victim: Mesh) -> None:
        self.mesh = mesh
        self.victim = victim
        self.remote = remote(mesh, victim.peer_id)
        self.number = self.remote.conversation.session.number

    def path(self, kind: type[Path]) -> Path:
        return next(path for path in self.remote._paths if isinstance(path, kind))

    def say(self, kind: type[Path], data: bytes, *, urgency: Urgency = Urgency.CONTROL) -> None:
        self.path(kind).send(Packet(data, urgency))

    def as_session(self, number: int) -> bytes:
        return encode_header(Header(number, 0))

    @property
    def rejected(self) -> int:
        return remote(self.victim, self.mesh.peer_id).stats().rejected_packets


@asynccontextmanager
async def intruded(
    config: MeshConfig | None = None,
) -> AsyncGenerator[tuple[VirtualRoom, Intruder, Mesh, Mesh]]:
    """Run a room with an intruder, its victim and a bystander, who talk all the time and must not notice."""
    async with virtual_room(config=config) as room:
        victim, intruder, bystander = [await room.join(name) for name in ("victim", "intruder", "bystander")]
        if config is RELAY_ONLY:
            for mesh in (victim, intruder, bystander):
                await mesh.wait_for_peers(2)
        else:
            await until_direct(victim, intruder, bystander)
        await asyncio.sleep(1)
        talking = asyncio.create_task(talk(victim, bystander))
        yield room, Intruder(intruder, victim), victim, bystander
        assert await talking < 0.1


async def talk(one: Mesh, other: Mesh) -> float:
    """Send from one to the other for a while, and return the slowest message's time."""
    slowest = 0.0
    for number in range(100):
        sent_at = now()
        await one.channel("talk").send(number, to=other.peer_id)
        assert (await other.channel("talk").receive()).data == number
        slowest = max(slowest, now() - sent_at)
        await asyncio.sleep(0.05)
    return slowest


GARBAGE = {
    "empty": b"",
    "zero": b"\x00",
    "noise": bytes(range(256)) * 40,
    "bad probe": b"\x01" + bytes(3),
    "no frames": encode_header(Header(1, 0))[:-1],
    "unknown frame": encode_header(Header(7 << 32 | 1, 0)) + b"\xff",
    "truncated open": encode_header(Header(7 << 32 | 1, 0))
    + encode_open(frames.Open(0, Delivery.RELIABLE, stored=False, label="x"))[:-1],
}


@pytest.mark.parametrize("said", GARBAGE.values(), ids=GARBAGE.keys())
@pytest.mark.parametrize("kind", [DirectPath, RelayPath])
def test_garbage_from_a_member_costs_its_own_path_at_most(kind: type[Path], said: bytes) -> None:
    async def main() -> None:
        async with intruded() as (_, intruder, __, ___):
            for _ in range(20):
                if any(isinstance(path, kind) for path in intruder.remote._paths):
                    intruder.say(kind, said)
                await asyncio.sleep(0.05)
            assert intruder.rejected > 0

    run_virtual(main())


def test_a_ping_and_garbage_in_one_turn_of_the_loop_cost_the_path_and_nothing_else() -> None:
    async def main() -> None:
        async with intruded() as (_, intruder, victim, __):
            failures: list[object] = []
            asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
            events = news(victim)
            intruder.say(DirectPath, probe_packet([Probe(ProbeType.PING, 1)]).data)
            intruder.say(DirectPath, b"\xff")
            async with asyncio.timeout(0.5):
                changed = await next_event(events, PathChanged)
            assert changed.reason is PathChangeReason.PROTOCOL_VIOLATION
            assert not failures

    run_virtual(main())


def test_what_was_sealed_for_another_room_membership_prekey_or_member_is_refused() -> None:
    async def main() -> None:
        async with intruded() as (_, intruder, victim, bystander):
            path = intruder.path(RelayPath)
            assert isinstance(path, RelayPath)
            packet = intruder.as_session(intruder.number)
            seal = seal_for(intruder.mesh, victim)
            sealed = seal.seal(packet)
            forged = [
                b"",
                os.urandom(100),
                sealed[:-1],
                sealed[:20],
                sealed[:-1] + bytes([sealed[-1] ^ 1]),
                bytes([sealed[0] ^ 1]) + sealed[1:],
                seal.seal(packet, b"for another purpose"),
                seal_for(intruder.mesh, bystander).seal(packet),
                other_seal(room="another room").seal(packet),
                other_seal(room="virtual").seal(packet),
            ]
            before = intruder.rejected
            for payload in forged:
                path.link.send(victim.peer_id, payload, Urgency.CONTROL)
            await asyncio.sleep(0.5)
            assert intruder.rejected == before + len(forged)
            for _ in range(3):
                path.link.send(victim.peer_id, sealed, Urgency.CONTROL)
            await asyncio.sleep(0.5)
            assert intruder.rejected == before + len(forged) + 2, "a replay was opened"

    run_virtual(main())


def seal_for(mesh: Mesh, other: Mesh) -> PairSeal:
    seal = remote(mesh, other.peer_id)._relay_seal._seal
    assert seal is not None
    return seal


def other_seal(*, room: str) -> PairSeal:
    """Return a seal of two members who are not these."""
    one, two = Member(number=1, room=room), Member(number=2, room=room)
    return one.seal_with(two, purpose="relay")


def test_a_flood_of_pings_is_not_answered_with_a_flood() -> None:
    async def main() -> None:
        async with intruded() as (_, intruder, victim, __):
            victims = remote(victim, intruder.mesh.peer_id)
            for kind in (DirectPath, RelayPath):
                before = [path.packets_sent for path in victims._paths]
                for _ in range(20):
                    for number in range(500):
                        intruder.say(kind, probe_packet([Probe(ProbeType.PING, number)]).data)
                    await asyncio.sleep(0.05)
                sent = sum(path.packets_sent for path in victims._paths) - sum(before)
                assert sent < 3 * PONGS_PER_SECOND
                assert victim.peers[intruder.mesh.peer_id].path is not None

    run_virtual(main())


@pytest.mark.parametrize("kind", [DirectPath, RelayPath])
def test_sessions_that_come_and_go_restart_a_conversation_now_and_then_at_most(kind: type[Path]) -> None:
    async def main() -> None:
        async with intruded() as (_, intruder, victim, __):
            events = news(victim)
            began = now()
            for step in range(60):
                for number in (1, 2, 0, 3, 1 << 33):
                    if any(isinstance(path, kind) for path in intruder.remote._paths):
                        intruder.say(kind, intruder.as_session(intruder.number + 4 * step + number))
                await asyncio.sleep(0.05)
            await asyncio.sleep(1)
            assert intruder.mesh.peer_id in victim.peers
            events.close()
            left = [event async for event in events if isinstance(event, PeerLeft)]
            assert 0 < len(left) <= (now() - began) / MIN_SESSION_TIME + 1

    run_virtual(main())


def test_of_two_processes_with_one_identity_the_older_one_cannot_keep_the_conversation() -> None:
    """Its direct path is still open, and no direct path leads to the newer one."""

    async def main() -> None:
        async with virtual_room() as room:
            identity = Identity.create()
            ann = await room.join("ann")
            older = await room.join("older", identity=identity)
            await until_direct(ann, older)
            await ann.channel("chat").send("for the older one")
            assert (await older.channel("chat").receive()).data == "for the older one"
            assert room.memory is not None
            room.memory.cut("ann", "newer")
            events = news(ann)
            newer = await room.join("newer", identity=identity)
            await newer.wait_for_peers(1)
            assert (await next_event(events, PeerLeft)).reason is LeaveReason.RESTARTED
            for number in range(30):
                await ann.channel("chat").send(number)
                await older.channel("chat").send("from the past")
                await newer.channel("chat").send(number)
                await asyncio.sleep(0.5)
            for number in range(30):
                assert (await newer.channel("chat").receive()).data == number
                message = await ann.channel("chat").receive()
                assert message.data == number
            assert ann.peers[identity.peer_id].path is PathKind.RELAYED
            await ann.aclose()
            assert [event async for event in events if isinstance(event, PeerLeft)] == []

    run_virtual(main())


def test_a_peer_that_forgets_us_again_and_again_is_still_heard_over_the_relay() -> None:
    async def main() -> None:
        async with virtual_room(config=RELAY_ONLY) as room:
            ann, bob = await asyncio.gather(room.join("ann"), room.join("bob"))
            await asyncio.gather(ann.wait_for_peers(1), bob.wait_for_peers(1))
            bobs = remote(bob, ann.peer_id)
            for number in range(MAX_REMOTE_INSTANCES + 5):
                bobs._relay_seal.rekey(bobs._relay_seal._member)
                await bob.channel("chat").send(number)
                async with asyncio.timeout(10):
                    assert (await ann.channel("chat").receive()).data == number

    run_virtual(main())


def test_members_that_never_answer_do_not_keep_a_living_one_waiting() -> None:
    async def main() -> None:
        count = 100
        service = ServiceConfig(room=RoomLimits(max_members=count + 2))
        async with virtual_room(service=service) as room, AsyncExitStack() as stack:
            ann = await room.join("ann")
            for number in range(count):
                await stack.enter_async_context(silent_member(room, number))
            while len(ann.peers) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            began = now()
            bob = await room.join("bob")
            ids = [bob.peer_id]
            await ann.channel("chat").send("over the relay", to=ids)
            async with asyncio.timeout(1):
                await bob.channel("chat").receive()
            while ann.peers[bob.peer_id].path is not PathKind.DIRECT:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            assert now() - began < 2

    run_virtual(main())


@asynccontextmanager
async def silent_member(room: VirtualRoom, number: int) -> AsyncGenerator[None]:
    """Join and never say a word."""
    member = Member(number=number, room="virtual")
    host = (
        room.hosts.setdefault("silent", room.network.add_host("silent"))
        if not number
        else room.hosts["silent"]
    )
    with host:
        async with dial_stream(room.url) as socket:
            peer = RawPeer(socket, member)
            await peer.join()
            reading = asyncio.create_task(peer.last_words())
            try:
                yield
            finally:
                reading.cancel()
                await asyncio.wait([reading])
