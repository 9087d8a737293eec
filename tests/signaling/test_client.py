"""The client link on a virtual network: what it promises when connections and servers come and go."""

import asyncio
from contextlib import AsyncExitStack
from random import Random

import pytest

from rtcmesh.netem import LinkConfig
from rtcmesh.signaling.client import SignalingLink
from rtcmesh.signaling.codes import LeaveReason, NackCode, RefusalCode
from rtcmesh.signaling.config import ClientConfig, ServiceConfig
from rtcmesh.signaling.errors import (
    Closed,
    InvalidPresence,
    JoinRefused,
    PresenceTooLarge,
    SignalingUnreachable,
    SignalRefused,
)
from rtcmesh.signaling.events import LinkEvent, LinkLost, LinkResumed
from rtcmesh.signaling.identity import PeerId
from rtcmesh.signaling.memory_registry import MemoryRegistry
from rtcmesh.signaling.messages import (
    PeerJoined,
    PeerLeft,
    PeerResumed,
    PeerSuspended,
    Presence,
    PresenceChanged,
    Resume,
    Signal,
)
from rtcmesh.signaling.prekey import LocalPrekey
from rtcmesh.signaling.room import RoomLimits
from support.links import Killed, Lab
from support.members import Member
from support.virtual import on_virtual_time

ALICE, BOB = Member(number=1), Member(number=2)


async def next_of(link: SignalingLink, kind: type[LinkEvent]) -> LinkEvent:
    """Pull until an event of this kind comes."""
    async for event in link:
        if isinstance(event, kind):
            return event
    raise AssertionError(f"the link ended without {kind}")


async def pull_signals(link: SignalingLink, count: int) -> list[bytes]:
    signals: list[bytes] = []
    while len(signals) < count:
        event = await anext(link)
        if isinstance(event, Signal):
            signals.append(event.sealed)
    return signals


@on_virtual_time
async def test_links_see_each_other_join_speak_change_and_leave() -> None:
    lab = Lab()
    async with lab.server(), lab.link(1, presence={"n": 1}) as alice:
        async with lab.link(2) as bob:
            assert [(m.peer_id, m.presence) for m in bob.welcome.members] == [(ALICE.peer_id, {"n": 1})]
            await bob.signal(ALICE.peer_id, b"sealed")
            await bob.set_presence({"n": 2})
        events = [await anext(alice) for _ in range(4)]
        assert [type(event) for event in events] == [PeerJoined, Signal, PresenceChanged, PeerLeft]
        assert isinstance(events[3], PeerLeft)
        assert events[3].reason is LeaveReason.LEFT


@on_virtual_time
async def test_a_short_outage_is_resumed_and_nothing_is_missed() -> None:
    lab = Lab(config=ServiceConfig(heartbeat=1.0))
    async with lab.server(), lab.link(1) as alice, lab.link(2) as bob:
        await anext(alice)
        lab.partition(1)
        await bob.signal(ALICE.peer_id, b"while away")
        assert isinstance(await next_of(bob, PeerSuspended), PeerSuspended)
        signal = asyncio.create_task(alice.signal(BOB.peer_id, b"from afar"))
        lost = await anext(alice)
        assert lost == LinkLost(RefusalCode.HEARTBEAT_TIMEOUT.meaning)
        lab.heal(1)
        resumed = await anext(alice)
        assert isinstance(resumed, LinkResumed)
        assert resumed.resumed
        assert await pull_signals(alice, 1) == [b"while away"]
        await signal
        assert await next_of(bob, PeerResumed) is not None
        assert await pull_signals(bob, 1) == [b"from afar"]


@on_virtual_time
async def test_an_outage_beyond_the_window_ends_in_a_snapshot() -> None:
    lab = Lab(config=ServiceConfig(heartbeat=1.0, room=RoomLimits(resume_window=5.0)))
    async with lab.server(), lab.link(1) as alice, lab.link(2) as bob:
        await anext(alice)
        lab.partition(1)
        left = await next_of(bob, PeerLeft)
        assert isinstance(left, PeerLeft)
        assert left.reason is LeaveReason.EXPIRED
        lab.heal(1)
        assert isinstance(await anext(alice), LinkLost)
        resumed = await anext(alice)
        assert isinstance(resumed, LinkResumed)
        assert not resumed.resumed
        assert [member.peer_id for member in resumed.welcome.members] == [BOB.peer_id]


@on_virtual_time
async def test_a_server_that_was_killed_and_restarted_has_a_new_epoch_and_the_peers_rejoin() -> None:
    lab = Lab()
    async with AsyncExitStack() as stack:
        async with lab.server():
            alice = await stack.enter_async_context(lab.link(1, presence={"n": 1}))
            bob = await stack.enter_async_context(lab.link(2))
            await anext(alice)
            lab.partition(2)
            unanswered = asyncio.create_task(bob.signal(ALICE.peer_id, b"lost"))
            raise Killed
        async with lab.server():
            lab.heal(2)
            assert isinstance(await anext(alice), LinkLost)
            resumed = await next_of(alice, LinkResumed)
            assert isinstance(resumed, LinkResumed)
            assert not resumed.resumed
            assert resumed.welcome.epoch != alice.welcome.epoch
            with pytest.raises(SignalRefused) as refused:
                await unanswered
            assert refused.value.code is NackCode.EPOCH_CHANGED
            back = await next_of(bob, LinkResumed)
            assert isinstance(back, LinkResumed)
            known = {member.peer_id for member in (*resumed.welcome.members, *back.welcome.members)}
            assert known & {ALICE.peer_id, BOB.peer_id}
            await bob.signal(ALICE.peer_id, b"again")
            assert await pull_signals(alice, 1) == [b"again"]


@on_virtual_time
async def test_a_stopping_server_is_left_for_as_long_as_it_asks() -> None:
    lab = Lab(config=ServiceConfig(drain_spread=4.0))
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        async with lab.server():
            links = [await stack.enter_async_context(lab.link(n)) for n in (1, 2, 3)]
        stopped_at = loop.time()
        async with lab.server():
            returned_at: list[float] = []
            for link in links:
                lost = await next_of(link, LinkLost)
                assert lost == LinkLost(RefusalCode.SHUTTING_DOWN.meaning)
                await next_of(link, LinkResumed)
                returned_at.append(loop.time() - stopped_at)
        assert max(returned_at) <= 4.0 + 0.25 + 1.0
        assert lab.starts == 2


@on_virtual_time
async def test_a_stopping_server_can_send_its_peers_elsewhere() -> None:
    elsewhere = Lab(name="elsewhere")
    config = ServiceConfig(alternatives=(elsewhere.url,))
    lab = Lab(network=elsewhere.network, config=config)
    async with elsewhere.server() as other, AsyncExitStack() as stack:
        async with lab.server():
            alice = await stack.enter_async_context(lab.link(1))
        await next_of(alice, LinkResumed)
        assert other.stats.connections == 1
        elsewhere.network.partition(lab.host(1), elsewhere.server_host)
        await next_of(alice, LinkLost)
        elsewhere.network.heal(lab.host(1), elsewhere.server_host)
        await next_of(alice, LinkResumed)
        assert other.stats.connections == 1, "the server that is left, although the first one stays away"


@on_virtual_time
async def test_an_identity_that_joins_again_replaces_the_first_link_for_good() -> None:
    lab = Lab()
    async with lab.server(), lab.link(1) as first, lab.link(2) as bob:
        await anext(first)
        again = Member(number=1)
        object.__setattr__(again, "local_prekey", LocalPrekey.create(ALICE.identity, "lobby"))
        async with lab.link(3, member=again):
            with pytest.raises(JoinRefused) as refused:
                await anext(first)
            assert refused.value.code is RefusalCode.REPLACED
            with pytest.raises(JoinRefused):
                await first.signal(BOB.peer_id, b"")
            left, joined = await anext(bob), await anext(bob)
            assert isinstance(left, PeerLeft)
            assert left.reason is LeaveReason.REPLACED
            assert isinstance(joined, PeerJoined)
            assert joined.member.prekey == again.prekey


@on_virtual_time
async def test_a_half_open_connection_is_taken_over_by_the_returning_peer() -> None:
    lab = Lab()
    async with lab.server() as service, lab.link(2) as bob, lab.raw_peer(1) as half_open:
        welcome = await half_open.join()
        await anext(bob)
        lab.partition(1)
        await bob.signal(ALICE.peer_id, b"into the dark")
        resume = Resume(epoch=welcome.epoch, offset=welcome.offset, token=welcome.resume_token)
        async with lab.raw_peer(3, member=ALICE) as back:
            resumed = await back.join(resume=resume)
            assert resumed.resumed
            assert [type(await back.receive())] == [Signal]
            assert service.stats.connections == 2
            await bob.set_presence({})
        suspended = await anext(bob)
        assert isinstance(suspended, PeerSuspended), "nobody saw the old connection go"


@on_virtual_time
async def test_a_final_refusal_at_the_join_is_raised_and_not_retried() -> None:
    lab = Lab(config=ServiceConfig(room=RoomLimits(max_members=1)))
    async with lab.server() as service, lab.link(1):
        with pytest.raises(JoinRefused) as refused:
            async with lab.link(2):
                pass
        assert refused.value.code is RefusalCode.ROOM_FULL
        assert "no place left" in str(refused.value)
        wrong_room = Member(number=3, room="no such room!")
        with pytest.raises(JoinRefused) as refused:
            async with lab.link(3, member=wrong_room):
                pass
        assert refused.value.code is RefusalCode.BAD_ROOM
        assert service.stats.connections_accepted == 2, (
            "a name that cannot be is refused without asking the server"
        )


@on_virtual_time
async def test_an_unreachable_server_is_reported_after_the_connect_timeout() -> None:
    lab = Lab()
    loop = asyncio.get_running_loop()
    with pytest.raises(SignalingUnreachable) as unreachable:
        async with lab.link(1, config=ClientConfig(connect_timeout=3.0)):
            pass
    assert loop.time() == pytest.approx(3.0, abs=0.5)
    assert unreachable.value.__cause__ is not None
    assert lab.url in str(unreachable.value)


@on_virtual_time
async def test_a_server_that_comes_up_late_is_joined() -> None:
    lab = Lab()

    async def join() -> None:
        async with lab.link(1):
            pass

    joining = asyncio.create_task(join())
    await asyncio.sleep(2.0)
    async with lab.server():
        await joining


@on_virtual_time
async def test_signals_are_refused_by_name_when_they_cannot_be_delivered() -> None:
    lab = Lab()
    async with lab.server(), lab.link(1) as alice:
        with pytest.raises(SignalRefused) as refused:
            await alice.signal(BOB.peer_id, b"nobody there")
        assert refused.value.code is NackCode.UNKNOWN_PEER
        with pytest.raises(SignalRefused) as refused:
            await alice.signal(ALICE.peer_id, bytes(40_000))
        assert refused.value.code is NackCode.TOO_LARGE


@on_virtual_time
async def test_a_presence_that_does_not_fit_is_refused_locally() -> None:
    lab = Lab()
    async with lab.server() as service, lab.link(1) as alice:
        with pytest.raises(PresenceTooLarge, match="larger than the limit"):
            await alice.set_presence({"a": "x" * 5000})
        with pytest.raises(InvalidPresence):
            await alice.set_presence({"a": object()})
        with pytest.raises(InvalidPresence):
            async with lab.link(2, presence={"a": object()}):
                pass
        await alice.set_presence({"a": 1})
        assert service.stats.connections_accepted == 1


@on_virtual_time
async def test_a_presence_set_while_the_link_is_down_is_seen_after_the_resume() -> None:
    lab = Lab(config=ServiceConfig(heartbeat=1.0))
    async with lab.server(), lab.link(1) as alice, lab.link(2) as bob:
        await anext(alice)
        lab.partition(1)
        await next_of(alice, LinkLost)
        await alice.set_presence({"n": 1})
        await alice.set_presence({"n": 2})
        lab.heal(1)
        changed = await next_of(bob, PresenceChanged)
        assert isinstance(changed, PresenceChanged)
        assert changed.presence == {"n": 2}


@on_virtual_time
async def test_many_concurrent_signals_arrive_in_order_each_once() -> None:
    lab = Lab(config=ServiceConfig(room=RoomLimits(max_unacknowledged_signals=3)))
    async with lab.server(), lab.link(1) as alice, lab.link(2) as bob:
        sealed = [bytes([n]) for n in range(50)]
        sending = [asyncio.create_task(bob.signal(ALICE.peer_id, data)) for data in sealed]
        assert await pull_signals(alice, 50) == sealed
        await asyncio.gather(*sending)


@on_virtual_time
async def test_a_cancelled_signal_is_never_delivered_twice_and_disturbs_no_other() -> None:
    lab = Lab(config=ServiceConfig(room=RoomLimits(max_unacknowledged_signals=2)))
    async with lab.server(), lab.link(1) as alice, lab.link(2) as bob:
        sending = [asyncio.create_task(bob.signal(ALICE.peer_id, bytes([n]))) for n in range(10)]
        await asyncio.sleep(0)
        for task in sending[1::2]:
            task.cancel()
        await asyncio.gather(*sending, return_exceptions=True)
        await bob.signal(ALICE.peer_id, b"last")
        # Of the cancelled ones, the second was on the wire already.
        assert await pull_signals(alice, 7) == [b"\0", b"\1", b"\2", b"\4", b"\6", b"\x08", b"last"]


@on_virtual_time
async def test_an_application_that_does_not_pull_stops_the_reader_and_loses_nothing() -> None:
    lab = Lab(config=ServiceConfig(heartbeat=1.0))
    async with (
        lab.server() as service,
        lab.link(2) as bob,
        lab.link(1, config=ClientConfig(max_queued_events=4)) as alice,
    ):
        for n in range(100):
            await bob.signal(ALICE.peer_id, bytes([n]))
        await asyncio.sleep(30.0)
        assert len(alice._events._items) == 4
        assert await pull_signals(alice, 100) == [bytes([n]) for n in range(100)]
        await alice.signal(BOB.peer_id, b"alive")
        assert service.stats.joins["resumed"] == 0


@on_virtual_time
async def test_after_closing_calls_raise_closed_and_the_iteration_ends() -> None:
    lab = Lab()
    async with lab.server(), lab.link(1) as alice:
        waiting = asyncio.create_task(alice.signal(BOB.peer_id, b""))
        iterating = asyncio.create_task(pull_all(alice))
        await asyncio.sleep(0)
        await alice.aclose()
        await alice.aclose()
        with pytest.raises(Closed):
            await waiting
        assert await iterating == []
        with pytest.raises(Closed):
            await alice.signal(BOB.peer_id, b"")
        with pytest.raises(Closed):
            await alice.set_presence({})


async def pull_all(link: SignalingLink) -> list[LinkEvent]:
    return [event async for event in link]


@on_virtual_time
async def test_closing_across_a_dead_network_takes_the_close_timeout_and_no_longer() -> None:
    lab = Lab()
    loop = asyncio.get_running_loop()
    async with lab.server():
        async with lab.link(1, config=ClientConfig(close_timeout=1.5)):
            lab.partition(1)
            closing_at = loop.time()
        assert loop.time() - closing_at == pytest.approx(1.5)


@on_virtual_time
async def test_a_close_that_is_cancelled_still_ends_everything() -> None:
    lab = Lab()
    async with lab.server(), lab.link(1) as alice:
        lab.partition(1)
        closing = asyncio.create_task(alice.aclose())
        await asyncio.sleep(0.1)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert alice._task.done()


@on_virtual_time
async def test_an_open_that_is_cancelled_leaves_nothing_behind() -> None:
    lab = Lab()
    async with lab.server() as service:
        for moment in (0.0, 0.005, 0.015, 0.03, 0.05):

            async def join() -> None:
                async with lab.link(1):
                    await asyncio.sleep(10.0)

            joining = asyncio.create_task(join())
            await asyncio.sleep(moment)
            joining.cancel()
            with pytest.raises(asyncio.CancelledError):
                await joining
        await asyncio.sleep(60.0)
        assert service.stats.connections == 0


@pytest.mark.parametrize("seed", range(10))
@on_virtual_time
async def test_no_signal_is_lost_or_repeated_over_a_bad_network_that_is_cut_again_and_again(
    seed: int,
) -> None:
    lab = Lab(link=LinkConfig(delay=0.03, jitter=0.01, loss=0.02), config=ServiceConfig(heartbeat=0.5))
    async with lab.server(), lab.link(1) as alice, lab.link(2) as bob:

        async def disturb() -> None:
            for n in range(20):
                lab.partition(1 + (n + seed) % 2)
                await asyncio.sleep(0.1 + 0.13 * ((n * 7 + seed) % 11))
                lab.heal(1 + (n + seed) % 2)
                await asyncio.sleep(0.3)

        disturbing = asyncio.create_task(disturb())
        receiving = asyncio.create_task(pull_signals(alice, 200))
        for n in range(200):
            await bob.signal(ALICE.peer_id, n.to_bytes(2))
            await asyncio.sleep(0.05)
        assert await receiving == [n.to_bytes(2) for n in range(200)]
        await disturbing


class Roster:
    """Who is in the room, as one link tells it, by the events alone."""

    def __init__(self, link: SignalingLink) -> None:
        self.link = link
        self.presences = {member.peer_id: member.presence for member in link.welcome.members}

    async def follow_until(self, peers: dict[PeerId, Presence]) -> None:
        while self.presences != peers:
            match await anext(self.link):
                case PeerJoined(member=member):
                    assert member.peer_id not in self.presences
                    self.presences[member.peer_id] = member.presence
                case PeerLeft(peer_id=peer_id):
                    del self.presences[peer_id]
                case PresenceChanged(peer_id=peer_id, presence=presence):
                    assert peer_id in self.presences
                    self.presences[peer_id] = presence
                case LinkResumed(resumed=False, welcome=welcome):
                    self.presences = {member.peer_id: member.presence for member in welcome.members}
                case _:
                    pass


@pytest.mark.parametrize("seed", range(3))
@on_virtual_time
async def test_twenty_links_agree_on_the_room_again_after_cuts_and_a_killed_server(seed: int) -> None:
    lab = Lab(link=LinkConfig(delay=0.05, jitter=0.02, loss=0.02), config=ServiceConfig(heartbeat=1.0))
    numbers = range(1, 21)
    presences: dict[PeerId, Presence] = {Member(number=n).peer_id: {"n": n} for n in numbers}

    async def all_agree() -> None:
        async with asyncio.TaskGroup() as tasks:
            for number, roster in rosters.items():
                me = Member(number=number).peer_id
                others = {peer_id: presence for peer_id, presence in presences.items() if peer_id != me}
                tasks.create_task(roster.follow_until(others))

    async with AsyncExitStack() as stack:
        async with lab.server():
            rosters = {
                n: Roster(await stack.enter_async_context(lab.link(n, presence={"n": n}))) for n in numbers
            }
            await all_agree()
            for n in numbers[seed::3]:
                lab.partition(n)
                await rosters[n].link.set_presence({"n": -n})
                presences[Member(number=n).peer_id] = {"n": -n}
            await asyncio.sleep(3.0)
            for n in numbers[seed::3]:
                lab.heal(n)
            await all_agree()
            raise Killed
        async with lab.server():
            await all_agree()


@on_virtual_time
async def test_a_link_that_knows_several_servers_resumes_at_another_when_its_own_dies() -> None:
    one = Lab()
    two = Lab(network=one.network, name="other")
    registry = MemoryRegistry(random=Random(0))
    nowhere = f"tcp://{one.network.add_host('nobody').address}:7000"
    async with two.server(registry), two.link(2) as bob, AsyncExitStack() as stack:
        async with one.server(registry):
            alice = await stack.enter_async_context(one.link(1, url=[nowhere, one.url, two.url]))
            await bob.signal(ALICE.peer_id, b"1")
            assert await pull_signals(alice, 1) == [b"1"]
            raise Killed
        await bob.signal(ALICE.peer_id, b"2")
        assert await pull_signals(alice, 1) == [b"2"]
        await alice.set_presence({"at": "two"})
        assert await next_of(bob, PresenceChanged)
    await registry.aclose()


async def test_a_link_needs_a_server() -> None:
    with pytest.raises(ValueError, match="at least one"):
        async with SignalingLink.open([], room="r", identity=ALICE.identity, prekey=ALICE.prekey):
            pass
