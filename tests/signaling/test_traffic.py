"""Limits against overload: nobody gets more than its rate, whoever sends too fast loses nothing, and the rest go on."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.signaling.codes import RefusalCode
from rtcmesh.signaling.config import ServiceConfig
from rtcmesh.signaling.limits.address import UNKNOWN, Address
from rtcmesh.signaling.limits.bucket import Rate
from rtcmesh.signaling.limits.traffic import BYTES_PER_TOKEN, Flow, Limited, Overload, Traffic, TrafficLimits
from rtcmesh.signaling.messages import Ack, Challenge, Ping, Pong, SendSignal, SetPresence, Welcome
from support.links import Lab
from support.members import Member
from support.virtual import on_virtual_time

LIMITS = TrafficLimits(
    max_connections_per_address=3,
    connections_per_address=Rate(per_second=2, burst=4),
    connections=Rate(per_second=5, burst=5),
    messages=Rate(per_second=10, burst=20),
    messages_per_address=Rate(per_second=15, burst=30),
    deliveries_per_room=Rate(per_second=20, burst=40),
    max_wait=1.0,
    max_pause=2.0,
)
ADDRESSES = (Address("192.0.2.1"), Address("192.0.2.2"), UNKNOWN)
ROOMS = ("a", "b")

Step = tuple[str, int, float]


class Model:
    """Drives the machine and keeps its own books of what it let through."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.traffic = Traffic(LIMITS, self.counts, now=0.0)
        self.now = 0.0
        self.flows: list[tuple[Address, Flow]] = []
        self.entered: list[tuple[float, Address]] = []
        self.members: Counter[str] = Counter()
        self.rooms: dict[int, str] = {}

    def enter(self, number: int) -> None:
        address = ADDRESSES[number % 3]
        entry = self.traffic.enter(address, self.now)
        at_once = sum(known == address for known, _ in self.flows)
        if isinstance(entry, Overload):
            assert entry.retry_after > 0
            if entry.limit is Limited.ADDRESS_FULL:
                assert at_once == LIMITS.max_connections_per_address
            return
        assert entry.wait <= LIMITS.max_wait
        assert address == UNKNOWN or at_once < LIMITS.max_connections_per_address
        self.flows.append((address, entry))
        self.entered.append((self.now + entry.wait, address))

    def join(self, number: int) -> None:
        for _, flow in self.flows:
            if id(flow) not in self.rooms:
                room = ROOMS[number % 2]
                answer = flow.join(room, self.now)
                if not isinstance(answer, Overload):
                    assert answer <= LIMITS.max_wait
                    self.rooms[id(flow)] = room
                    self.members[room] += 1
                return

    def close(self, number: int) -> None:
        if self.flows:
            _, flow = self.flows.pop(number % len(self.flows))
            flow.close(self.now)
            self.members[self.rooms.pop(id(flow), "")] -= 1

    def send(self, number: int) -> None:
        if self.flows:
            pause = self.flows[number % len(self.flows)][1].receive(10, self.now)
            assert 0 <= pause <= LIMITS.max_pause

    def tell(self, number: int) -> None:
        if self.flows:
            assert 0 <= self.flows[number % len(self.flows)][1].tell_room(self.now) <= LIMITS.max_pause

    def check(self) -> None:
        assert LIMITS.connections is not None
        assert LIMITS.connections_per_address is not None
        for rate, times in (
            (LIMITS.connections, [at for at, _ in self.entered]),
            (LIMITS.connections_per_address, [at for at, a in self.entered if a == ADDRESSES[0]]),
        ):
            slack = LIMITS.max_wait * rate.per_second
            for first in range(len(times)):
                within = [at for at in times[first:] if at <= times[first] + 1.0]
                assert len(within) <= rate.burst + rate.per_second + slack + 1


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["enter", "join", "close", "send", "tell"]), st.integers(0, 9), st.floats(0, 1)
        ),
        max_size=80,
    )
)
def test_the_books_of_all_limits_agree(steps: list[Step]) -> None:
    model = Model()
    for name, number, quiet in steps:
        model.now += quiet
        getattr(model, name)(number)
        model.check()
    while model.flows:
        model.close(0)
    assert not +model.members
    for address in ADDRESSES:
        later = model.traffic.enter(address, model.now + 1000)
        assert isinstance(later, Flow)
        assert later.wait == 0
        assert later.join("a", model.now + 1000) == 0


def test_a_large_message_counts_for_several() -> None:
    flow = Traffic(LIMITS, Counter(), now=0.0).enter(UNKNOWN, 0.0)
    assert isinstance(flow, Flow)
    assert flow.receive(19 * BYTES_PER_TOKEN, 0.0) == 0.0
    assert flow.receive(0, 0.0) == pytest.approx(0.1)


def test_without_limits_nobody_ever_waits() -> None:
    limits = TrafficLimits(
        max_connections_per_address=10**6,
        connections_per_address=None,
        connections=None,
        messages=None,
        messages_per_address=None,
        deliveries_per_room=None,
    )
    traffic = Traffic(limits, Counter(), now=0.0)
    for _ in range(2000):
        flow = traffic.enter(ADDRESSES[0], 0.0)
        assert isinstance(flow, Flow)
        assert (flow.wait, flow.join("a", 0.0), flow.tell_room(0.0)) == (0.0, 0.0, 0.0)
        assert [flow.receive(10**6, 0.0) for _ in range(10)] == [0.0] * 10


def test_what_a_room_may_cause_is_divided_among_the_servers_that_share_it() -> None:
    servers = [1]
    limits = TrafficLimits(
        connections=None, connections_per_address=None, deliveries_per_room=Rate(per_second=30, burst=60)
    )
    traffic = Traffic(limits, Counter(), now=0.0, servers=lambda: servers[0])
    flows = [traffic.enter(UNKNOWN, 0.0) for _ in range(3)]
    for flow in flows:
        assert isinstance(flow, Flow)
        flow.join("a", 0.0)
    loud = flows[0]
    assert isinstance(loud, Flow)
    # For the three members here that is 24 messages; with two more servers of three members it is three times as many.
    assert [loud.tell_room(100.0) for _ in range(8)][-1] == 0.0
    servers[0] = 3
    assert [loud.tell_room(200.0) for _ in range(8)][-1] == pytest.approx((8 * 9 - 60) / 30)


@on_virtual_time
async def test_a_peer_that_shouts_is_read_at_its_rate_and_loses_nothing() -> None:
    traffic = TrafficLimits(messages=Rate(per_second=10, burst=20))
    lab = Lab(config=ServiceConfig(traffic=traffic))
    loop = asyncio.get_running_loop()
    async with lab.server() as service, lab.raw_peer(3) as eve, lab.link(1) as alice:
        challenge = await eve.receive()
        assert isinstance(challenge, Challenge)
        assert (challenge.limits.messages_per_second, challenge.limits.message_burst) == (10, 20)
        await eve.send(eve.proved(challenge))
        assert isinstance(await eve.receive(), Welcome)
        started_at = loop.time()
        for n in range(1, 61):
            await eve.send(
                Ping() if n % 2 else SendSignal(to=Member(number=1).peer_id, id=n // 2, sealed=b"")
            )
        answers = [await eve.receive() for _ in range(60)]
        assert 3.5 < loop.time() - started_at < 4.5
        assert answers.count(Pong()) == 30
        assert [answer.id for answer in answers if isinstance(answer, Ack)] == list(range(1, 31))
        assert service.stats.limits["connection_messages"] > 0
        await alice.set_presence({"still": "here"})
        assert service.stats.connections == 2


@on_virtual_time
async def test_presence_in_a_large_room_is_paid_for_by_whoever_changes_it() -> None:
    traffic = TrafficLimits(deliveries_per_room=Rate(per_second=30, burst=60))
    lab = Lab(config=ServiceConfig(traffic=traffic))
    loop = asyncio.get_running_loop()
    async with lab.server() as service, AsyncExitStack() as stack:
        eve = await stack.enter_async_context(lab.raw_peer(3))
        await eve.join()
        for number in (11, 12):
            await stack.enter_async_context(lab.link(number))
        started_at = loop.time()
        for n in range(40):
            await eve.send(SetPresence(presence={"n": n}))
        await eve.send(Ping())
        while await eve.receive() != Pong():
            pass
        assert 1.5 < loop.time() - started_at < 3.0
        assert service.stats.limits["room_rate"] > 0


@on_virtual_time
async def test_a_storm_of_peers_that_come_back_is_let_in_at_the_servers_own_pace() -> None:
    traffic = TrafficLimits(connections=Rate(per_second=10, burst=10), max_wait=0.5)
    lab = Lab(config=ServiceConfig(traffic=traffic))
    loop = asyncio.get_running_loop()
    welcomed: list[float] = []

    async def join(number: int, stack: AsyncExitStack) -> None:
        await stack.enter_async_context(lab.link(number, member=Member(number=number, room=f"r{number}")))
        welcomed.append(loop.time())

    async with lab.server() as service, AsyncExitStack() as stack:
        await asyncio.gather(*(join(number, stack) for number in range(60)))
        assert len(welcomed) == 60
        welcomed.sort()
        for first, at in enumerate(welcomed):
            within = sum(at <= later < at + 1 for later in welcomed[first:])
            assert within <= 10 + 10 + 5
        assert service.stats.endings["rate_limited"] > 0
        assert service.stats.limits["join_rate"] == service.stats.endings["rate_limited"]


@on_virtual_time
async def test_a_join_of_a_room_in_uproar_is_put_off() -> None:
    traffic = TrafficLimits(deliveries_per_room=Rate(per_second=1, burst=4))
    lab = Lab(config=ServiceConfig(traffic=traffic))
    async with lab.server(), lab.link(1), lab.raw_peer(2) as second, lab.raw_peer(3) as third:
        await second.join()
        challenge = await third.receive()
        assert isinstance(challenge, Challenge)
        await third.send(third.proved(challenge))
        refused, code = await third.last_words()
        assert refused is not None
        assert (refused.code, refused.message) == (RefusalCode.RATE_LIMITED, "room_rate")
        assert code == RefusalCode.RATE_LIMITED.close_code
        assert refused.retry_after is not None
        assert 2 < refused.retry_after < 20


def test_limits_that_are_none_are_refused() -> None:
    for change in ({"max_connections_per_address": 0}, {"max_wait": 0.0}, {"max_pause": -1.0}):
        with pytest.raises(ValueError, match="positive"):
            replace(LIMITS, **change)
