"""The seam to ICE (RFC 8445, 8838): finds a pair of addresses between which datagrams cross, and carries them."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .candidate import Candidate
from .config import WebRtcConfig
from .datagrams import Datagrams
from .description import MAX_CANDIDATES
from .ice_server import StunServer, TurnServer

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CandidatePair:
    """Two addresses between which datagrams cross."""

    local: Candidate
    remote: Candidate


class IceListener(Protocol):
    """Who uses an agent. Called from the event loop, never from within a call of the agent."""

    def candidate_found(self, candidate: Candidate | None) -> None:
        """Another local candidate was found; None: there are no more."""
        ...

    def pair_selected(self) -> None:
        """A pair was found, or a better one: datagrams can be sent."""
        ...

    def datagrams_received(self, datagrams: Datagrams) -> None:
        """Datagrams came that are not ICE's own, perhaps before a pair was selected. The buffer is lent."""
        ...

    def ice_ended(self, reason: str) -> None:
        """No pair was found, or the one that was found no longer works."""
        ...


class IceAgent(Protocol):
    """One end of one ICE session. It is gathered and started once, and always closed."""

    @property
    def ufrag(self) -> str:
        """The user name fragment of this end."""
        ...

    @property
    def password(self) -> str:
        """The password of this end."""
        ...

    @property
    def selected_pair(self) -> CandidatePair | None:
        """The pair over which datagrams are sent."""
        ...

    async def gather(self) -> None:
        """Find the host candidates; those of servers follow as they come in. All are told to the listener."""
        ...

    async def add_remote_candidate(self, candidate: Candidate | None) -> None:
        """Take a candidate of the other end; None when no more follow. One that cannot be used is ignored."""
        ...

    def start(self, ufrag: str, password: str, *, is_lite: bool) -> None:
        """Begin to check pairs, with what the other end's description says."""
        ...

    def send(self, datagrams: Datagrams) -> None:
        """Send over the selected pair. Dropped while there is none."""
        ...

    async def close(self) -> None:
        """Release everything, allocations on TURN servers included, within seconds. Never raises."""
        ...


class IceAgentFactory(Protocol):
    """Makes the agent of one connection."""

    def __call__(
        self,
        listener: IceListener,
        servers: Sequence[StunServer | TurnServer],
        config: WebRtcConfig,
        *,
        is_controlling: bool,
    ) -> IceAgent:
        """Return an agent that reports to `listener`. Does no I/O yet."""
        ...


class RemoteCandidates:
    """Decides which remote candidates are used: each makes us send packets to the address that it names."""

    def __init__(self, *, resolve_mdns: bool) -> None:
        self._resolve_mdns = resolve_mdns
        self._count = 0
        self._ended = False

    def admit(self, candidate: Candidate) -> bool:
        """Tell whether to use another candidate."""
        if self._ended or self._count == MAX_CANDIDATES:
            return False
        refusal = self._refusal(candidate)
        if refusal:
            logger.debug("ignored a remote candidate (%s): %s", refusal, candidate)
            return False
        self._count += 1
        return True

    def end(self) -> bool:
        """Take note that no more follow; tell whether that is news."""
        ended, self._ended = self._ended, True
        return not ended

    def _refusal(self, candidate: Candidate) -> str:
        if candidate.protocol != "udp" or candidate.component != 1:
            return "not a UDP address of the first component"
        if candidate.type not in ("host", "srflx", "prflx", "relay") or candidate.port == 0:
            return "malformed"
        if candidate.is_mdns:
            return "" if self._resolve_mdns else "its name is not looked up"
        try:
            address = ipaddress.ip_address(candidate.address)
        except ValueError:
            return "not an IP address"
        if address.is_multicast or address.is_unspecified or candidate.address == "255.255.255.255":
            return "nobody's address"
        return ""
