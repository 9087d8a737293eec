"""The sealed line to one other peer through the signaling server: signals out, one after the other, and signals in."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from rtcmesh.peer.errors import ProtocolViolation
from rtcmesh.signaling.identity import PeerId, short
from rtcmesh.signaling.sealing import PairSeal, SealError, TooManyInstances

from . import signals
from .signals import Signal

logger = logging.getLogger(__name__)

_DATA = b"rtcmesh negotiation"
_MAX_QUEUED = 64


class SignalLine:
    """Lives as long as a pair of memberships. `run` is its one task.

    Guarantees: signals are handed to the server in the order of `post`, each after the one before was accepted. What
    waits is about one attempt only: a signal of another one supersedes all that were not sent yet.
    """

    def __init__(
        self, peer_id: PeerId, seal: PairSeal, send: Callable[[PeerId, bytes], Awaitable[None]]
    ) -> None:
        self._peer_id = peer_id
        self._seal = seal
        self._send = send
        self._queued: deque[Signal] = deque()
        self._posted = asyncio.Event()
        self._remote_salt: bytes | None = None
        self.rejected = 0
        """Envelopes and signals that were forged, replayed or malformed."""
        self.exhausted = False
        """Whether the remote end has forgotten so often that only a new seal can open what it says."""
        self.remote_began_anew = False
        """Whether the signal last opened was the first one of a remote end that has forgotten the ones before."""

    def post(self, signal: Signal) -> None:
        """Queue a signal in place of those that it makes pointless."""
        if self._queued and self._queued[-1].attempt != signal.attempt:
            self._queued.clear()
        if signal not in self._queued and len(self._queued) < _MAX_QUEUED:
            self._queued.append(signal)
        self._posted.set()

    def drop_queued(self) -> None:
        """Forget what was queued and not yet sent."""
        self._queued.clear()

    def open(self, sealed: bytes) -> Signal | None:
        """Return the signal in a sealed envelope; None, with a count and a log line, for anything else."""
        try:
            signal = signals.decode(self._seal.open(sealed, _DATA))
        except (SealError, ProtocolViolation) as error:
            self.exhausted = isinstance(error, TooManyInstances)
            self.rejected += 1
            logger.warning("rejected a signal of %s: %s", short(self._peer_id), error)
            return None
        known, self._remote_salt = self._remote_salt, self._seal.remote_salt
        self.remote_began_anew = known is not None and known != self._remote_salt
        return signal

    async def run(self) -> None:
        """Send what is queued, for ever."""
        while True:
            while not self._queued:
                self._posted.clear()
                await self._posted.wait()
            signal = self._queued.popleft()
            await self._send(self._peer_id, self._seal.seal(signals.encode(signal), _DATA))
