"""What the service does with peers that lie, fall silent, stop reading, shout, or die."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtcmesh.netem import run_virtual
from rtcmesh.signaling.client import SignalingLink
from rtcmesh.signaling.codes import CloseCode, LeaveReason, RefusalCode
from rtcmesh.signaling.config import ServiceConfig
from rtcmesh.signaling.messages import (
    Ack,
    Challenge,
    Draining,
    Join,
    Leave,
    PeerLeft,
    PeerResumed,
    PeerSuspended,
    Ping,
    Pong,
    Refused,
    SendSignal,
    SetPresence,
    Signal,
    Welcome,
)
from rtcmesh.signaling.prekey import LocalPrekey, sign_join
from rtcmesh.signaling.registry import Attachment, Sink
from rtcmesh.signaling.room import RoomLimits
from rtcmesh.signaling.stats import RegistryStats
from support.links import Killed, Lab
from support.members import Member
from support.virtual import on_virtual_time
from support.wire import RawPeer, as_json, proved_join

ALICE, BOB, EVE = Member(number=1), Member(number=2), Member(number=3)


async def challenged(peer: RawPeer) -> Challenge:
    challenge = await peer.receive()
    assert isinstance(challenge, Challenge)
    return challenge


def forged_joins(nonce: bytes) -> dict[str, Join]:
    join = proved_join(EVE, nonce)
    other_prekey = LocalPrekey.create(EVE.identity, "lobby").public
    return {
        "no proof": msgspec.structs.replace(join, proof=b""),
        "another id": msgspec.structs.replace(join, peer_id=ALICE.peer_id),
        "another's prekey": msgspec.structs.replace(join, prekey=ALICE.prekey),
        "a prekey that was not proved": msgspec.structs.replace(join, prekey=other_prekey),
        "another room": msgspec.structs.replace(join, room="vault"),
        "an old nonce": proved_join(EVE, b"yesterday"),
        "another signer": msgspec.structs.replace(
            join, proof=sign_join(ALICE.identity, nonce=nonce, room="lobby", prekey=EVE.prekey)
        ),
    }


@pytest.mark.parametrize("forgery", forged_joins(b""))
@on_virtual_time
async def test_a_join_without_the_right_proof_is_refused(forgery: str) -> None:
    lab = Lab()
    async with lab.server() as service, lab.raw_peer(3) as eve:
        challenge = await challenged(eve)
        await eve.send(forged_joins(challenge.nonce)[forgery])
        refused, code = await eve.last_words()
        assert refused is not None
        assert refused.code is RefusalCode.BAD_PROOF
        assert code == RefusalCode.BAD_PROOF.close_code
        assert service.stats.endings["bad_proof"] == 1
        assert service.stats.joins == {"resumed": 0, "snapshot": 0}


@on_virtual_time
async def test_every_connection_gets_a_nonce_of_its_own() -> None:
    lab = Lab()
    async with lab.server(), lab.raw_peer(1) as first, lab.raw_peer(2) as second:
        assert (await challenged(first)).nonce != (await challenged(second)).nonce


@pytest.mark.parametrize(
    "message", [Ping(), Leave(), SendSignal(to=ALICE.peer_id, id=1, sealed=b""), SetPresence(presence={})]
)
@on_virtual_time
async def test_before_the_join_nothing_else_is_listened_to(message: Ping) -> None:
    lab = Lab()
    async with lab.server(), lab.raw_peer(3) as eve:
        await challenged(eve)
        await eve.send(message)
        refused, _ = await eve.last_words()
        assert refused is not None
        assert refused.code is RefusalCode.PROTOCOL_VIOLATION


@on_virtual_time
async def test_a_second_join_on_a_connection_is_a_violation() -> None:
    lab = Lab()
    async with lab.server(), lab.raw_peer(3) as eve:
        challenge = await challenged(eve)
        for _ in range(2):
            await eve.send(proved_join(EVE, challenge.nonce))
        refused, _ = await eve.last_words()
        assert refused is not None
        assert refused.code is RefusalCode.PROTOCOL_VIOLATION


@on_virtual_time
async def test_a_peer_that_does_not_join_is_shown_out() -> None:
    lab = Lab()
    async with lab.server(), lab.raw_peer(3) as eve:
        await challenged(eve)
        refused, code = await eve.last_words()
        assert refused is not None
        assert code == RefusalCode.JOIN_TIMEOUT.close_code
        assert asyncio.get_running_loop().time() == pytest.approx(lab.config.join_timeout, abs=0.2)


@on_virtual_time
async def test_a_member_that_falls_silent_is_suspended_then_expires() -> None:
    lab = Lab(config=ServiceConfig(heartbeat=2.0, room=RoomLimits(resume_window=5.0)))
    async with lab.server() as service, lab.link(1) as alice, lab.raw_peer(3) as eve:
        await eve.join()
        silent_since = asyncio.get_running_loop().time()
        await anext(alice)
        assert isinstance(await anext(alice), PeerSuspended)
        left = await anext(alice)
        assert isinstance(left, PeerLeft)
        assert left.reason is LeaveReason.EXPIRED
        assert asyncio.get_running_loop().time() - silent_since == pytest.approx(9.0, abs=0.2)
        assert service.stats.endings["heartbeat_timeout"] == 1


@on_virtual_time
async def test_a_member_that_pings_stays_and_is_answered() -> None:
    lab = Lab(config=ServiceConfig(heartbeat=2.0))
    async with lab.server() as service, lab.raw_peer(3) as eve:
        await eve.join()
        for _ in range(10):
            await asyncio.sleep(3.0)
            await eve.send(Ping())
            assert await eve.receive() == Pong()
        assert service.stats.connections == 1


@on_virtual_time
async def test_a_member_that_is_killed_is_suspended_at_once() -> None:
    lab = Lab()
    async with lab.server(), lab.link(1) as alice:
        async with lab.raw_peer(3) as eve:
            await eve.join()
            await anext(alice)
            eve.socket.abort()
        assert isinstance(await anext(alice), PeerSuspended)


@on_virtual_time
async def test_a_member_that_leaves_is_seen_off_in_an_orderly_way() -> None:
    lab = Lab()
    async with lab.server(), lab.raw_peer(3) as eve:
        await eve.join()
        await eve.send(Leave())
        assert await eve.last_words() == (None, CloseCode.NORMAL)


@on_virtual_time
async def test_a_member_that_stops_reading_is_cut_off_and_costs_the_others_nothing() -> None:
    lab = Lab(config=ServiceConfig(close_timeout=1.0))
    loop = asyncio.get_running_loop()
    async with lab.server() as service, lab.link(1) as alice, lab.link(2) as bob, lab.raw_peer(3) as stuck:
        await stuck.join()
        for _ in range(2):
            await anext(alice)
        longest = 0.0
        for n in range(150):
            await alice.signal(EVE.peer_id, bytes(32_768))
            sent_at = loop.time()
            await alice.signal(BOB.peer_id, n.to_bytes(2))
            longest = max(longest, loop.time() - sent_at)
        assert isinstance(await anext(alice), PeerSuspended)
        assert longest < 0.1
        assert service.stats.endings["slow_consumer"] == 1
        received = [event async for event in first_signals(bob, 150)]
        assert received == [n.to_bytes(2) for n in range(150)]


async def first_signals(link: SignalingLink, count: int) -> AsyncGenerator[bytes, None]:
    while count:
        event = await anext(link)
        if isinstance(event, Signal):
            count -= 1
            yield event.sealed


@on_virtual_time
async def test_a_full_server_says_when_to_come_back_and_the_link_does() -> None:
    lab = Lab(config=ServiceConfig(max_connections=1, retry_after=3.0))
    async with lab.server() as service:
        async with lab.raw_peer(3) as eve:
            await eve.join()
            joining = asyncio.create_task(visit(lab, 1))
            await asyncio.sleep(2.0)
            assert service.stats.endings["server_full"] == 1
            assert service.stats.connections_accepted == 1
        await joining
        assert service.stats.connections_accepted == 2
        assert service.stats.endings["server_full"] == 1


async def visit(lab: Lab, number: int) -> None:
    async with lab.link(number):
        pass


@on_virtual_time
async def test_a_presence_over_the_limit_ends_the_connection_and_is_not_seen() -> None:
    lab = Lab()
    async with lab.server(), lab.link(1) as alice, lab.raw_peer(3) as eve:
        await eve.join()
        await anext(alice)
        await eve.send(SetPresence(presence={"a": "x" * 3000}))
        refused, _ = await eve.last_words()
        assert refused is not None
        assert refused.code is RefusalCode.MESSAGE_TOO_LARGE
        assert isinstance(await anext(alice), PeerSuspended)


@on_virtual_time
async def test_a_drain_tells_everybody_joined_or_not_and_ends_within_the_close_timeout() -> None:
    lab = Lab(config=ServiceConfig(close_timeout=1.0))
    loop = asyncio.get_running_loop()
    async with lab.server() as service, AsyncExitStack() as stack:
        member = await stack.enter_async_context(lab.raw_peer(1))
        await member.join()
        stranger = await stack.enter_async_context(lab.raw_peer(2))
        await challenged(stranger)
        unreachable = await stack.enter_async_context(lab.raw_peer(3))
        await unreachable.join()
        lab.partition(3)
        started_at = loop.time()
        await service.drain()
        await service.drain()
        assert loop.time() - started_at <= 1.1
        for peer in (member, stranger):
            while not isinstance(message := await peer.receive(), Draining):
                pass
            assert message.reconnect_in <= lab.config.drain_spread
            refused, code = await peer.last_words()
            assert isinstance(refused, Refused)
            assert code == RefusalCode.SHUTTING_DOWN.close_code


@on_virtual_time
async def test_who_signalled_a_member_that_comes_back_to_a_snapshot_is_told() -> None:
    lab = Lab()
    async with lab.server(), lab.link(1) as alice:
        async with lab.raw_peer(3) as eve:
            await eve.join()
            await anext(alice)
            eve.socket.abort()
        assert isinstance(await anext(alice), PeerSuspended)
        await alice.signal(EVE.peer_id, b"acknowledged, and lost")
        async with lab.raw_peer(3) as eve:
            assert not (await eve.join()).resumed
            resumed = await anext(alice)
            assert isinstance(resumed, PeerResumed)
            assert (resumed.peer_id, resumed.anew) == (EVE.peer_id, True)


@on_virtual_time
async def test_a_signal_that_is_sent_again_and_again_is_counted_once() -> None:
    lab = Lab()
    async with lab.server() as service, lab.raw_peer(3) as eve, lab.link(1):
        await eve.join()
        for _ in range(5):
            await eve.send(SendSignal(to=ALICE.peer_id, id=1, sealed=b"x"))
        answers = 0
        while answers < 5:
            answers += isinstance(await eve.receive(), Ack)
        assert +service.stats.signals == {"accepted": 1, "repeated": 4}


class BrokenRegistry:
    """A store that fails."""

    stats = RegistryStats()
    servers = 1

    async def attach(self, join: Join, sink: Sink) -> Attachment:
        raise ConnectionError(f"no store for {join.room} and {sink}")

    async def aclose(self) -> None:
        pass


@on_virtual_time
async def test_a_failure_of_the_service_itself_is_told_logged_and_counted() -> None:
    lab = Lab()
    async with lab.server(BrokenRegistry()) as service, lab.raw_peer(3) as eve:
        challenge = await challenged(eve)
        await eve.send(proved_join(EVE, challenge.nonce))
        refused, code = await eve.last_words()
        assert refused == Refused(code=RefusalCode.INTERNAL)
        assert code == RefusalCode.INTERNAL.close_code
        assert service.stats.endings["internal"] == 1


@on_virtual_time
async def test_a_server_that_is_killed_leaves_no_task_and_no_timer() -> None:
    lab = Lab()
    async with AsyncExitStack() as stack:
        async with lab.server() as service:
            eve = await stack.enter_async_context(lab.raw_peer(3))
            await eve.join()
            raise Killed
        assert service.stats.connections == 0


GARBAGE = st.one_of(
    st.text(max_size=30),
    st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda c: st.lists(c, max_size=3)).map(
        json.dumps
    ),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["join", "signal", "presence", "ping", "leave", "welcome", "x"])},
        optional={
            "id": st.integers(-1, 5),
            "to": st.sampled_from([ALICE.peer_id, EVE.peer_id, "x"]),
            "sealed": st.sampled_from(["", "AAAA", "*"]),
            "presence": st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
            "room": st.text(max_size=3),
        },
    ).map(json.dumps),
)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.booleans(), GARBAGE), min_size=1, max_size=8), st.binary(max_size=12))
def test_whatever_a_peer_says_the_server_and_the_others_go_on(
    frames: list[tuple[bool, str]], raw: bytes
) -> None:
    run_virtual(suffer(frames, raw))


async def suffer(frames: list[tuple[bool, str]], raw: bytes) -> None:
    lab = Lab()
    async with lab.server() as service, lab.link(1) as alice, lab.link(2) as bob:
        for number, (joins, text) in enumerate(frames, start=3):
            async with lab.raw_peer(number) as peer:
                if joins:
                    await peer.join()
                await peer.socket.send(text.encode(errors="replace"))
                peer.socket._writer.write(raw)  # type: ignore[attr-defined]
                await peer.socket.close(CloseCode.NORMAL, "")
        await alice.signal(BOB.peer_id, b"still here")
        received = [sealed async for sealed in first_signals(bob, 1)]
        assert received == [b"still here"]
        await asyncio.sleep(60.0)
        assert service.stats.connections == 2
        assert sum(service.stats.endings.values()) == len(frames)
        assert service.stats.endings["internal"] == 0


@on_virtual_time
async def test_unknown_fields_of_a_newer_peer_are_ignored() -> None:
    lab = Lab()
    async with lab.server(), lab.raw_peer(3) as eve:
        challenge = await challenged(eve)
        join = as_json(proved_join(EVE, challenge.nonce))
        await eve.socket.send(json.dumps({**join, "colour": "red"}).encode())
        assert isinstance(await eve.receive(), Welcome)
        signal = as_json(SendSignal(to=EVE.peer_id, id=1, sealed=b""))
        await eve.socket.send(json.dumps({**signal, "priority": 1}).encode())
        assert {type(await eve.receive()) for _ in range(2)} == {Ack, Signal}
