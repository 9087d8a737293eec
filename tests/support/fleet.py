"""Several servers as processes on one store, and peers that talk through them and notice what is lost or repeated."""

import asyncio
import signal
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from rtcmesh.signaling.client import SignalingLink
from rtcmesh.signaling.config import ClientConfig
from rtcmesh.signaling.errors import SignalRefused
from rtcmesh.signaling.events import LinkLost, LinkResumed
from rtcmesh.signaling.identity import PeerId
from rtcmesh.signaling.messages import Signal

from .members import Member
from .processes import TIMEOUT, Program, rtcmesh
from .stores import free_port

EAGER = ClientConfig(backoff_base=0.05, backoff_maximum=1.0, dial_timeout=10.0, connect_timeout=TIMEOUT)


class Fleet:
    """Servers that can be killed and started again on their ports."""

    def __init__(self, store: str, skews: Sequence[str], stack: AsyncExitStack) -> None:
        self.ports = [free_port() for _ in skews]
        self.programs: list[Program | None] = [None for _ in skews]
        self._skews = skews
        self._store = store
        self._stack = stack

    @property
    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self.ports]

    @property
    def running(self) -> list[int]:
        """The servers that are up."""
        return [index for index, program in enumerate(self.programs) if program is not None]

    async def start(self, index: int) -> None:
        options = ("--no-relay", "--port", str(self.ports[index]), "--redis", self._store)
        program = await self._stack.enter_async_context(
            rtcmesh("serve", *options, **_skewed(self._skews[index]))
        )
        await program.expect("rtcmesh signaling on")
        self.programs[index] = program

    async def kill(self, index: int, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a server a signal that ends it, and wait for its end."""
        program = self.programs[index]
        assert program is not None
        self.programs[index] = None
        program.send_signal(number)
        await program.ended()


def _skewed(skew: str) -> dict[str, str]:
    """Return the environment of a process whose time of day is wrong by so much.

    Its monotonic clock is right, since nobody can set that. The program `faketime` would stand between us and it.
    """
    if not skew:
        return {}
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME": skew,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_NO_CACHE": "1",
    }


@asynccontextmanager
async def fleet(store: str, count: int = 1, *, skews: Sequence[str] = ()) -> AsyncGenerator[Fleet]:
    """Start that many servers on a store, or one for each of these skews of its clock (as `+1h`)."""
    async with AsyncExitStack() as stack:
        servers = Fleet(store, skews or [""] * count, stack)
        await asyncio.gather(*(servers.start(index) for index in range(len(servers.ports))))
        yield servers


@dataclass(eq=False)
class Talker:
    """A member that sends numbered signals to the others of its room, and notes everything that happens to it."""

    member: Member
    link: SignalingLink
    sent: dict[PeerId, list[bytes]] = field(default_factory=dict[PeerId, list[bytes]])
    """What the server accepted, by receiver."""
    refused: dict[PeerId, list[bytes]] = field(default_factory=dict[PeerId, list[bytes]])
    """What it refused, or nobody knows about."""
    heard: dict[PeerId, list[bytes]] = field(default_factory=dict[PeerId, list[bytes]])
    reasons: list[str] = field(default_factory=list[str])
    """Why its connections were lost."""
    resumes: int = 0
    snapshots: int = 0
    changed: asyncio.Event = field(kw_only=True)
    """Set whenever something happens to any of them."""

    async def listen(self) -> None:
        async for event in self.link:
            match event:
                case Signal():
                    self.heard.setdefault(event.sender, []).append(event.sealed)
                case LinkLost():
                    self.reasons.append(event.reason)
                case LinkResumed():
                    self.resumes += event.resumed
                    self.snapshots += not event.resumed
                case _:
                    continue
            self.changed.set()

    async def talk(self, others: list[PeerId], random: Random, until: asyncio.Event) -> None:
        number = 0
        while not until.is_set():
            receiver = random.choice(others)
            sealed = b"%d" % number
            number += 1
            try:
                await self.link.signal(receiver, sealed)
            except SignalRefused:
                self.refused.setdefault(receiver, []).append(sealed)
            else:
                self.sent.setdefault(receiver, []).append(sealed)
            await asyncio.sleep(random.uniform(0.0, 0.02))


class Talk:
    """Talkers that talk all the time, in rooms of some."""

    def __init__(self, talkers: list[Talker], changed: asyncio.Event) -> None:
        self.talkers = talkers
        self.changed = changed
        self.until = asyncio.Event()

    async def wait_for(self, condition: Callable[[], bool], within: float = TIMEOUT) -> None:
        """Wait until something is so, looking whenever anything happens."""
        async with asyncio.timeout(within):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def goes_on(self, signals: int = 100, within: float = TIMEOUT) -> None:
        """Wait until every lost connection was made good and so many more signals have arrived."""
        enough = self.received + signals
        await self.wait_for(lambda: self.received >= enough and self.is_settled, within)

    @property
    def is_settled(self) -> bool:
        """Whether every lost connection was made good."""
        return all(len(talker.reasons) == talker.resumes + talker.snapshots for talker in self.talkers)

    @property
    def losses(self) -> int:
        return sum(len(talker.reasons) for talker in self.talkers)

    @property
    def snapshots(self) -> int:
        return sum(talker.snapshots for talker in self.talkers)

    @property
    def refused(self) -> int:
        return sum(len(sealed) for talker in self.talkers for sealed in talker.refused.values())

    @property
    def accepted(self) -> int:
        return sum(len(sealed) for talker in self.talkers for sealed in talker.sent.values())

    @property
    def received(self) -> int:
        return sum(len(heard) for talker in self.talkers for heard in talker.heard.values())

    def faults(self, *, lossy: bool = False) -> list[str]:
        """Say what was lost, repeated or out of order; what was refused may have arrived, once and in its place.

        `lossy`: those who were given a snapshot may have missed what came before it.
        """
        faults: list[str] = []
        by_id = {talker.member.peer_id: talker for talker in self.talkers}
        for sender in self.talkers:
            for receiver_id in {*sender.sent, *sender.refused}:
                heard = by_id[receiver_id].heard.get(sender.member.peer_id, [])
                accepted, refused = sender.sent.get(receiver_id, []), set(sender.refused.get(receiver_id, ()))
                if len(set(heard)) != len(heard):
                    faults.append("something was repeated")
                if sorted(heard, key=int) != heard:
                    faults.append("something was out of order")
                may_miss = lossy and by_id[receiver_id].snapshots > 0
                if not may_miss and [sealed for sealed in heard if sealed not in refused] != accepted:
                    faults.append(f"of {len(accepted)} accepted, {len(set(accepted) & set(heard))} arrived")
        return faults


@asynccontextmanager
async def talking(
    urls: list[str], *, rooms: int, members: int, random: Random, lossy: bool = False
) -> AsyncGenerator[Talk]:
    """Let members of rooms talk; at the end of the block they fall silent, and all that was sent is waited for.

    `lossy`: what was sent before a snapshot need not have arrived.
    """
    async with AsyncExitStack() as stack:
        changed = asyncio.Event()
        talkers: list[Talker] = []
        groups = [
            [Member(number=100 * room + n, room=f"room{room}") for n in range(members)]
            for room in range(rooms)
        ]
        for member in (member for group in groups for member in group):
            link = await stack.enter_async_context(
                SignalingLink.open(
                    urls,
                    room=member.room,
                    identity=member.identity,
                    prekey=member.prekey,
                    config=EAGER,
                    random=Random(random.random()),
                )
            )
            talkers.append(Talker(member, link, changed=changed))
        talk = Talk(talkers, changed)
        listening = [asyncio.create_task(talker.listen()) for talker in talkers]
        speaking = [
            asyncio.create_task(talker.talk(others, Random(random.random()), talk.until))
            for talker, others in ((talker, _others(talker.member, groups)) for talker in talkers)
        ]
        try:
            yield talk
            talk.until.set()
            await asyncio.gather(*speaking)
            await talk.wait_for(lambda: talk.is_settled and (lossy or talk.received >= talk.accepted))
        finally:
            for task in (*speaking, *listening):
                task.cancel()
            await asyncio.wait([*speaking, *listening])


def _others(member: Member, groups: list[list[Member]]) -> list[PeerId]:
    group = next(group for group in groups if member in group)
    return [other.peer_id for other in group if other is not member]
