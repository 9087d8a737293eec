"""One transport and its one task: what it is given once it is open."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from rtcmesh.peer.paths.attempt import Attempt
from rtcmesh.peer.paths.negotiation import AcceptAnswer, AddCandidate, MakeAnswer, MakeOffer
from rtcmesh.peer.paths.transport import TransportSink
from rtcmesh.signaling.messages import IceServer


class Owner:
    def __init__(self) -> None:
        self.is_described, self.is_open = asyncio.Event(), asyncio.Event()

    def described(self, attempt: Attempt, sdp: str) -> None:
        self.is_described.set()

    def opened(self, attempt: Attempt) -> None:
        self.is_open.set()

    def candidate_gathered(self, attempt: Attempt, candidate: str) -> None:
        raise AssertionError("there are none")

    def packet_received(self, attempt: Attempt, packet: bytes) -> None:
        raise AssertionError("there are none")

    def writable(self, attempt: Attempt) -> None:
        raise AssertionError("nothing was sent")

    def closed(self, attempt: Attempt, reason: str) -> None:
        raise AssertionError(reason)


class Transport:
    """Opens when it is told to, and keeps what it is given."""

    @property
    def buffered_amount(self) -> int:
        return 0

    def __init__(self, sink: TransportSink) -> None:
        self.sink = sink
        self.taken: asyncio.Queue[str] = asyncio.Queue()
        self.closed = False

    async def create_offer(self) -> str:
        return "an offer"

    async def create_answer(self, offer: str) -> str:
        return f"the answer to {offer}"

    async def accept_answer(self, answer: str) -> None:
        self.taken.put_nowait(answer)

    async def add_candidate(self, candidate: str) -> None:
        self.taken.put_nowait(candidate)

    def send(self, packet: bytes) -> None:
        raise AssertionError("nobody sends")

    def send_datagram(self, datagram: bytes) -> None:
        raise AssertionError("nobody sends")

    async def close(self) -> None:
        self.closed = True

    def stats(self) -> None:
        return None


async def open_late(begin: MakeOffer | MakeAnswer) -> None:
    made: list[Transport] = []

    def make(sink: TransportSink, ice_servers: Sequence[IceServer]) -> Transport:
        made.append(Transport(sink))
        return made[0]

    owner, slot = Owner(), asyncio.Semaphore(1)
    attempt = Attempt(1, owner)
    task = asyncio.create_task(attempt.run(begin, make, (), slot, setup_timeout=1.0))
    attempt.start(task)
    await owner.is_described.wait()
    (transport,) = made
    if isinstance(begin, MakeOffer):
        attempt.proceed(AcceptAnswer(1, "an answer"))
        assert await transport.taken.get() == "an answer"
    attempt.proceed(AddCandidate(1, "early"))
    assert await transport.taken.get() == "early"
    transport.sink.transport_opened()
    await owner.is_open.wait()
    for late in ("late", ""):
        attempt.proceed(AddCandidate(1, late))
        assert await transport.taken.get() == late
    assert not slot.locked(), "an open transport holds up nobody"
    attempt.discard()
    await asyncio.wait([task])
    assert transport.closed


async def test_candidates_reach_a_transport_that_is_open() -> None:
    for begin in (MakeOffer(1), MakeAnswer(1, "an offer")):
        async with asyncio.timeout(10):
            await open_late(begin)
