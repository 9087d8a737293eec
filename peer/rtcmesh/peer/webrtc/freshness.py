"""Keeps the selected pair of an ICE session fresh (RFC 7675), and answers the other end, which does the same."""

from __future__ import annotations

import asyncio
import random
import secrets
from typing import Protocol

import aioice
from aioice import ice

from rtcmesh.peer.alarm import Alarm

from .binding import Bindings, transaction_id_of
from .consent import Consent
from .datagrams import Datagrams


class FreshnessListener(Protocol):
    """Whose pair it is. Called from the event loop, or while a message is received."""

    def send(self, datagrams: Datagrams) -> None:
        """Send over the selected pair."""
        ...

    def consent_expired(self) -> None:
        """Nothing may be sent any more. Called once at most, never after `stop`."""
        ...


class Freshness:
    """From the selection of a pair until `stop`: one timer, and no task.

    Most of what an idle connection costs is this, so it is not left to the whole ICE agent beneath.
    """

    def __init__(
        self, listener: FreshnessListener, connection: aioice.Connection, pair: ice.CandidatePair
    ) -> None:
        self._listener = listener
        self._connection = connection
        self._pair = pair
        self._bindings = _bindings(connection, pair)
        self._loop = asyncio.get_running_loop()
        # How the requests are spread is part of what a seed repeats; their ids are nobody's to know.
        self._consent = Consent(
            self._bindings, self._loop.time(), new_id=secrets.token_bytes, uniform=random.uniform
        )
        self._alarm = Alarm(self._consent.deadline, self._timeout)
        self._alarm.set()

    def receive(self, message: bytes, protocol: ice.StunProtocol, addr: tuple[str, int]) -> bool:
        """Take a message; return whether that is all there is to do with it."""
        if protocol is not self._pair.protocol or addr != self._pair.remote_addr:
            return False
        if self._consent.receive(message, self._loop.time()):
            return True
        if not self._bindings.is_request(message, is_controlling=self._connection.ice_controlling):
            return False
        self._send(self._bindings.response(transaction_id_of(message), *addr))
        return True

    def stop(self) -> None:
        """Ask no more. Idempotent."""
        self._alarm.stop()

    def _timeout(self, now: float) -> None:
        request = self._consent.handle_timeout(now, is_controlling=self._connection.ice_controlling)
        if request:
            self._send(request)
        if self._consent.expired:
            self._listener.consent_expired()
        else:
            self._alarm.set()

    def _send(self, message: bytes) -> None:
        self._listener.send(Datagrams(message, len(message)))


def _bindings(connection: aioice.Connection, pair: ice.CandidatePair) -> Bindings:
    """Return what both ends say, once each knows the other."""
    assert connection.remote_username is not None, "there is a pair"
    assert connection.remote_password is not None, "there is a pair"
    request = connection.build_request(pair, nominate=False).attributes
    role = "ICE-CONTROLLING" if connection.ice_controlling else "ICE-CONTROLLED"
    return Bindings(
        local=(connection.local_username, connection.local_password),
        remote=(connection.remote_username, connection.remote_password),
        priority=request["PRIORITY"],
        tie_breaker=request[role],
    )
