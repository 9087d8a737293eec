"""Direct paths that the demo can cut: what comes from chosen peers is dropped as it comes out of ICE.

It takes no privilege and works on every system. DTLS and SCTP stop hearing from the other end, as if a cable had been
pulled; only the consent checks of ICE go on, which nobody here waits for. Cut at both ends, nothing passes either way,
and no new connection comes about.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from rtcmesh.peer.paths.transport import TransportSink
from rtcmesh.peer.webrtc.agents import default_agent
from rtcmesh.peer.webrtc.config import WebRtcConfig
from rtcmesh.peer.webrtc.datagrams import Datagrams
from rtcmesh.peer.webrtc.ice import IceAgent, IceListener
from rtcmesh.peer.webrtc.ice_server import StunServer, TurnServer
from rtcmesh.peer.webrtc.transport import WebRtcTransport
from rtcmesh.signaling.messages import IceServer

_NAME = "x-rtcmesh-demo-peer"


class CuttableTransports:
    """Makes the transports of one peer; `cut` names the remote peers from which nothing arrives."""

    def __init__(self, peer_id: str) -> None:
        self.peer_id = peer_id
        self.cut: set[str] = set()

    def __call__(self, sink: TransportSink, ice_servers: Sequence[IceServer]) -> CuttableTransport:
        """See `TransportFactory`."""
        return CuttableTransport(sink, ice_servers, self)


class Valve:
    """Passes on what an ICE agent reports, but for datagrams while `is_cut`. See `IceListener`."""

    def __init__(self, listener: IceListener, is_cut: Callable[[], bool]) -> None:
        self.candidate_found = listener.candidate_found
        self.pair_selected = listener.pair_selected
        self.ice_ended = listener.ice_ended
        self._pass_on = listener.datagrams_received
        self._is_cut = is_cut

    def datagrams_received(self, datagrams: Datagrams) -> None:
        """See `IceListener`."""
        if not self._is_cut():
            self._pass_on(datagrams)


class CuttableTransport(WebRtcTransport):
    """A transport that knows which peer it leads to: the descriptions carry the names."""

    def __init__(
        self, sink: TransportSink, ice_servers: Sequence[IceServer], transports: CuttableTransports
    ) -> None:
        self.remote: str | None = None
        self._transports = transports
        self._name = f"a={_NAME}:{transports.peer_id}\r\n"
        super().__init__(sink, ice_servers, agent=self._make_agent)

    def _make_agent(
        self,
        listener: IceListener,
        servers: Sequence[StunServer | TurnServer],
        config: WebRtcConfig,
        *,
        is_controlling: bool,
    ) -> IceAgent:
        valve = Valve(listener, lambda: self.remote in self._transports.cut)
        return default_agent()(valve, servers, config, is_controlling=is_controlling)

    async def create_offer(self) -> str:
        """See `Transport`."""
        return await super().create_offer() + self._name

    async def create_answer(self, offer: str) -> str:
        """See `Transport`."""
        self._learn(offer)
        return await super().create_answer(offer) + self._name

    async def accept_answer(self, answer: str) -> None:
        """See `Transport`."""
        self._learn(answer)
        await super().accept_answer(answer)

    def _learn(self, description: str) -> None:
        if found := re.search(rf"^a={_NAME}:(\w+)", description, re.MULTILINE):
            self.remote = found[1]
