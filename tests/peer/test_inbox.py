"""What waits for the application: its order, its bounds, and that giving way costs the same however much waits."""

from __future__ import annotations

import time
from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.peer import Identity
from rtcmesh.peer.conversation import Conversation
from rtcmesh.peer.delivery import Delivery
from rtcmesh.peer.inbox import Inbox
from rtcmesh.peer.session.frames import cost
from rtcmesh.peer.session.session import Session
from rtcmesh.peer.session.session_events import MessagesReceived
from support.virtual import on_virtual_time

WINDOW = 1000
DELIVERIES = list(Delivery)


def conversation() -> Conversation:
    ended = Conversation(Identity.create().peer_id, Session(1, window=WINDOW), lambda: None)
    ended.abandon()  # so that taking gives no credit, which is the session's business
    return ended


def messages(delivery: Delivery, *payloads: bytes) -> MessagesReceived:
    return MessagesReceived("x", 0, payloads, delivery, stored=False, cost=sum(map(cost, payloads)))


STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "put", "put", "take", "drop"]), st.integers(0, 2), st.integers(0, 3)),
    max_size=120,
)


@given(STEPS)
@on_virtual_time
async def test_every_kind_keeps_its_promise(steps: list[tuple[str, int, int]]) -> None:
    inbox = Inbox(WINDOW)
    conversations = [conversation() for _ in range(3)]
    waiting: dict[int, list[tuple[Delivery, bytes]]] = defaultdict(list)
    for number, (step, whose, kind) in enumerate(steps):
        delivery, payload = DELIVERIES[kind], number.to_bytes(4) + bytes(number % 5 * 30)
        mine = waiting[whose]
        match step:
            case "put":
                alone = delivery in {Delivery.LATEST, Delivery.BEST_EFFORT}
                together = [payload + bytes([index]) for index in range(1 if alone else number % 3 + 1)]
                inbox.put(conversations[whose], messages(delivery, *together))
                if delivery is Delivery.LATEST and (old := [m for m in mine if m[0] is Delivery.LATEST]):
                    mine[mine.index(old[0])] = (delivery, together[0])
                    continue
                mine += [(delivery, payload) for payload in together]
                while sum(cost(p) for d, p in mine if d is Delivery.BEST_EFFORT) > WINDOW:
                    mine.remove(next(m for m in mine if m[0] is Delivery.BEST_EFFORT))
            case "take" if not inbox.is_empty:
                following = inbox.take()
                assert following is not None
                peer_id, taken, payload = following
                whose = next(n for n, c in enumerate(conversations) if c.peer_id == peer_id)  # noqa: PLW2901
                assert waiting[whose].pop(0) == (taken.delivery, payload)
            case "drop":
                assert inbox.drop(conversations[whose]) == len(mine)
                mine.clear()
            case _:
                pass
    assert inbox.left_behind_bytes == sum(cost(p) for mine in waiting.values() for _, p in mine)
    while not inbox.is_empty:
        inbox.take()
    assert not inbox._best_effort_bytes
    assert not inbox._best_effort
    assert not inbox._latest


@on_virtual_time
async def test_a_datagram_that_gives_way_costs_the_same_however_much_waits_before_it() -> None:
    def flood(before: int) -> float:
        inbox, talker = Inbox(WINDOW), conversation()
        for _ in range(before):
            inbox.put(conversation_of_others, messages(Delivery.RELIABLE, b""))
        best = float("inf")
        for _ in range(5):
            began = time.thread_time()
            for _ in range(1000):
                inbox.put(talker, messages(Delivery.BEST_EFFORT, b""))
            best = min(best, time.thread_time() - began)
        assert inbox.dropped > 4900
        return best

    conversation_of_others = conversation()
    assert flood(100_000) < 5 * flood(0)
