"""Outages in every phase, half-open connections, sleep, and what happens when everything is lost for long."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from rtcmesh.peer import (
    LeaveReason,
    Mesh,
    MeshConfig,
    PathChanged,
    PathKind,
    PathPolicy,
    Peer,
    PeerLeft,
    PeerUnreachable,
    SessionExpired,
    Undelivered,
)
from rtcmesh.peer.paths.network_watch import NetworkWatch
from rtcmesh.peer.testing import VirtualRoom, run_virtual, virtual_room
from rtcmesh.signaling.config import ServiceConfig
from rtcmesh.signaling.room import RoomLimits
from support.meshes import DIRECT_ONLY, news, next_event, pair
from support.virtual import on_virtual_time

RELAY_ONLY = MeshConfig(path_policy=PathPolicy.RELAY_ONLY)
WINDOW = MeshConfig().channel_window_bytes


def now() -> float:
    return asyncio.get_running_loop().time()


async def expect(mesh: Mesh, label: str, *expected: object) -> None:
    for data in expected:
        assert (await mesh.channel(label).receive()).data == data


@pytest.mark.parametrize("killed", ["relay", "server", "both"])
@pytest.mark.parametrize("config", [MeshConfig(), RELAY_ONLY], ids=["auto", "relay only"])
@pytest.mark.parametrize("step", range(12))
def test_what_is_killed_while_peers_join_and_dial_costs_time_only(
    step: int, config: MeshConfig, killed: str
) -> None:
    async def main() -> None:
        async with virtual_room(config=config) as room:
            ann = await room.join("ann")
            joining = asyncio.create_task(room.join("bob"))
            await asyncio.sleep(step * 0.012)
            await ann.channel("chat").send("sent in the midst of it")
            if killed in {"relay", "both"}:
                await room.kill_relay()
            if killed in {"server", "both"}:
                await room.kill_server()
            await asyncio.sleep(2)
            if killed in {"relay", "both"}:
                await room.start_relay()
            if killed in {"server", "both"}:
                await room.start_server()
            bob = await joining
            await asyncio.gather(ann.wait_for_peers(1), bob.wait_for_peers(1))
            async with asyncio.timeout(30):
                await ann.channel("done").send("hello", confirm=True)
                await bob.channel("done").send("hello", confirm=True)
                if config is not RELAY_ONLY:
                    await ann.wait_for_peers(1, path=PathKind.DIRECT)
            await asyncio.gather(expect(ann, "done", "hello"), expect(bob, "done", "hello"))

    run_virtual(main(), seed=step)


def partition(room: VirtualRoom, name: str, host: str) -> None:
    """Let nothing pass between a peer and a server, and tell neither of them."""
    room.network.partition(room.hosts[name], room.relay_host if host == "relay" else room.server_host)


def heal(room: VirtualRoom, name: str, host: str) -> None:
    room.network.heal(room.hosts[name], room.relay_host if host == "relay" else room.server_host)


@pytest.mark.parametrize("victim", ["ann", "bob"])
def test_a_half_open_connection_to_the_relay_is_noticed_by_the_silence_of_the_peer(victim: str) -> None:
    async def main() -> None:
        async with virtual_room(config=RELAY_ONLY) as room:
            ann, bob = await asyncio.gather(room.join("ann"), room.join("bob"))
            await asyncio.gather(ann.wait_for_peers(1), bob.wait_for_peers(1))
            await asyncio.sleep(7)
            # The connection is dead for ever: as when a middlebox forgot it. Another one would work.
            dead = [link._connection for link in (ann if victim == "ann" else bob)._relays._links.values()]
            partition(room, victim, "relay")
            await asyncio.sleep(0.1)
            await ann.channel("chat").send("x")
            began = now()
            await asyncio.sleep(4.5)
            heal(room, victim, "relay")
            links = (ann if victim == "ann" else bob)._relays._links.values()
            assert [link._connection for link in links] != dead, "nobody noticed"
            await expect(bob, "chat", "x")
            assert now() - began < 8

    run_virtual(main())


def test_a_half_open_connection_to_the_server_disturbs_nothing_and_is_noticed_within_two_heartbeats() -> None:
    async def main() -> None:
        async with virtual_room() as room:
            ann, bob = await pair(room)
            await asyncio.sleep(3)
            paths = news(ann)
            partition(room, "ann", "server")
            for number in range(30):
                await ann.channel("chat").send(number)
                await asyncio.sleep(1)
            assert bob.peers[ann.peer_id].suspended
            heal(room, "ann", "server")
            await expect(bob, "chat", *range(30))
            await asyncio.sleep(16)
            assert not bob.peers[ann.peer_id].suspended
            await ann.aclose()
            assert [event async for event in paths if isinstance(event, PathChanged | PeerLeft)] == []

    run_virtual(main())


async def until_suspended(remote: Peer, *, suspended: bool) -> None:
    while remote.suspended != suspended:  # noqa: ASYNC110 (no event of the mesh tells of it)
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("seed", range(4))
def test_a_peer_that_comes_back_to_a_snapshot_is_offered_anew_what_it_has_missed(seed: int) -> None:
    """What the server took for it is gone; nobody waits for the answers that cannot come."""
    service = ServiceConfig(room=RoomLimits(history_events=2))

    async def main() -> None:
        async with virtual_room(config=DIRECT_ONLY, service=service) as room:
            meshes = dict(zip(("ann", "bob"), await pair(room), strict=True))
            offering, away = sorted(meshes, key=lambda name: meshes[name].peer_id)
            remote = meshes[offering].peers[meshes[away].peer_id]
            partition(room, away, "server")
            await until_suspended(remote, suspended=True)
            assert room.memory is not None
            next(iter(room.memory.transports.values())).lose("killed")
            await asyncio.sleep(8 + seed)
            heal(room, away, "server")
            await until_suspended(remote, suspended=False)
            async with asyncio.timeout(1):
                await meshes[offering].wait_for_peers(1, path=PathKind.DIRECT)

    run_virtual(main(), seed=seed)


@pytest.mark.parametrize("seconds", [10, 60, 75])
@pytest.mark.parametrize("config", [MeshConfig(), RELAY_ONLY], ids=["auto", "relay only"])
def test_the_conversation_goes_on_after_a_minute_without_any_network(
    config: MeshConfig, seconds: float
) -> None:
    """As when a machine slept: the server and the peer have given its connections up meanwhile."""

    async def main() -> None:
        async with virtual_room(config=config) as room:
            ann, bob = await asyncio.gather(room.join("ann"), room.join("bob"))
            await asyncio.gather(ann.wait_for_peers(1), bob.wait_for_peers(1))
            await asyncio.sleep(3)
            streams = news(ann), news(bob)
            await ann.channel("chat").send(0)
            room.isolate("bob")
            await ann.channel("chat").send(1)
            await bob.channel("chat").send("from the sleeper")
            await asyncio.sleep(seconds)
            assert room.memory is not None
            room.memory.strand("bob")
            room.reconnect("bob")
            woke_at = now()
            bob.network_changed()
            await expect(bob, "chat", 0, 1)
            await expect(ann, "chat", "from the sleeper")
            assert now() - woke_at < 20
            await asyncio.gather(ann.aclose(), bob.aclose())
            for stream in streams:
                gone = [event async for event in stream if isinstance(event, PeerLeft | SessionExpired)]
                assert [
                    e for e in gone if not isinstance(e, PeerLeft) or e.reason is not LeaveReason.LEFT
                ] == []

    run_virtual(main())


def test_both_ends_expire_each_in_its_time_and_a_new_session_begins_cleanly() -> None:
    async def main() -> None:
        async with virtual_room(config=replace(RELAY_ONLY, session_timeout=20)) as room:
            ann = await room.join("ann")
            bob = await room.join("bob", config=replace(RELAY_ONLY, session_timeout=30))
            await asyncio.gather(ann.wait_for_peers(1), bob.wait_for_peers(1))
            anns, bobs = news(ann), news(bob)
            await room.kill_relay()
            began = now()
            await ann.channel("chat").send("one")
            await bob.channel("chat").send("two")
            await ann.channel("bulk").send(bytes(WINDOW // 2))
            waiting = asyncio.create_task(ann.channel("bulk").send(bytes(WINDOW // 2)))
            confirming = asyncio.create_task(ann.channel("chat").send("confirmed", confirm=True))
            expired = await next_event(anns, SessionExpired)
            assert 19 < now() - began < 28
            assert expired.undelivered == (
                Undelivered("chat", "one"),
                Undelivered("chat", "confirmed"),
                Undelivered("bulk", bytes(WINDOW // 2)),
            )
            for task in (waiting, confirming):
                with pytest.raises(PeerUnreachable) as raised:
                    await task
                assert raised.value.peer_ids == (bob.peer_id,)
            assert (await next_event(bobs, SessionExpired)).undelivered == (Undelivered("chat", "two"),)
            assert 29 < now() - began < 38
            await ann.channel("chat").send("new")
            await room.start_relay()
            await expect(bob, "chat", "new")
            await bob.channel("chat").send("new too", confirm=True)
            await expect(ann, "chat", "new too")
            await asyncio.sleep(5)
            assert set(ann.peers) == {bob.peer_id}

    run_virtual(main())


def test_when_one_end_only_expires_the_other_one_is_told_and_both_go_on() -> None:
    async def main() -> None:
        async with virtual_room(config=replace(RELAY_ONLY, session_timeout=20)) as room:
            ann = await room.join("ann")
            bob = await room.join("bob", config=replace(RELAY_ONLY, session_timeout=300))
            await asyncio.gather(ann.wait_for_peers(1), bob.wait_for_peers(1))
            bobs = news(bob)
            await room.kill_relay()
            await ann.channel("chat").send("given back")
            await bob.channel("chat").send("lost as well")
            await asyncio.sleep(40)
            await room.start_relay()
            left = await next_event(bobs, PeerLeft)
            assert (left.reason, left.undelivered) == (
                LeaveReason.RESTARTED,
                (Undelivered("chat", "lost as well"),),
            )
            await ann.channel("chat").send("new", confirm=True)
            await bob.channel("chat").send("new", confirm=True)
            await expect(ann, "chat", "new")
            await expect(bob, "chat", "new")

    run_virtual(main())


@pytest.mark.parametrize(("sleep", "noticed"), [(0.0, 0), (1.0, 0), (60.0, 1)])
@on_virtual_time
async def test_a_machine_that_slept_is_noticed_though_its_loop_stood_still(
    sleep: float, noticed: int
) -> None:
    slept = 0.0
    changes: list[float] = []
    watch = NetworkWatch(lambda: changes.append(now()), 2.0, frozenset, asleep=lambda: slept)
    watching = asyncio.create_task(watch.run())
    await asyncio.sleep(5)
    slept = sleep
    await asyncio.sleep(20)
    watching.cancel()
    await asyncio.wait([watching])
    assert len(changes) == noticed
    assert all(at < 8 for at in changes)


def test_a_receiver_that_stops_reading_slows_its_senders_on_that_channel_and_nobody_else() -> None:
    async def main() -> None:
        async with virtual_room() as room:
            meshes = [await room.join(f"peer{number}") for number in range(12)]
            for mesh in meshes:
                await mesh.wait_for_peers(11, path=PathKind.DIRECT)
            sender, deaf, *others = meshes
            slowest: dict[str, float] = {}

            async def read(mesh: Mesh, label: str) -> None:
                async for message in mesh.channel(label):
                    slowest[label] = max(slowest.get(label, 0), now() - message.data[0])

            reading = [asyncio.create_task(read(mesh, "all")) for mesh in others]
            reading += [asyncio.create_task(read(mesh, "other")) for mesh in meshes]
            started_at = now()
            blocked_at: list[float] = []

            async def send_to_all() -> None:
                while now() - started_at < 90:
                    before = now()
                    await sender.channel("all").send((now(), bytes(30_000)))
                    if now() - before > 1:
                        blocked_at.append(before)
                        assert now() - started_at > 60, "it waits until the deaf one reads"
                    await asyncio.sleep(1)

            async def send_to_the_others() -> None:
                ids = [mesh.peer_id for mesh in others]
                while now() - started_at < 60:
                    await sender.channel("all").send((now(), bytes(2000)), to=ids)
                    await sender.channel("other").send((now(), bytes(2000)))
                    await asyncio.sleep(1)

            sending = [asyncio.create_task(send_to_all()), asyncio.create_task(send_to_the_others())]
            await asyncio.sleep(60)
            assert slowest["all"] < 0.05
            assert slowest["other"] < 0.05
            reading.append(asyncio.create_task(read(deaf, "all")))
            await asyncio.gather(*sending)
            assert len(blocked_at) == 1
            for task in reading:
                task.cancel()
            await asyncio.wait(reading)

    run_virtual(main())
