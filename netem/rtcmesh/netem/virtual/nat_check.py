"""Finds out how the NATs on the way to a STUN server behave (RFC 5780)."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from rtcmesh.netem.nat_examination import (
    ReachedFrom,
    Remote,
    SeenFrom,
    examine_filtering,
    examine_mapping,
)
from rtcmesh.netem.packet import Endpoint
from rtcmesh.netem.stun import BadBinding, BindingRequest, BindingResponse
from rtcmesh.netem.topology import Dependence

PATIENCE = 1.6
REPEAT_AFTER = 0.4

Question = TypeVar("Question")
Answer = TypeVar("Answer")
Found = TypeVar("Found")


@dataclass(frozen=True, kw_only=True, slots=True)
class NatBehaviour:
    """What was found. All the NATs on the way look like one."""

    external: Endpoint | None
    """As whom a first socket was seen; None when no UDP came back, and nothing else is known."""
    mapping: Dependence | None = None
    filtering: Dependence | None = None
    hairpinning: bool | None = None
    preserves_ports: bool | None = None

    @property
    def lets_udp_through(self) -> bool:
        """Whether the server was reached."""
        return self.external is not None


class NotAProbeServer(Exception):
    """The STUN server has no second address to answer from (RFC 5780, OTHER-ADDRESS)."""


async def check_nat(server: Endpoint, *, patience: float = PATIENCE) -> NatBehaviour:
    """Ask a STUN server with two addresses and two ports, from sockets of the current host.

    Silence is the answer to some of the questions: each may take `patience` seconds, in which it is asked again and
    again, since packets are lost. Raises `NotAProbeServer`.
    """
    async with _socket() as probe:
        first = await probe.ask(server, patience)
        if first is None:
            return NatBehaviour(external=None)
        if first.other is None:
            raise NotAProbeServer(str(server))
        mapping = await _find_mapping(probe, server, first, patience)
        hairpinning = await _find_hairpinning(probe, server, first.mapped, patience)
    return NatBehaviour(
        external=first.mapped,
        mapping=mapping,
        filtering=await _find_filtering(server, patience),
        hairpinning=hairpinning,
        preserves_ports=first.mapped.port == probe.local_port,
    )


async def _find_mapping(
    probe: _Probe, server: Endpoint, first: BindingResponse, patience: float
) -> Dependence | None:
    """Ask from one socket at other endpoints."""
    assert first.other is not None
    ends = {
        Remote.FIRST: server,
        Remote.OTHER_PORT: Endpoint(server.address, first.other.port),
        Remote.OTHER_ADDRESS: Endpoint(first.other.address, server.port),
        Remote.OTHER: first.other,
    }

    async def seen_from(question: SeenFrom) -> Endpoint | None:
        response = await probe.ask(ends[question.remote], patience)
        return None if response is None else response.mapped

    return await _answered(examine_mapping(), seen_from)


async def _find_filtering(server: Endpoint, patience: float) -> Dependence:
    """Have the server answer from elsewhere, from a socket that never wrote there."""
    async with _socket() as probe:

        async def is_reached_from(question: ReachedFrom) -> bool:
            response = await probe.ask(
                server,
                patience,
                change_address=question.remote in (Remote.OTHER_ADDRESS, Remote.OTHER),
                change_port=question.remote in (Remote.OTHER_PORT, Remote.OTHER),
            )
            return response is not None

        return await _answered(examine_filtering(), is_reached_from)


async def _answered(
    examination: Generator[Question, Answer, Found], answer: Callable[[Question], Awaitable[Answer]]
) -> Found:
    try:
        question = next(examination)
        while True:
            question = examination.send(await answer(question))
    except StopIteration as done:
        found: Found = done.value
        return found


async def _find_hairpinning(probe: _Probe, server: Endpoint, external: Endpoint, patience: float) -> bool:
    """Have two sockets write to each other's external endpoint (section 4.5): each opens the filter for the other."""
    async with _socket() as second:
        response = await second.ask(server, patience)
        if response is None:
            return False
        for _ in range(max(1, round(patience / REPEAT_AFTER))):
            probe.knock(response.mapped)
            second.knock(external)
            await asyncio.sleep(REPEAT_AFTER)
            if probe.knocks or second.knocks:
                return True
    return False


class _Probe(asyncio.DatagramProtocol):
    """A socket that asks."""

    def __init__(self) -> None:
        self.knocks = 0
        """Requests that came in: nobody but another socket of this program sends one."""
        self._asked: dict[bytes, asyncio.Future[BindingResponse]] = {}
        self._transport: asyncio.DatagramTransport | None = None

    @property
    def transport(self) -> asyncio.DatagramTransport:
        """The socket."""
        assert self._transport is not None
        return self._transport

    @property
    def local_port(self) -> int:
        """The port before any translation."""
        port: int = self.transport.get_extra_info("sockname")[1]
        return port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        del addr
        with contextlib.suppress(BadBinding):
            BindingRequest.decode(data)
            self.knocks += 1
        with contextlib.suppress(BadBinding):
            response = BindingResponse.decode(data)
            asked = self._asked.get(response.transaction)
            if asked is not None and not asked.done():
                asked.set_result(response)

    def knock(self, endpoint: Endpoint) -> None:
        """Send a request, whoever gets it."""
        self.transport.sendto(BindingRequest(transaction=os.urandom(12)).encode(), endpoint)

    async def ask(
        self, server: Endpoint, patience: float, *, change_address: bool = False, change_port: bool = False
    ) -> BindingResponse | None:
        """Return the answer to a request, or None after `patience` seconds."""
        request = BindingRequest(
            transaction=os.urandom(12), change_address=change_address, change_port=change_port
        )
        answered: asyncio.Future[BindingResponse] = asyncio.get_running_loop().create_future()
        self._asked[request.transaction] = answered
        for _ in range(max(1, round(patience / REPEAT_AFTER))):
            self.transport.sendto(request.encode(), server)
            done, _ = await asyncio.wait([answered], timeout=REPEAT_AFTER)
            if done:
                return answered.result()
        return None


@asynccontextmanager
async def _socket() -> AsyncGenerator[_Probe]:
    transport, probe = await asyncio.get_running_loop().create_datagram_endpoint(
        _Probe,
        local_addr=("0.0.0.0", 0),  # noqa: S104, an outgoing socket, whatever the address is
    )
    try:
        yield probe
    finally:
        transport.close()
