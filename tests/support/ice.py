"""Two ICE agents on hosts, and what they report."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

from rtcmesh.netem import Host, run_virtual, virtual_webrtc
from rtcmesh.peer.webrtc import Candidate, WebRtcConfig
from rtcmesh.peer.webrtc.datagrams import Datagrams
from rtcmesh.peer.webrtc.ice import IceAgent, IceAgentFactory
from rtcmesh.peer.webrtc.ice_server import StunServer, TurnServer

Servers = list[StunServer | TurnServer]


class End:
    """An agent, its host and what it reported."""

    def __init__(
        self,
        make: IceAgentFactory,
        host: Host | None,
        *,
        controlling: bool,
        servers: Servers | None = None,
        config: WebRtcConfig | None = None,
    ) -> None:
        self.host = host
        self.candidates: list[Candidate] = []
        self.received: list[bytes] = []
        self.reason = ""
        self.changed = asyncio.Condition()
        self.gathered, self.selected, self.ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.news, self.reselected = asyncio.Event(), asyncio.Event()
        self.remote: End | None = None
        self.holds_back = 0.0
        """How long the other end waits for relayed candidates, and for the end of candidates."""
        self.agent: IceAgent = make(self, servers or [], config or WebRtcConfig(), is_controlling=controlling)

    def candidate_found(self, candidate: Candidate | None) -> None:
        assert not self.gathered.is_set(), "nothing follows the end of candidates"
        if candidate is None:
            self.gathered.set()
        else:
            self.candidates.append(candidate)
        if self.remote is not None:
            asyncio.get_running_loop().create_task(self._signal(self.remote, candidate))

    async def _signal(self, remote: End, candidate: Candidate | None) -> None:
        if candidate is None or candidate.type == "relay":
            await asyncio.sleep(self.holds_back)
        await remote.agent.add_remote_candidate(candidate)

    def pair_selected(self) -> None:
        self.selected.set()
        self.reselected.set()

    async def next_pair(self) -> None:
        """Wait until a pair is selected, or another one."""
        self.reselected.clear()
        await self.reselected.wait()

    def datagrams_received(self, datagrams: Datagrams) -> None:
        self.received += datagrams.split()
        self.news.set()

    def ice_ended(self, reason: str) -> None:
        self.reason = reason
        self.ended.set()

    async def gather(self) -> None:
        if self.host is None:
            await self.agent.gather()
        else:
            with self.host:
                await self.agent.gather()

    async def wait_for(self, count: int) -> None:
        while len(self.received) < count:
            self.news.clear()
            await self.news.wait()

    @property
    def types(self) -> list[str]:
        return sorted(candidate.type for candidate in self.candidates)


async def connect(ann: End, bob: End) -> None:
    """Exchange everything, trickling what comes late, and wait until both have a pair."""
    await asyncio.gather(ann.gather(), bob.gather())
    for end, other in ((ann, bob), (bob, ann)):
        for candidate in end.candidates:
            await other.agent.add_remote_candidate(candidate)
        if end.gathered.is_set():
            await other.agent.add_remote_candidate(None)
        else:
            end.remote = other
        other.agent.start(end.agent.ufrag, end.agent.password, is_lite=False)
    await asyncio.gather(ann.selected.wait(), bob.selected.wait())


async def introduce(end: End, other: End, candidates: Sequence[Candidate | None]) -> None:
    """Tell an end of these candidates of the other one, and let it check."""
    for candidate in candidates:
        await end.agent.add_remote_candidate(candidate)
    end.agent.start(other.agent.ufrag, other.agent.password, is_lite=False)


async def exchange(ann: End, bob: End, count: int = 3) -> None:
    sent = [bytes([22, number]) * 100 for number in range(count)]
    for end, other in ((ann, bob), (bob, ann)):
        end.agent.send(Datagrams(b"".join(sent), 200))
        await other.wait_for(count)
        assert other.received == sent


@asynccontextmanager
async def ends(*made: End) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        await asyncio.gather(*(end.agent.close() for end in made))


def virtually(scenario: Callable[[], Coroutine[Any, Any, None]], seed: int = 0) -> None:
    async def main() -> None:
        with virtual_webrtc():
            await scenario()

    run_virtual(main(), seed=seed)
