"""Connectivity checks by aioice, and what it does not do: local candidates that come late, and nomination by weighing.

aioice nominates whatever works first, with every check. Here checks nominate nothing: what works carries at once (RFC
8445 section 12.1), and the controlling end nominates one pair when `nomination` says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from math import inf
from typing import Protocol

import aioice
from aioice import ice, stun
from aioice.ice import candidate_pair_priority

from .config import WebRtcConfig
from .nomination import Check, Reach, Validity, weigh

NOMINATION_REPEATS = 3
"""How often aioice repeats the request that nominates; unanswered for 7.5 s it has failed, and another pair is next."""

NOMINATIONS_COMPETE = 1.0
"""For how long after the first nomination a pair of lower priority does not replace it: who nominates every pair that
it checks (RFC 5245 section 8.1.1.2) means the best of them; who nominates a worse one later has a reason."""

PATIENCE = 10.0
"""For how long a check of the other end may come from an address that is in no candidate of it (RFC 8863).

Browsers hide theirs behind names that only some networks resolve, and check twenty times a second: so many are lost on
no path that carries anything. The 39.5 s of that document are those for which one check is repeated.
"""

RELAY_PREFERENCE = 0
"""The type preference of relayed candidates (RFC 8445 section 5.1.2.2)."""

_State = ice.CandidatePair.State


class ChecksOwner(Protocol):
    """Who has the sockets and uses the pair."""

    @property
    def is_gathering(self) -> bool:
        """Whether local candidates may still be found."""
        ...

    async def open_hosts(self, component: int, addresses: Sequence[str]) -> list[aioice.Candidate]:
        """Open a socket on each address; what cannot be bound is left out."""
        ...

    def pair_changed(self, pair: ice.CandidatePair) -> None:
        """Send over this pair from now on."""
        ...

    def pair_lost(self) -> None:
        """The socket of the nominated pair was closed."""
        ...


class Checks(aioice.Connection):
    """The check list of one agent."""

    def __init__(self, owner: ChecksOwner, config: WebRtcConfig, *, is_controlling: bool) -> None:
        super().__init__(
            ice_controlling=is_controlling,
            use_ipv4=config.use_ipv4,
            use_ipv6=config.use_ipv6,
            transport_policy=aioice.TransportPolicy[config.ice_transport_policy.name],
        )
        # Towards a lite end aioice nominates by a request of its own, and not while it is about to: then never.
        self.remote_is_lite = True
        self._nominating.add(1)
        self._owner = owner
        self._begun_at: dict[ice.CandidatePair, float] = {}
        self._validity: dict[ice.CandidatePair, Validity] = {}
        self._settled_at = inf
        self._nomination: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_patient = True
        self._sockets_lost = 0

    @property
    def protocols(self) -> list[ice.StunProtocol]:
        """One for each local socket and allocation."""
        return self._protocols

    @property
    def is_settled(self) -> bool:
        """Whether a pair is nominated."""
        return bool(self._nominated)

    def add_local(self, protocol: ice.StunProtocol) -> None:
        """Pair a late local candidate with the remote ones."""
        self._protocols.append(protocol)
        for candidate in self._remote_candidates:
            self._pair_remote_candidate(candidate)
        self.sort_check_list()

    def local_candidates_ended(self) -> None:
        """Nominate or fail now if nothing is left to wait for."""
        if self._early_checks_done:
            self._weigh()
            self._check_list_maybe_fail()

    async def close(self) -> None:
        """Close everything, the nomination first."""
        self._disarm()
        if self._nomination is not None:
            self._nomination.cancel()
            await asyncio.wait([self._nomination])
        await super().close()

    # aioice's

    async def get_component_candidates(
        self, component: int, addresses: list[str], timeout: int = 5
    ) -> list[aioice.Candidate]:
        """Open the hosts and leave the servers for later."""
        del timeout
        return await self._owner.open_hosts(component, addresses)

    async def connect(self) -> None:
        """Check until a pair is nominated, or there is no hope of one."""
        patience = asyncio.get_running_loop().call_later(PATIENCE, self._lose_patience)
        try:
            await super().connect()
        finally:
            patience.cancel()

    async def check_start(self, pair: ice.CandidatePair) -> None:
        """Measure how long it takes."""
        self._begun_at[pair] = asyncio.get_running_loop().time()
        await super().check_start(pair)

    def check_complete(self, pair: ice.CandidatePair) -> None:
        """Take note of what is valid and what is nominated, without the pause that `connect` makes."""
        begun_at = self._begun_at.pop(pair, None)
        if pair.state is _State.SUCCEEDED and begun_at is not None:
            now = asyncio.get_running_loop().time()
            self._validity[pair] = Validity(now, now - begun_at)
        before = self._nominated_pair
        super().check_complete(pair)
        self._settle(before)
        self._weigh()

    def check_incoming(
        self, message: stun.Message, addr: tuple[str, int], protocol: ice.StunProtocol
    ) -> None:
        """Check anew, if the other end still does, what `connect` has left in the midst when it ended.

        A request without PRIORITY, which it must have (RFC 8445 section 7.1.1), is none.
        """
        if "PRIORITY" not in message.attributes:
            return
        for pair in self._check_list:
            if pair.state is _State.IN_PROGRESS and pair.task is not None and pair.task.done():
                pair.task = None
                self.check_state(pair, _State.WAITING)
        super().check_incoming(message, addr, protocol)

    def build_request(self, pair: ice.CandidatePair, nominate: bool) -> stun.Message:  # noqa: FBT001  aioice's signature
        """Say of a relayed address what it is worth, to an end that does not know its candidate yet.

        RFC 8445 section 7.1.1 wants a peer-reflexive one's worth, and then the other end prefers it to reflexive ones.
        """
        request = super().build_request(pair, nominate)
        if pair.local_candidate.type == "relay":
            request.attributes["PRIORITY"] = pair.local_candidate.priority
        return request

    def switch_role(self, ice_controlling: bool) -> None:  # noqa: FBT001  aioice's signature
        """Nominate from now on, or no more."""
        super().switch_role(ice_controlling)
        self._weigh()

    async def query_consent(self) -> None:
        """Leave it to the owner."""

    def data_received(self, data: bytes, component: int) -> None:
        """Pass on what came neither as STUN nor as DTLS: nothing that anybody waits for."""

    def protocol_lost(self, protocol: ice.StunProtocol) -> None:
        """Do without its pairs; the owner is told if one of them is nominated."""
        super().protocol_lost(protocol)
        self._sockets_lost += 1
        if (nominated := self._nominated_pair) is not None and nominated.protocol is protocol:
            self._owner.pair_lost()
            return
        for pair in self._check_list:
            if pair.protocol is protocol:
                self.check_state(pair, _State.FAILED)
        self._weigh()
        self._check_list_maybe_fail()

    def _end_remote_candidates(self) -> None:
        super()._end_remote_candidates()
        if self._early_checks_done:
            self._weigh()

    def _remote_candidates_expected(self) -> bool:
        """Also those that only checks of the other end reveal, as long as there is a socket for them."""
        has_socket = self._sockets_lost < len(self._protocols)
        return (self._is_patient and has_socket) or self._candidates_expected()

    def _check_list_maybe_fail(self) -> None:
        """Do not take a pair that is not nominated yet for a failure."""
        if all(pair.state is not _State.SUCCEEDED for pair in self._check_list):
            super()._check_list_maybe_fail()

    def _prune_components(self) -> None:
        """Keep the only one, though all that is known of the other end may be where its checks come from."""

    # Rules

    def _candidates_expected(self) -> bool:
        """Return whether either end may still tell of candidates."""
        return self._owner.is_gathering or super()._remote_candidates_expected()

    def _lose_patience(self) -> None:
        """Fail now if nothing is left to wait for."""
        self._is_patient = False
        self._check_list_maybe_fail()

    def _settle(self, before: ice.CandidatePair | None) -> None:
        """Choose between the pair that was nominated before and the one that may just have been."""
        nominated = self._nominated_pair
        if nominated is None:
            return
        now = asyncio.get_running_loop().time()
        self._settled_at = min(self._settled_at, now)
        if before is None or now >= self._settled_at + NOMINATIONS_COMPETE:
            return
        if self._priority(before) > self._priority(nominated):
            self._nominated[nominated.component] = before

    @property
    def _nominated_pair(self) -> ice.CandidatePair | None:
        """That of the only component."""
        return next(iter(self._nominated.values()), None)

    def _priority(self, pair: ice.CandidatePair) -> int:
        return candidate_pair_priority(pair.local_candidate, pair.remote_candidate, self.ice_controlling)

    def _weigh(self) -> None:
        """Use the best pair there is, and nominate it if its time has come."""
        self._disarm()
        if self._closing:
            return
        if (nominated := self._nominated_pair) is not None:
            self._owner.pair_changed(nominated)
            return
        if self._nomination is not None:
            return
        weighed = weigh(self._checks(), more_expected=self._candidates_expected())
        if weighed.best is None or weighed.decide_at is None:
            return
        self._owner.pair_changed(weighed.best)
        if not self.ice_controlling:
            return
        loop = asyncio.get_running_loop()
        if weighed.decide_at <= loop.time():
            self._nomination = loop.create_task(self._nominate(weighed.best))
        else:
            self._timer = loop.call_at(weighed.decide_at, self._weigh)

    def _checks(self) -> Iterator[Check[ice.CandidatePair]]:
        for pair in self._check_list:
            if pair.state is not _State.FAILED:
                yield Check(
                    pair,
                    self._priority(pair),
                    _reach(pair),
                    self._validity[pair] if pair.state is _State.SUCCEEDED else None,
                )

    async def _nominate(self, pair: ice.CandidatePair) -> None:
        assert self.remote_password is not None
        try:
            await pair.protocol.request(
                self.build_request(pair, nominate=True),
                pair.remote_addr,
                integrity_key=self.remote_password.encode(),
                retransmissions=NOMINATION_REPEATS,
            )
        except stun.TransactionError as error:
            self._nomination_failed(pair, error)
        else:
            pair.nominated = True
        self._nomination = None
        self.check_complete(pair)

    def _nomination_failed(self, pair: ice.CandidatePair, error: stun.TransactionError) -> None:
        if error.response is not None and error.response.error_code == 487:
            self.switch_role(ice_controlling=False)  # RFC 8445 section 7.2.5.1: the other end nominates
        else:
            self.check_state(pair, _State.FAILED)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _reach(pair: ice.CandidatePair) -> Reach:
    types = {pair.local_candidate.type, pair.remote_candidate.type}
    if "relay" in types or pair.remote_candidate.priority >> 24 == RELAY_PREFERENCE:
        return Reach.RELAYED
    return Reach.HOSTS if types == {"host"} else Reach.DIRECT
