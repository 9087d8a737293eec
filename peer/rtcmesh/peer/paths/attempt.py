"""One transport, from its making to its closing, owned by one task."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from rtcmesh.peer.errors import TransportFailed
from rtcmesh.peer.stats import TransportStats
from rtcmesh.signaling.messages import IceServer

from .negotiation import AcceptAnswer, AddCandidate, MakeAnswer, MakeOffer
from .transport import Transport, TransportFactory

logger = logging.getLogger(__name__)

_Step = AcceptAnswer | AddCandidate


SLOT_TIME = 2.0
"""How long an attempt holds a dial slot at most, in seconds: after that it waits for others and costs nothing."""


@asynccontextmanager
async def _held_briefly(slot: asyncio.Semaphore) -> AsyncGenerator[None]:
    """Hold a slot to the end of the block, or for `SLOT_TIME`: peers that never answer must not use them up."""
    await slot.acquire()
    held = True

    def release() -> None:
        nonlocal held
        if held:
            held = False
            slot.release()

    timer = asyncio.get_running_loop().call_later(SLOT_TIME, release)
    try:
        yield
    finally:
        timer.cancel()
        release()


class AttemptOwner(Protocol):
    """Who is told what becomes of an attempt. Nothing is told after `discard`."""

    def described(self, attempt: Attempt, sdp: str) -> None:
        """The transport made its description."""
        ...

    def opened(self, attempt: Attempt) -> None:
        """The transport is open."""
        ...

    def closed(self, attempt: Attempt, reason: str) -> None:
        """The transport failed or closed."""
        ...

    def candidate_gathered(self, attempt: Attempt, candidate: str) -> None:
        """The transport found another local candidate."""
        ...

    def packet_received(self, attempt: Attempt, packet: bytes) -> None:
        """A packet arrived, on either lane."""
        ...

    def writable(self, attempt: Attempt) -> None:
        """The transport takes packets again."""
        ...


class Attempt:
    """Carries one transport through its life and reports to the owner; it is the transport's sink.

    Guarantees: the transport is closed before `run` ends, whatever ends it; after `discard` the owner hears nothing.
    """

    def __init__(self, number: int, owner: AttemptOwner) -> None:
        self.number = number
        """As counted by the negotiation that began it; 0 once that one is over."""
        self._owner = owner
        self._steps: asyncio.Queue[_Step | None] = asyncio.Queue()
        self._transport: Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._over = False
        self._ending = False

    def start(self, task: asyncio.Task[None]) -> None:
        """Name the task that runs this attempt."""
        self._task = task

    async def run(
        self,
        begin: MakeOffer | MakeAnswer,
        transports: TransportFactory,
        ice_servers: Sequence[IceServer],
        slot: asyncio.Semaphore,
        setup_timeout: float,
    ) -> None:
        """Negotiate in a dial slot, then keep the transport until the attempt is over.

        An offer waits for its answer outside: those who never answer must not keep the others waiting.
        """
        failure = ""
        try:
            async with _held_briefly(slot):
                self._transport = transport = transports(self, ice_servers)
                await self._describe(transport, begin, setup_timeout)
                if isinstance(begin, MakeAnswer):
                    await self._connect(transport, await self._steps.get())
            if isinstance(begin, MakeOffer):
                step = await self._steps.get()
                async with _held_briefly(slot):
                    await self._connect(transport, step)
            while True:  # until `discard` cancels this task: better paths may still be found
                await self._take(transport, await self._steps.get())
        except TransportFailed as error:
            failure = str(error)
        except TimeoutError:
            failure = f"no session description within {setup_timeout:g} s"
        except Exception as error:
            # A transport of somebody else's making; its defect costs this attempt, not the application.
            logger.exception("a transport failed in an unexpected way")
            failure = f"{type(error).__name__}: {error}"
        finally:
            self._ending = True
            if self._transport is not None:
                await self._transport.close()
        self.transport_closed(failure)

    async def _describe(
        self, transport: Transport, begin: MakeOffer | MakeAnswer, setup_timeout: float
    ) -> None:
        async with asyncio.timeout(setup_timeout):
            match begin:
                case MakeOffer():
                    sdp = await transport.create_offer()
                case MakeAnswer():
                    sdp = await transport.create_answer(begin.offer)
        if not self._over:
            self._owner.described(self, sdp)

    async def _connect(self, transport: Transport, step: _Step | None) -> None:
        """Take one step after the other until the transport is open."""
        while step is not None:
            await self._take(transport, step)
            step = await self._steps.get()

    async def _take(self, transport: Transport, step: _Step | None) -> None:
        match step:
            case AcceptAnswer():
                await transport.accept_answer(step.answer)
            case AddCandidate():
                await transport.add_candidate(step.candidate)
            case None:
                pass

    def proceed(self, step: _Step) -> None:
        """Let the transport take a remote answer or candidate, in the order given."""
        self._steps.put_nowait(step)

    def discard(self) -> None:
        """End the attempt: the transport is closed by its task, which is not disturbed again. Idempotent."""
        self._over = True
        if self._task is not None and not self._ending:
            self._ending = True
            self._task.cancel()

    @property
    def buffered_amount(self) -> int:
        """Bytes that the transport has taken and not yet handed to the network."""
        return self._transport.buffered_amount if self._transport else 0

    def stats(self) -> TransportStats | None:
        """Return the figures of the transport."""
        return self._transport.stats() if self._transport else None

    def send(self, packet: bytes) -> None:
        """Send a packet on the reliable lane."""
        if self._transport is not None:
            self._transport.send(packet)

    def send_datagram(self, datagram: bytes) -> None:
        """Send a packet on the unreliable lane."""
        if self._transport is not None:
            self._transport.send_datagram(datagram)

    # TransportSink

    def transport_opened(self) -> None:
        """Free the dial slot and tell the owner."""
        self._steps.put_nowait(None)
        if not self._over:
            self._owner.opened(self)

    def candidate_gathered(self, candidate: str) -> None:
        """Tell the owner."""
        if not self._over:
            self._owner.candidate_gathered(self, candidate)

    def packet_received(self, packet: bytes) -> None:
        """Tell the owner."""
        if not self._over:
            self._owner.packet_received(self, packet)

    def datagram_received(self, datagram: bytes) -> None:
        """Tell the owner."""
        if not self._over:
            self._owner.packet_received(self, datagram)

    def transport_writable(self) -> None:
        """Tell the owner."""
        if not self._over:
            self._owner.writable(self)

    def transport_closed(self, reason: str) -> None:
        """Tell the owner, once."""
        if not self._over:
            self._over = True
            self._owner.closed(self, reason)
